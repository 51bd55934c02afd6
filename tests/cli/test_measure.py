"""``fauxto evaluate``: the report's files, the numbers on the terminal, and no folder where there is no report."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

import fauxto.report
from fauxto.data.synthetic import NOTE
from fauxto.errors import DataError

Run = Callable[..., tuple[int, str, str]]


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
    accuracy = sum(row["label"] == row["verdict"] for row in rows) / len(rows)
    assert [(column["name"], column["n_real"]) for column in report["columns"]] == [
        ("test", 12), ("test, unseen in train", 12),
    ]  # fmt: skip
    assert report["columns"][0]["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert f"{100 * accuracy:.2f} %" in out
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
    assert json.loads(out) == write_report.call_args.args[0].to_dict()


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
