"""``fauxto audit`` and ``fauxto data clean``: exit codes, JSON, refusals, and a clean set afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def leaky(image_folder: Path, tmp_path: Path) -> Path:
    """The small set, with two of its test images in train too."""
    folder = tmp_path / "leaky"
    shutil.copytree(image_folder, folder)
    for number in range(2):
        shutil.copy(folder / f"test/FAKE/{number:04d}.jpg", folder / f"train/FAKE/twin-{number}.jpg")
    return folder


def test_audit_clean_audit(run: Run, leaky: Path, tmp_path: Path) -> None:
    code, out, err = run("audit", leaky, "--out", tmp_path / "first", "--fail-on", "leak")
    assert (code, err) == (10, "")
    assert "2 test images also in train" in out
    assert (tmp_path / "first/audit.html").is_file()
    assert (tmp_path / "first/duplicates.csv").read_text().count("\n") == 3
    code, out, _ = run("data", "clean", leaky, "--out", tmp_path / "clean.csv")
    assert code == 0
    assert "88 of 90 images stay" in out
    assert "left out: 2 stands in test" in out
    assert (tmp_path / "clean-left-out.csv").is_file()
    code, out, _ = run("audit", tmp_path / "clean.csv", "--out", tmp_path / "second", "--fail-on", "leak", "--json")
    assert code == 0
    assert json.loads(out)["counts"]["leak"] == 0


def test_levels_decide_the_exit_code(run: Run, image_folder: Path, tmp_path: Path) -> None:
    assert run("audit", image_folder, "--out", tmp_path / "a", "--fail-on", "leak")[0] == 0
    assert run("audit", image_folder, "--out", tmp_path / "b", "--fail-on", "note")[0] == 10
    code, _, err = run("audit", image_folder, "--out", tmp_path / "c", "--fail-on", "everything")
    assert code == 2
    assert "'everything'" in err


def test_a_detector_is_asked_about_its_test_part(run: Run, run_folder: Path, image_folder: Path, tmp_path: Path) -> None:
    from .. import conftest

    folder = conftest.make_images(tmp_path / "more", n_train=60, n_test=60)
    code, out, err = run("audit", folder, "--out", tmp_path / "out", "--detector", run_folder, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["detector"]["whole"]["n"] == 120
    (caveat,) = found["caveats"]
    assert "not the data that the detector was trained on, as far as their content key tells" in caveat
    assert f"<b>What the detector has seen.</b> {caveat}" in (tmp_path / "out/audit.html").read_text()
    assert found["measured_on"] == "the data's own test part"
    assert run("audit", folder, "--out", tmp_path / "x", "--detector", tmp_path / "none")[0] == 6


def test_a_detector_with_too_few_test_images_is_told(run: Run, run_folder: Path, tmp_path: Path) -> None:
    from .. import conftest

    folder = conftest.make_images(tmp_path / "more", n_train=60, n_test=10)
    code, out, err = run("audit", folder, "--out", tmp_path / "out", "--detector", run_folder, "--json")
    assert code == 0
    assert json.loads(out)["detector"] is None
    assert "read against no shortcut" in err


def test_refusals(run: Run, image_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").touch()
    assert run("audit", image_folder, "--out", tmp_path / "taken")[0] == 2
    assert run("audit", "--out", tmp_path / "x")[0] == 2
    assert run("audit", tmp_path / "nowhere", "--out", tmp_path / "x")[0] == 5
    code, _, err = run("data", "clean", image_folder, "--out", tmp_path / "clean.txt")
    assert code == 2
    assert "end in .csv" in err


@pytest.mark.parametrize("taken", ["clean.csv", "clean-left-out.csv"])
def test_cleaning_replaces_no_file(run: Run, image_folder: Path, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    code, out, err = run("data", "clean", image_folder, "--out", tmp_path / "clean.csv")
    assert (code, out) == (2, "")
    assert f"{taken} already exists" in err
    assert "--out name another" in err
    assert (tmp_path / taken).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [taken]


def test_no_manifest_that_is_being_cleaned_is_replaced(run: Run, image_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(image_folder, folder)
    run("data", "clean", image_folder, "--out", tmp_path / "mine-left-out.csv")
    shutil.copy(tmp_path / "mine-left-out.csv", folder / "manifest.csv")
    for data, out in ((folder, folder / "manifest.csv"), (tmp_path / "mine-left-out.csv", tmp_path / "mine.csv")):
        before = (folder / "manifest.csv").read_text()
        code, _, err = run("data", "clean", data, "--out", out)
        assert code == 2
        assert "already exists" in err
        assert (folder / "manifest.csv").read_text() == (tmp_path / "mine-left-out.csv").read_text() == before


def test_broken_images_are_a_finding(run: Run, leaky: Path, tmp_path: Path) -> None:
    (leaky / "train/REAL/0000.jpg").write_bytes(b"no image")
    code, out, err = run("audit", leaky, "--out", tmp_path / "a")
    assert code == 0
    assert "1 file cannot be read" in out
    assert "skipped train/REAL/0000.jpg" in err
    found = json.loads((tmp_path / "a/audit.json").read_text())
    (finding,) = (item for item in found["findings"] if item["kind"] == "unreadable")
    assert (finding["severity"], finding["numbers"]) == ("warning", {"n_files": 1})
    assert found["info"]["broken"][0][0] == "train/REAL/0000.jpg"
    code, out, _ = run("data", "clean", leaky, "--out", tmp_path / "clean.csv", "--skip-broken")
    assert "left out: 1 unreadable" in out


def test_a_hostile_name_stays_text(run: Run, leaky: Path, tmp_path: Path) -> None:
    (leaky / "train/REAL/\x1b[2J.jpg").write_bytes((leaky / "train/REAL/0001.jpg").read_bytes())
    code, out, _ = run("audit", leaky, "--out", tmp_path / "a")
    assert code == 0
    assert "\x1b" not in out
    assert "\x1b" not in (tmp_path / "a/audit.json").read_text()
