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
from fauxto.report import numbers_of

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
    assert numbers_of(report)["robustness"] is numbers_of(report)["across_generators"] is None


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


def with_points(folder: Path, **thresholds: float) -> Path:
    """Write these operating points onto a detector's card."""
    card, said = json.loads((folder / "card.json").read_text()), {"value": 0.5, "low": 0.25, "high": 0.75}
    points = {name: {"threshold": at, "target_fpr": 0.01, "fpr": said, "tpr": said} for name, at in thresholds.items()}
    (folder / "card.json").write_text(json.dumps(card | {"operating_points": points}))
    return folder


def test_an_operating_point_is_that_of_every_detector(
    run: Run, run_folder: Path, other: Path, image_folder: Path, simulated_folder: Path, tmp_path: Path, write_report: mock.Mock
) -> None:
    first = with_points(Path(shutil.copytree(run_folder / "detector", tmp_path / "first")), fpr1=1.0)
    words = (
        "evaluate", first, "--data", simulated_folder, "--n-resamples", 100, "--by", "generator", "--reals", image_folder,
        "--also", other, "--operating-point", "fpr1", "--out",
    )  # fmt: skip
    code, out, err = run(*words, tmp_path / "refused")
    assert (code, out) == (2, "")
    assert "other: this detector has no operating point 'fpr1'" in err
    assert not (tmp_path / "refused").exists()
    with_points(other, fpr1=0.0)
    assert run(*words, tmp_path / "r")[0] == 0
    rows = write_report.call_args.args[0].across.rows
    assert [(row.threshold, row.generators[0].metrics["recall"].value) for row in rows] == [(1.0, 0.0), (0.0, 1.0)]


@pytest.fixture
def of_one_class(image_folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Data that hold one class only."""

    def make(label: str) -> Path:
        folder = tmp_path / f"only-{label}"
        folder.mkdir()
        sources = sorted((image_folder / "train" / label.upper()).iterdir())[:6]
        lines = [f"{shutil.copy(source, folder / source.name).name},{label},{'a' * (label == 'fake')}" for source in sources]
        (folder / "manifest.csv").write_text("\n".join(["path,label,generator", *lines]) + "\n")
        return folder

    return make


@pytest.mark.parametrize(
    ("label", "message"),
    [("fake", "no photograph to measure generators against: give data"), ("real", "no fake image among these")],
)
def test_a_missing_class_ends_it_before_anything_is_scored(
    run: Run,
    run_folder: Path,
    of_one_class: Callable[[str], Path],
    tmp_path: Path,
    label: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = mock.Mock(side_effect=AssertionError("this is slow, and in vain"))
    monkeypatch.setattr("fauxto.evaluation.evaluate", measure)
    folder = of_one_class(label)
    words = ("evaluate", run_folder, "--data", folder, "--by", "generator", "--perturb", "jpeg-40", "--out", tmp_path / "r")
    code, out, err = run(*words)
    assert (code, out) == (5, "")
    assert message in err
    if label == "fake":
        code, _, err = run(*words, "--reals", folder)
        assert code == 5
        assert "the data of --reals hold none: name others" in err
    measure.assert_not_called()
    assert not (tmp_path / "r").exists()


def test_a_share_of_fakes_where_a_class_is_missing(
    run: Run, run_folder: Path, of_one_class: Callable[[str], Path], image_folder: Path, tmp_path: Path, write_report: mock.Mock
) -> None:
    words = ("evaluate", run_folder, "--data", of_one_class("fake"), "--n-resamples", 100, "--prevalence", 0.02)
    code, out, _ = run(*words, "--out", tmp_path / "a")
    assert code == 0
    assert "at your share of 2 % fakes cannot be given: there is no photograph among these images" in " ".join(out.split())
    code, out, _ = run(*words, "--out", tmp_path / "b", "--by", "generator", "--reals", image_folder)
    report = write_report.call_args.args[0]
    assert code == 0
    assert "with 2 % fakes: of the images called fake, " in " ".join(out.split())
    assert "cannot be given" not in out
    (point,) = numbers_of(report)["prevalence"]
    (own,) = [item for item in point["shares"] if item["share"] == 0.02]
    rate = report.across.rows[0].generators[0].metrics["false_alarm_rate"].value
    assert own["false_alarms"]["value"] == pytest.approx(9800 * rate)


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
