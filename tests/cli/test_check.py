"""``fauxto check``: output for people and programs, and exit codes that a script can use."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto import Detector
from fauxto.cli.check import exit_code

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("found", "code"),
    [(["real"], 0), (["real", "fake"], 10), (["unsure", "real"], 11), (["unsure", "fake"], 10), (["fake", None], 4)],
)
def test_exit_codes(found: list[str | None], code: int) -> None:
    assert exit_code([{"verdict": verdict, "error": "" if verdict else "damaged"} for verdict in found]) == code


def test_json_matches_the_api(run: Run, run_folder: Path, images: tuple[Path, Path]) -> None:
    code, out, _ = run("check", *images, "--detector", run_folder, "--json")
    rows = json.loads(out)["images"]
    expected = Detector.load(run_folder).predict(images)
    assert [row["p_fake"] for row in rows] == [answer.p_fake for answer in expected]
    assert code == exit_code(rows)


def test_csv_of_a_folder_lists_its_images_in_order(run: Run, run_folder: Path, image_folder: Path) -> None:
    _, out, _ = run("check", image_folder / "test", "--detector", run_folder, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 24
    assert [row["image"] for row in rows] == sorted(row["image"] for row in rows)


def test_table_names_each_image_and_the_reason(run: Run, run_folder: Path, images: tuple[Path, Path], tmp_path: Path) -> None:
    Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(tmp_path / "[large].png")
    code, out, _ = run("check", images[0], tmp_path / "[large].png", "--detector", run_folder)
    folded = "".join(out.replace("│", " ").split())
    assert "[large].png" in folded  # brackets are no markup
    assert "unsure" in out
    assert code in (10, 11)


def test_bad_images_are_named_and_the_batch_goes_on(
    run: Run, run_folder: Path, images: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "cut.jpg").write_bytes(images[0].read_bytes()[:300])
    code, out, _ = run("check", tmp_path, tmp_path / "missing.png", images[1], "--detector", run_folder, "--json")
    rows = {Path(row["image"]).name: row for row in json.loads(out)["images"]}
    assert code == 4
    assert all(rows[name]["error"] for name in ("zero.jpg", "text.jpg", "cut.jpg", "missing.png"))
    assert rows[images[1].name]["verdict"] in ("real", "fake")


def test_standard_input(run: Run, run_folder: Path, images: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(images[0].read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    _, out, _ = run("check", "-", "--detector", run_folder, "--json")
    assert json.loads(out)["images"][0]["p_fake"] == Detector.load(run_folder).predict([images[0]])[0].p_fake


def test_wrong_calls_end_in_one_sentence(run: Run, run_folder: Path, images: tuple[Path, Path], tmp_path: Path) -> None:
    for words, code, message in (
        (("check", images[0], "--detector", tmp_path / "nowhere"), 6, "no detector"),
        (("check", tmp_path, "--detector", run_folder), 2, "holds no image"),
        (("check", images[0], "--detector", run_folder, "--json", "--csv"), 2, "choose one"),
    ):
        got, out, err = run(*words)
        assert (got, out) == (code, "")
        assert message in err
        assert err.count("\n") == 1


def test_a_file_name_cannot_steer_the_terminal(run: Run, run_folder: Path, images: tuple[Path, Path], tmp_path: Path) -> None:
    for name in (b"a\x1b[2J.jpg", b"line\nbreak.jpg", b"no-utf8-\xff.jpg"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(images[0].read_bytes())
    code, out, _ = run("check", tmp_path, "--detector", run_folder)
    folded = "".join(out.replace("│", " ").split())
    assert code in (0, 10)
    assert "\x1b[2J" not in out
    assert all(shown in folded for shown in ("a\\x1b[2J.jpg", "line\\nbreak.jpg", "no-utf8-\\udcff.jpg"))
    _, out, _ = run("check", tmp_path, "--detector", run_folder, "--csv")
    assert "no-utf8-\\udcff.jpg" in out
    assert len(list(csv.DictReader(io.StringIO(out)))) == 3


def test_a_detector_from_simulated_data_says_so(run: Run, run_folder: Path, images: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(run_folder / "detector", tmp_path / "detector")
    card = json.loads((folder / "card.json").read_text())
    card["trained_on"]["note"] = "simulated data: a test"
    (folder / "card.json").write_text(json.dumps(card))
    assert json.loads(run("check", images[0], "--detector", folder, "--json")[1])["note"] == "simulated data: a test"
    for form in ((), ("--csv",)):
        _, out, err = run("check", images[0], "--detector", folder, *form)
        assert "simulated data: a test" in err
        assert "simulated" not in out


def test_standard_input_has_a_limit(run: Run, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxto.images.MAX_FILE_BYTES", 1000)
    stdin = io.BytesIO(bytes(5000))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
    code, out, _ = run("check", "-", "--detector", run_folder, "--json")
    assert code == 4
    assert "more than 1,000 bytes" in json.loads(out)["images"][0]["error"]
    assert stdin.tell() <= 1001 or stdin.closed


@pytest.fixture
def promising(run_folder: Path, tmp_path: Path) -> Path:
    """The detector with an operating point that no probability reaches, and with a range that takes in all of them."""
    folder = Path(shutil.copytree(run_folder / "detector", tmp_path / "promising"))
    card = json.loads((folder / "card.json").read_text())
    rate = {"value": 0.5, "low": 0.4, "high": 0.6}
    card["operating_points"] = {"fpr1": {"threshold": 0.9999999, "target_fpr": 0.01, "fpr": rate, "tpr": rate}}
    card["unsure"] = {"method": "conformal", "alpha": 0.1, "low": 0.0, "high": 1.0, "guarantee": "..."}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_an_operating_point_decides_and_is_named(run: Run, promising: Path, images: tuple[Path, Path]) -> None:
    code, out, _ = run("check", *images, "--detector", promising, "--operating-point", "fpr1", "--json")
    answer = json.loads(out)
    assert (answer["operating_point"], answer["threshold"], answer["unsure"]) == ("fpr1", 0.9999999, None)
    assert [row["verdict"] for row in answer["images"]] == ["real", "real"]
    assert code == 0
    _, out, _ = run("check", images[0], "--detector", promising, "--operating-point", "fpr1")
    assert "small, fake from p_fake 0.9999999 (operating point fpr1)" in " ".join(out.split())


def test_the_cards_range_is_shown_and_decides(run: Run, promising: Path, images: tuple[Path, Path]) -> None:
    code, out, _ = run("check", *images, "--detector", promising, "--json")
    answer = json.loads(out)
    assert (answer["operating_point"], answer["threshold"], answer["unsure"]) == ("", 0.5, {"low": 0.0, "high": 1.0})
    assert [row["verdict"] for row in answer["images"]] == ["unsure", "unsure"]
    assert all("p_fake lies in the range" in row["reason"] for row in answer["images"])
    assert code == 11
    _, out, _ = run("check", images[0], "--detector", promising)
    assert "small, fake from p_fake 1, real below 0, unsure between" in " ".join(out.split())


def test_without_a_range_the_title_and_json_are_as_before(run: Run, run_folder: Path, images: tuple[Path, Path]) -> None:
    _, out, _ = run("check", images[0], "--detector", run_folder)
    assert out.splitlines()[0].strip() == "small, fake from p_fake 0.5"
    answer = json.loads(run("check", images[0], "--detector", run_folder, "--json")[1])
    assert (answer["detector"], answer["threshold"], answer["unsure"]) == ("small", 0.5, None)


def test_an_operating_point_that_the_card_lacks_ends_in_one_sentence(
    run: Run, run_folder: Path, promising: Path, images: tuple[Path, Path]
) -> None:
    for folder, message in ((run_folder, "its card has none"), (promising, "its card has fpr1")):
        code, out, err = run("check", images[0], "--detector", folder, "--operating-point", "fpr5")
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1


def test_check_says_which_detector_answered(run: Run, two_bundled: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"]
    for path, size in zip(paths, ((32, 32), (100, 90)), strict=False):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    code, out, _ = run("check", *paths, "--json")
    found = json.loads(out)
    assert [row["detector"] for row in found["images"]] == ["small", "tiled", ""]
    assert [about["detector"] for about in found["detectors"]] == ["small", "tiled"]
    assert found["detectors"][1]["tiles"] == {
        "side": 32, "most": 16, "rule": "mean", "model": "model.onnx", "threshold": 0.5, "unsure": None
    }  # fmt: skip
    assert "tiles" not in found["detectors"][0]
    assert code == 4
    _, out, _ = run("check", *paths[:2])
    assert "small, fake from p_fake 0.5" in " ".join(out.split())
    assert "tiled, fake from p_fake 0.4; over tiles fake from p_fake 0.5" in " ".join(out.split())
    lines = [line.split() for line in out.replace("│", " ").replace("┃", " ").splitlines()]
    assert any("detector" in line and "verdict" in line for line in lines)
    _, out, _ = run("check", *paths[:2], "--csv")
    assert [line.rsplit(",", 1)[1] for line in out.splitlines()] == ["detector", "small", "tiled"]
    _, out, _ = run("check", *paths[:2], "--json", "--detector", "general")
    found = json.loads(out)
    assert (found["detector"], {row["detector"] for row in found["images"]}) == ("tiled", {"tiled"})
