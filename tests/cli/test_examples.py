"""The files in examples/: each runs as its first line says."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from unittest import mock

import pytest

import fauxto.forge.zoo
import fauxto.training
from fauxto import Detector
from fauxto.config import preset

EXAMPLES = Path(__file__).parents[2] / "examples"
VERBS = ("data", "audit", "forge", "train", "evaluate", "compare", "calibrate", "explain", "check")


def run_example(name: str, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, words)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


@pytest.mark.parametrize("name", VERBS)
def test_it_is_short_and_says_how_to_run_it(name: str) -> None:
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 25
    assert f"``python examples/{name}.py " in lines[0]


def test_data(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("data", monkeypatch, image_folder, tmp_path / "sheet.png")
    assert "train       32 real      32 fake" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").is_file()


def test_forge(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in = mock.create_autospec(fauxto.forge.zoo.forge, return_value=tmp_path / "forged")
    monkeypatch.setattr(fauxto.forge.zoo, "forge", stand_in)
    run_example("forge", monkeypatch, image_folder, tmp_path / "forged", "gan")
    photos, out, settings = stand_in.call_args.args
    assert (photos, out, settings.crops) == (str(image_folder), tmp_path / "forged", 4)
    assert stand_in.call_args.kwargs == {"only": "gan"}
    assert str(tmp_path / "forged" / "contact.png") in capsys.readouterr().out


def test_train(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = mock.create_autospec(fauxto.training.train, return_value=tmp_path / "run" / "detector")
    monkeypatch.setattr(fauxto.training, "train", stand_in)
    run_example("train", monkeypatch, image_folder, tmp_path / "run")
    store, config, folder = stand_in.call_args.args
    assert (len(store), config, folder) == (88, preset("notebook", seed=1), tmp_path / "run")


def test_evaluate(
    run_folder: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("evaluate", monkeypatch, run_folder, image_folder, tmp_path / "report")
    assert "test: accuracy 0." in capsys.readouterr().out.replace("accuracy 1.", "accuracy 0.")
    assert (tmp_path / "report" / "report.html").is_file()


def test_compare(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted(path.relative_to(image_folder).as_posix() for path in image_folder.rglob("test/*/*.jpg"))
    lines = [f"{path},{0.9 if 'FAKE' in path else 0.1}" for path in paths]
    (tmp_path / "theirs.csv").write_text("\n".join(["path,p_fake", *lines]))
    run_example("compare", monkeypatch, "cifake", tmp_path / "theirs.csv", image_folder, tmp_path / "out")
    assert "cifake - theirs: accuracy " in capsys.readouterr().out
    assert (tmp_path / "out" / "compare.html").is_file()


def test_calibrate(
    judging: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("calibrate", monkeypatch, judging, image_folder, tmp_path / "mine")
    assert "temperature and bias (Platt 1999): temperature " in capsys.readouterr().out
    assert Detector.load(tmp_path / "mine").card["calibration"]["sample"]["n"] == 64


def test_explain(
    run_folder: Path,
    images: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_example("explain", monkeypatch, run_folder, images[1], tmp_path / "map")
    assert "4x4 map for fake from backbone.layer2" in capsys.readouterr().out
    assert (tmp_path / "map" / "overlay.png").is_file()


def test_check(
    run_folder: Path, images: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("check", monkeypatch, run_folder, *images)
    expected = Detector.load(run_folder).predict(images)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{path}: {a.verdict}, p_fake {a.p_fake:.4f}" for path, a in zip(images, expected, strict=True)]


def test_the_demo_takes_no_folder_that_holds_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def note(call: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(call[1:])
        return subprocess.CompletedProcess(call, 0)

    monkeypatch.setattr(subprocess, "run", note)
    demo = runpy.run_path(str(EXAMPLES / "demo.py"))["main"]
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="holds something else"):
        demo(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not calls
    for _ in range(2):  # the second time over the first one's folder
        demo(tmp_path / "demo")
        assert [call[0] for call in calls] == ["data", "data", "train", "evaluate", "explain", "check"]
        (tmp_path / "demo" / "left-over.txt").touch()
        calls.clear()
    demo(tmp_path / "demo")
    assert not (tmp_path / "demo" / "left-over.txt").exists()


def test_audit(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("audit", monkeypatch, image_folder, tmp_path / "audit")
    assert "note: only 44 images of one class" in capsys.readouterr().out.replace("warning:", "note:")
    assert (tmp_path / "audit" / "audit.html").is_file()
