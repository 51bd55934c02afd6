"""``fauxto evaluate --perturb`` and ``--by generator``: files, terminal, matrices, and what does not fit together."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import fauxto.report
from fauxto.cli import changed

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def write_report(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Stands in for the slow part, the plots."""
    stand_in = mock.create_autospec(fauxto.report.write_report, return_value=Path("report.html"))
    monkeypatch.setattr(fauxto.report, "write_report", stand_in)
    return stand_in


@pytest.fixture
def other(run_folder: Path, tmp_path: Path) -> Path:
    """The same detector under another name, which was trained on other data."""
    folder = tmp_path / "other"
    shutil.copytree(run_folder / "detector", folder)
    card = json.loads((folder / "card.json").read_text())
    card["name"] = "other"
    card["trained_on"] |= {"store": "elsewhere", "pixels": "elsewhere"}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_a_report_with_changed_images_and_generators(run: Run, run_folder: Path, image_folder: Path, tmp_path: Path) -> None:
    out_folder = tmp_path / "report"
    code, out, err = run(
        "evaluate", run_folder, "--data", image_folder, "--out", out_folder, "--n-resamples", 100, "--perturb",
        "jpeg-40,blur-0.6", "--perturb", "resize-0.5+jpeg-70", "--by", "generator", "--encode", "jpeg-75", "--seed", 5,
    )  # fmt: skip
    assert (code, err) == (0, "")
    names = {path.name for path in out_folder.iterdir()}
    assert {
        "robustness.csv",
        "robustness.png",
        "robustness_jpeg.png",
        "robustness_blur.png",
        "generators.csv",
        "generators.png",
    } <= names
    report = json.loads((out_folder / "report.json").read_text())
    (column, _), across = report["robustness"]["columns"], report["across_generators"]
    assert [item["perturbation"] for item in column["perturbed"]] == ["jpeg-40", "blur-0.6", "resize-0.5+jpeg-70"]
    assert report["robustness"]["seed"] == report["intervals"]["seed"] == 5
    assert column["clean"]["metrics"]["accuracy"]["value"] == report["columns"][0]["metrics"]["accuracy"]["value"]
    rows = list(csv.DictReader((out_folder / "robustness.csv").read_text().splitlines()))
    assert len(rows) == 2 * 4
    assert f"{100 * float(rows[1]['accuracy']):.2f}" in out
    assert across["encode"] == "jpeg-75"
    assert "fewer than 100 images" in out.lower().replace("\n", " ")
    page = (out_folder / "report.html").read_text()
    assert "When the image was changed on its way" in page
    assert "what was not tried above was not measured" in page
    assert page.count("<h2>Generator by generator</h2>") == 1


def test_without_the_options_nothing_is_added(
    run: Run, run_folder: Path, image_folder: Path, tmp_path: Path, write_report: mock.Mock
) -> None:
    assert run("evaluate", run_folder, "--data", image_folder, "--out", tmp_path / "r", "--n-resamples", 100)[0] == 0
    report = write_report.call_args.args[0]
    assert report.robustness is None
    assert report.across is None
    assert report.to_dict()["robustness"] is report.to_dict()["across_generators"] is None


def test_a_matrix_with_photographs_of_other_data(
    run: Run, run_folder: Path, other: Path, image_folder: Path, simulated_folder: Path, tmp_path: Path, write_report: mock.Mock
) -> None:
    code, out, _ = run(
        "evaluate", run_folder, "--data", simulated_folder, "--out", tmp_path / "r", "--n-resamples", 100,
        "--by", "generator", "--reals", image_folder, "--also", other,
    )  # fmt: skip
    across = write_report.call_args.args[0].across
    assert code == 0
    assert [row.detector for row in across.rows][1] == "other"
    assert (across.n_real, across.reals) == (12, image_folder.name)  # the test part only
    assert "other" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--perturb", "jpg-40"), "no perturbation is called 'jpg'"),
        (("--perturb", ","), "no perturbation is named"),
        (("--by", "camera"), "--by knows 'generator' only"),
        (("--encode", "jpeg-75"), "belong to --by generator"),
        (("--also", "x"), "belong to --by generator"),
        (("--by", "generator", "--encode", "jpeg-0"), "'jpeg-0' is not possible"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(run: Run, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, out, err = run("evaluate", tmp_path / "nowhere", "--data", tmp_path / "nowhere", "--out", tmp_path / "r", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "r").exists()


def test_a_detector_that_was_trained_on_the_images_joins_no_matrix(
    run: Run,
    run_folder: Path,
    other: Path,
    image_folder: Path,
    tmp_path: Path,
    write_report: mock.Mock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = {"small": np.arange(24), "other": np.arange(23)}  # one image was in the other's training
    monkeypatch.setattr(changed, "_unseen_by", lambda detector, store: parts[detector.card["name"]])
    words = ("evaluate", run_folder, "--data", image_folder, "--out", tmp_path / "r", "--n-resamples", 100, "--by", "generator")
    monkeypatch.setattr("fauxto.evaluation.columns_for", lambda card, store: {"test": np.arange(24)})
    code, out, err = run(*words, "--also", other)
    assert (code, out) == (5, "")
    assert "the detector 'other' may have been trained on some of these images" in err
    assert not (tmp_path / "r").exists()
    write_report.assert_not_called()
    parts["other"] = np.arange(88)
    assert run(*words, "--also", other)[0] == 0
