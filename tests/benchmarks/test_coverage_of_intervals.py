"""benchmarks/coverage_of_intervals.py: its true numbers are those of a very large simulated data set, and its rows count hits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fauxto import metrics
from fauxto.metrics import Interval

from .conftest import module

coverage = module("coverage_of_intervals")


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_true_numbers_are_those_of_very_many_images(share: float) -> None:
    is_fake, p_fake = coverage.simulated(300_000, share, np.random.default_rng(0))
    own, truth = p_fake["own"], coverage.truths(share)
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "false_alarm_rate"):
        assert getattr(metrics, name)(is_fake, own, threshold=0.5) == pytest.approx(truth[name], abs=0.01), name
    for name in ("roc_auc", "average_precision"):
        assert getattr(metrics, name)(is_fake, own) == pytest.approx(truth[name], abs=0.005), name
    assert metrics.tpr_at_fpr(is_fake, own, fpr=0.01) == pytest.approx(truth["tpr_at_fpr1"], abs=0.02)
    brier = metrics.brier_score(is_fake, own) - metrics.brier_score(is_fake, p_fake["other"])
    assert brier == pytest.approx(truth["difference in brier_score"], abs=0.002)
    inside = (own > 7 / 15) & (own <= 8 / 15)
    assert is_fake[inside].mean() == pytest.approx(truth["reliability of the middle bin"], abs=0.03)


def test_rows_count_hits_of_every_interval() -> None:
    rows = coverage.covered((60, 0.5), n_sets=3, n_draws=5)
    names = {row["interval"] for row in rows}
    assert names <= set(coverage.truths(0.5))
    assert {"accuracy", "difference in roc_auc", "ppv at 0.01", "share of fakes, unlabelled"} <= names
    by_name = {row["interval"]: row for row in rows}
    assert by_name["tpr_at_fpr1"]["given"] == 0
    assert by_name["tpr_at_fpr1"]["coverage"] is by_name["tpr_at_fpr1"]["holds"] is None
    assert by_name["accuracy"]["given"] == 1


def test_hits_are_counted_and_held_against_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"accuracy": Interval(0.5, 0.0, 1.0), "recall": Interval(0.5, 0.0, 0.1), "f1": Interval(0.5)}
    monkeypatch.setattr(coverage, "intervals", lambda *_: found)
    rows = {row["interval"]: row for row in coverage.covered((50, 0.5), n_sets=4, n_draws=1)}
    assert (rows["accuracy"]["coverage"], rows["accuracy"]["holds"]) == (1.0, False)
    assert (rows["recall"]["coverage"], rows["recall"]["holds"]) == (0.0, False)
    assert rows["f1"] == {"interval": "f1", "n": 50, "share_fake": 0.5, "given": 0.0, "coverage": None, "holds": None}
    assert math.isnan(coverage.truths(0.5)["expected_calibration_error"])
