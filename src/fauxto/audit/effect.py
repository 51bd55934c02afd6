"""What duplicates do to a detector's score: the metrics with and without the test images that stand in train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fauxto.audit.duplicates import EQUAL, DuplicateReport
from fauxto.errors import DataError, ScoreError
from fauxto.metrics import Interval, balanced_accuracy, check_scores, roc_auc, wilson
from fauxto.metrics import accuracy as accuracy_of

EQUAL_OR_NEAR = "equal or near"
Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class MetricEffect:
    """One metric on all images and on those that are left, with percentile bootstrap intervals over images.

    Attributes:
        every: On all images.
        without: Without the images that stand in train.
        difference: ``without`` minus ``every``, resampled together; below 0 where the duplicates flatter the detector.
    """

    every: Interval
    without: Interval
    difference: Interval


@dataclass(frozen=True)
class ScoreEffect:
    """What leaving the duplicates out changes.

    Attributes:
        left_out: "equal" (same pixels in train) or "equal or near".
        n_images: Images that were scored.
        n_left_out: How many of them stand in train.
        accuracy_of_left_out: On the images left out, with Wilson's interval.
        metrics: "accuracy", "balanced_accuracy" and "roc_auc".
    """

    left_out: str
    n_images: int
    n_left_out: int
    accuracy_of_left_out: Interval
    metrics: Mapping[str, MetricEffect]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def score_without(
    report: DuplicateReport,
    positions: np.ndarray,
    is_fake: np.ndarray,
    p_fake: np.ndarray,
    *,
    threshold: float,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[ScoreEffect, ScoreEffect]:
    """Return the effect of the equal duplicates, and of the equal and near ones together.

    Args:
        report: Of the store that the images stand in.
        positions: int64, shape (n,), where the scored images stand in the store.
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1].
        threshold: From the card; an image is called fake when ``p_fake >= threshold``.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.
        level: Coverage of the intervals.

    Raises:
        ScoreError: The scores are no scores, or the threshold, ``n_resamples`` or ``level`` is impossible.
        DataError: The positions are not those of the scores, or outside of the store, or not distinct.
    """
    check_scores(is_fake, p_fake)
    if not (0 <= threshold <= 1 and n_resamples >= 1 and 0 < level < 1):
        given = f"{threshold}, {n_resamples} and {level}"
        raise ScoreError(f"need a threshold in [0, 1], n_resamples >= 1 and level in (0, 1), got {given}")
    if positions.shape != is_fake.shape or len(np.unique(positions)) != len(positions):
        raise DataError(f"expected one position for each of {is_fake.size} scores, each once, got {positions.size} positions")
    if positions.min() < 0 or positions.max() >= report.n_images:
        raise DataError(f"the positions must lie from 0 to {report.n_images - 1}: give those of the store that was audited")
    seen = {EQUAL: report.test_in_train, EQUAL_OR_NEAR: report.test_in_train + report.test_near_train}
    leaks = {name: np.isin(positions, np.array(at, np.int64)) for name, at in seen.items()}
    metrics: dict[str, Metric] = {
        "accuracy": lambda labels, scores: accuracy_of(labels, scores, threshold=threshold),
        "balanced_accuracy": lambda labels, scores: balanced_accuracy(labels, scores, threshold=threshold),
        "roc_auc": roc_auc,
    }
    equal, both = (_effect(name, leak, is_fake, p_fake, metrics, n_resamples, seed, level) for name, leak in leaks.items())
    return equal, both


def _effect(
    name: str,
    leak: np.ndarray,
    is_fake: np.ndarray,
    p_fake: np.ndarray,
    metrics: Mapping[str, Metric],
    n_resamples: int,
    seed: int,
    level: float,
) -> ScoreEffect:
    every = np.arange(len(leak))
    values = _with_and_without(every, leak, is_fake, p_fake, metrics)
    rng = np.random.default_rng(seed)
    drawn = np.stack([
        _with_and_without(rng.integers(len(leak), size=len(leak)), leak, is_fake, p_fake, metrics) for _ in range(n_resamples)
    ])  # fmt: skip
    found = {
        metric: MetricEffect(*(_interval(values[at, k], drawn[:, at, k], level) for k in range(3)))
        for at, metric in enumerate(metrics)
    }
    return ScoreEffect(name, len(leak), int(leak.sum()), _share_right(leak, is_fake, p_fake, metrics, level), found)


def _with_and_without(
    chosen: np.ndarray, leak: np.ndarray, is_fake: np.ndarray, p_fake: np.ndarray, metrics: Mapping[str, Metric]
) -> np.ndarray:
    """Return each metric on the chosen images, on those of them that are no leak, and the difference; NaN: cannot be given."""
    kept = chosen[~leak[chosen]]
    found = np.full((len(metrics), 3), np.nan)
    for at, metric in enumerate(metrics.values()):
        for k, members in enumerate((chosen, kept)):
            found[at, k] = _or_nan(metric, is_fake[members], p_fake[members])
    found[:, 2] = found[:, 1] - found[:, 0]
    return found


def _or_nan(metric: Metric, is_fake: np.ndarray, p_fake: np.ndarray) -> float:
    try:
        return metric(is_fake, p_fake)
    except ScoreError:  # one class only, or no image at all
        return float("nan")


def _interval(value: float, drawn: np.ndarray, level: float) -> Interval:
    if np.isnan(value):
        return Interval(None, reason="too few images are left: it needs some of both classes")
    defined = drawn[~np.isnan(drawn)]
    if defined.size < level * drawn.size:
        return Interval(float(value), reason="too few images for an interval: many resamples lack a class")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(float(value), low, high)


def _share_right(
    leak: np.ndarray, is_fake: np.ndarray, p_fake: np.ndarray, metrics: Mapping[str, Metric], level: float
) -> Interval:
    if not leak.any():
        return Interval(None, reason="none of the scored images stands in train")
    n_right = round(metrics["accuracy"](is_fake[leak], p_fake[leak]) * int(leak.sum()))
    return wilson(n_right, int(leak.sum()), level=level)
