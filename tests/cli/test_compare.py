"""``fauxto compare``: detectors and files by name, the files that are written, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scores(image_folder: Path, tmp_path: Path) -> Path:
    """Scores of a detector that is right on all images but one."""
    paths = sorted((image_folder / "test").rglob("*.jpg"))
    said = [0.9 if path.parent.name == "FAKE" else 0.2 for path in paths]
    said[0] = 0.4  # a fake, as FAKE comes before REAL
    places = [path.relative_to(image_folder).as_posix() for path in paths]
    lines = ["path,p_fake", *(f"{place},{p_fake}" for place, p_fake in zip(places, said, strict=True))]
    (tmp_path / "theirs.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "theirs.csv"


def test_a_bundled_detector_and_a_file(run: Run, scores: Path, image_folder: Path, tmp_path: Path) -> None:
    words = ("compare", "mine=cifake", scores, "--data", image_folder, "--out", tmp_path / "out", "--n-resamples", 100)
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "comparison written to" in out
    assert "12 real, 12 fake" in out
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [(one["name"], one["was_run"]) for one in found["detectors"]] == [("mine", True), ("theirs", False)]
    assert found["detectors"][1]["metrics"]["accuracy"]["value"] == pytest.approx(23 / 24)
    assert found["command"].startswith("fauxto compare mine=cifake")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compare.html", "compare.json", "compare.csv"}
    assert run(*words)[0] == 2  # the folder is taken


def test_json_and_a_name_for_a_file(run: Run, scores: Path, image_folder: Path, tmp_path: Path) -> None:
    words = ("compare", f"a={scores}", f"b={scores}", "--data", image_folder, "--out", tmp_path / "out", "--n-resamples", 100)
    code, out, _ = run(*words, "--json", "--all-pairs")
    assert code == 0
    assert json.loads(out)["pairs"][0]["mcnemar"]["p_value"] == 1.0


def test_refusals_leave_no_folder(run: Run, scores: Path, image_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words, code, said in (
        ((scores,), 2, "give 2 to 64"),
        ((scores, scores), 2, "NAME=FOLDER"),
        ((scores, tmp_path / "no.csv"), 5, "cannot be read as CSV"),
        ((scores, tmp_path / "nowhere"), 6, "no detector"),
    ):
        found = run("compare", *words, "--data", image_folder, "--out", out)
        assert (found[0], said in found[2]) == (code, True), found
        assert not out.exists()
