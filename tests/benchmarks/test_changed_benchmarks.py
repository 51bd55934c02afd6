"""The measurements of changed images and of generators, and the page that shows them, on small data."""

from __future__ import annotations

import csv
import dataclasses
import doctest
from pathlib import Path

import numpy as np
import pytest

from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.metrics import Interval
from fauxto.perturb import perturbed
from fauxto.report.generators import Against, Row

from .conftest import module

record, timing, cross, page = (module(name) for name in ("record", "robustness_time", "cross_generator", "evaluate_page"))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    return tmp_path


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(page).attempted == 1
    assert doctest.testmod(page).failed == 0


def test_a_timed_report_its_rows_and_its_table(
    store: Store, run_folder: Path, tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "write_report", lambda report, folder: folder)
    names = ("jpeg-40", "resize-0.5+jpeg-70")
    found, seconds = timing.timed_report(Detector.load(run_folder), store, names, tmp_path)
    assert list(seconds) == ["as they came", "changed", "page and files"]
    rows = timing.rows_of("small", found)
    assert [(row["column"], row["perturbation"]) for row in rows[:3]] == [("test", name) for name in ("as they came", *names)]
    record.write_table("robustness", rows)
    lines = page.robustness().splitlines()
    assert len(lines) == 2 + 3
    assert lines[2].startswith(f"| as they came | {100 * rows[0]['accuracy']:.2f} [")
    assert len({line.count("|") for line in lines}) == 1
    summary = timing.summary_of(found)
    accuracies = [row["accuracy"] for row in rows[1:3]]
    assert summary["mean"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert list(summary["worst"]["accuracy"].values()) == [min(accuracies)]


def test_generators_meet_photographs_that_are_saved_alike(store: Store, run_folder: Path) -> None:
    detector = Detector.load(run_folder)
    photographs = store.batch(np.flatnonzero(~store.is_fake)[:10])
    for encode in cross.ENCODINGS:
        (item,) = cross.others_row(detector, store, photographs, encode).generators
        pixels = photographs if encode == "as-is" else perturbed(photographs, encode)
        alarms = np.mean([one.p_fake >= detector.threshold for one in detector.predict(pixels)])
        assert item.metrics["false_alarm_rate"].value == alarms
        assert item.n == store.is_fake.sum()
    test = np.flatnonzero(store.split == "test")
    (own,) = cross.own_row(detector, store, test).generators
    assert (own.generator, own.n) == (cross.OWN, store.is_fake[test].sum())
    assert own.is_known, "it was trained on these data"
    elsewhere = {**detector.card, "trained_on": {**detector.card["trained_on"], "store": "b", "pixels": "b"}}
    (foreign,) = cross.own_row(dataclasses.replace(detector, card=elsewhere), store, test).generators
    assert not foreign.is_known


def test_photographs_that_were_trained_on_as_jpeg_are_left_out(store: Store, run_folder: Path, tmp_path: Path) -> None:
    detector = Detector.load(run_folder)
    at = np.flatnonzero(~store.is_fake)
    np.savez(tmp_path / "lossless.npz", image=store.batch(at), cifake_path=store.path[at])
    found = cross.lossless_reals(detector, store, tmp_path / "lossless.npz")
    split = record.split_of(detector, store)
    np.testing.assert_array_equal(found, store.batch(at[~np.isin(at, split.train)]))
    assert 0 < len(found) < len(at)


def test_the_table_of_generators_and_its_means(results: Path) -> None:
    def item(name: str, n: int, auc: float) -> Against:
        share = Interval(auc, auc - 0.01, auc + 0.01)
        names = ("roc_auc", "recall", "false_alarm_rate", "balanced_accuracy", "unsure")
        return Against(name, n, False, dict.fromkeys(names, share), "", False)

    items = (item(cross.OWN, 900, 0.99), item("began", 200, 0.6), item("ddim", 80, 0.1), item("dcgan", 100, 0.8))
    rows = [Row(name, (), 0.5, items) for name in ("one", "two")]
    record.write_table("cross_generator", cross.lines(cross.across(rows, "jpeg-75")))
    with (results / "cross_generator.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 8
    lines = page.generators().splitlines()
    assert len(lines) == 2 + 4
    assert lines[4] == "| ddim † | jpeg-75 | 80 " + "| 0.100 [0.090, 0.110] | 10.00 | 10.00 " * 2 + "|"
    found = cross.overall(rows)["one"]  # neither its own nor the one with too few
    assert (found["n_generators"], found["roc_auc"]["minimum_of"]) == (2, "began")
    assert found["roc_auc"]["mean"] == pytest.approx(0.7)


def test_the_page_has_a_place_for_every_table() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    for name in page.TABLES:
        assert record.filled(text, name, "new").count("\n\nnew\n\n") == 1
