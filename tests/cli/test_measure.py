"""``fauxto evaluate``: the report's files, the numbers on the terminal, and no folder where there is no report."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

import fauxto.report
from fauxto.data.synthetic import NOTE
from fauxto.errors import DataError
from fauxto.report import numbers_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def with_points(run_folder: Path, tmp_path: Path) -> Path:
    """The trained detector with two operating points on its card: one that calls nothing fake, one that calls all so."""
    folder = tmp_path / "with_points"
    shutil.copytree(run_folder / "detector", folder)
    card = json.loads((folder / "card.json").read_text())
    said = {"value": 0.5, "low": 0.25, "high": 0.75}
    points = {"fpr1": {"threshold": 1.0, "target_fpr": 0.01}, "fpr5": {"threshold": 0.0, "target_fpr": 0.05}}
    card["operating_points"] = {name: point | {"fpr": said, "tpr": said} for name, point in points.items()}
    card["operating_points"]["measured_on"] = "nothing"
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def write_report(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Stands in for the slow part, the plots."""
    stand_in = mock.create_autospec(fauxto.report.write_report, return_value=Path("report.html"))
    monkeypatch.setattr(fauxto.report, "write_report", stand_in)
    return stand_in


def test_a_report_and_the_refusal_to_overwrite_it(run: Run, run_folder: Path, image_folder: Path, tmp_path: Path) -> None:
    out_folder = tmp_path / "report"
    words = ("evaluate", run_folder, "--data", image_folder, "--out", out_folder, "--n-resamples", 100)
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert f"report written to {out_folder / 'report.html'}" in out
    assert {"report.html", "report.json", "scores.csv", "roc.png"} <= {path.name for path in out_folder.iterdir()}
    report = json.loads((out_folder / "report.json").read_text())
    rows = list(csv.DictReader((out_folder / "scores.csv").read_text().splitlines()))
    accuracy = sum((row["label"] == "fake") == (row["called_fake"] == "1") for row in rows) / len(rows)
    share_unsure = sum(row["verdict"] == "unsure" for row in rows) / len(rows)
    assert [(column["name"], column["n_real"]) for column in report["columns"]] == [
        ("test", 12), ("test, unseen in train", 12),
    ]  # fmt: skip
    assert report["columns"][0]["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert report["columns"][0]["verdicts"]["abstained"]["value"] == pytest.approx(share_unsure)
    assert f"{100 * accuracy:.2f} %" in out
    assert re.search(rf"unsure +│ +{100 * share_unsure:.2f} %", out)
    assert report["command"].startswith("fauxto evaluate ")
    assert report["data"] == image_folder.name
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "not empty: choose another --out" in err


def test_json_and_data_of_the_environment(
    run: Run, run_folder: Path, image_folder: Path, tmp_path: Path, write_report: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAUXTO_DATA", str(image_folder))
    code, out, _ = run("evaluate", run_folder, "--out", tmp_path / "report", "--n-resamples", 100, "--json")
    assert code == 0
    assert json.loads(out) == numbers_of(write_report.call_args.args[0])


def test_an_operating_point_is_measured_and_named(
    run: Run, with_points: Path, image_folder: Path, tmp_path: Path, write_report: mock.Mock
) -> None:
    words = ("evaluate", with_points, "--data", image_folder, "--n-resamples", 100, "--out")
    code, out, _ = run(*words, tmp_path / "fpr5", "--operating-point", "fpr5")
    report = write_report.call_args.args[0]
    assert code == 0
    assert (report.operating_point, report.threshold) == ("fpr5", 0)
    assert report.columns[0].metrics["recall"].value == report.columns[0].metrics["false_alarm_rate"].value == 1
    assert " at fpr5 on " in out
    for label, share in (("false alarms at fpr1", 0), ("recall at fpr1", 0), ("false alarms at fpr5", 100)):
        assert re.search(rf"{label} +│ +{share}.00 %", out)


def test_the_users_own_share_of_fakes_is_said(
    run: Run, with_points: Path, image_folder: Path, tmp_path: Path, write_report: mock.Mock
) -> None:
    words = ("evaluate", with_points, "--data", image_folder, "--n-resamples", 100, "--out")
    code, out, _ = run(*words, tmp_path / "a", "--prevalence", "0.02")
    assert code == 0
    assert write_report.call_args.args[0].prevalence == 0.02
    assert "At fpr5, p_fake ≥ 0, with 2 % fakes: of the images called fake, 2.00 %" in " ".join(out.split())
    for wrong in ("2", "nan", "-1"):
        assert run(*words, tmp_path / "b", "--prevalence", wrong)[0] == 2
        assert not (tmp_path / "b").exists()


def test_an_operating_point_that_is_not_on_the_card_is_refused_before_anything_is_done(
    run: Run, with_points: Path, tmp_path: Path
) -> None:
    out_folder = tmp_path / "report"
    code, out, err = run(
        "evaluate", with_points, "--data", tmp_path / "nowhere", "--out", out_folder, "--operating-point", "fpr2"
    )
    assert (code, out) == (2, "")
    assert "no operating point 'fpr2', its card has fpr1, fpr5" in err
    assert not out_folder.exists()


def test_simulated_data_are_named_in_the_report(
    run: Run, run_folder: Path, simulated_folder: Path, tmp_path: Path, write_report: mock.Mock
) -> None:
    words = ("--out", tmp_path / "report", "--n-resamples", 100)
    code, out, _ = run("evaluate", run_folder, "--data", simulated_folder, *words)
    report = write_report.call_args.args[0]
    assert code == 0
    assert report.note == NOTE
    assert [column.name for column in report.columns] == ["all images"]
    assert "Simulated data" in out


def test_without_numbers_there_is_no_folder(
    run: Run, run_folder: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_folder = tmp_path / "report"
    assert run("evaluate", run_folder, "--data", tmp_path / "nowhere", "--out", out_folder)[0] == 5
    assert run("evaluate", tmp_path / "nowhere", "--data", image_folder, "--out", out_folder)[0] == 6
    assert not out_folder.exists()
    monkeypatch.setattr("fauxto.evaluation.evaluate", mock.Mock(side_effect=DataError("no image is left")))
    assert run("evaluate", run_folder, "--data", image_folder, "--out", out_folder) == (5, "", "error: no image is left\n")
    assert not out_folder.exists()
    out_folder.mkdir()  # the user's own folder stays
    assert run("evaluate", run_folder, "--data", image_folder, "--out", out_folder)[0] == 5
    assert out_folder.is_dir()
