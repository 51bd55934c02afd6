"""What duplicates do to a detector's score: the metrics with and without the images that it may know from training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from fauxto.errors import DataError, ScoreError
from fauxto.metrics import Confusion, Interval, check_scores, points, wilson

Metric = Callable[[np.ndarray], float]  # members, may repeat -> value; NaN where they cannot give it


@dataclass(frozen=True)
class MetricEffect:
    """One metric on all images and on those that are left, with percentile bootstrap intervals over images.

    Attributes:
        every: On all images.
        without: Without the images left out.
        difference: ``without`` minus ``every``, resampled together; below 0 where the duplicates flatter the detector.
    """

    every: Interval
    without: Interval
    difference: Interval


@dataclass(frozen=True)
class ScoreEffect:
    """What leaving the duplicates out changes.

    Attributes:
        left_out: What is, such as "equal" (same pixels in train) or "equal or near".
        n_images: Images that were scored.
        n_left_out: How many of them are left out.
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
    known: Mapping[str, Sequence[int] | np.ndarray],
    positions: np.ndarray,
    is_fake: np.ndarray,
    p_fake: np.ndarray,
    *,
    threshold: float,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[ScoreEffect, ...]:
    """Return the effect of leaving images out, once for each entry of ``known``.

    Args:
        known: In words what is left out -> the positions of those images in the store; others than the scored ones do not
            matter. ``DuplicateReport.known`` gives the test images that stand in train.
        positions: int64, shape (n,), where the scored images stand in the store.
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1].
        threshold: From the card; an image is called fake when ``p_fake >= threshold``.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.
        level: Coverage of the intervals.

    Raises:
        ScoreError: The scores are no scores, or the threshold, ``n_resamples`` or ``level`` is impossible.
        DataError: The positions are not those of the scores, or not distinct.
    """
    check_scores(is_fake, p_fake)
    if not (0 <= threshold <= 1 and n_resamples >= 1 and 0 < level < 1):
        given = f"{threshold}, {n_resamples} and {level}"
        raise ScoreError(f"need a threshold in [0, 1], n_resamples >= 1 and level in (0, 1), got {given}")
    if positions.shape != is_fake.shape or len(np.unique(positions)) != len(positions):
        raise DataError(f"expected one position for each of {is_fake.size} scores, each once, got {positions.size} positions")
    leaks = {name: np.isin(positions, np.asarray(at, np.int64)) for name, at in known.items()}
    metrics = _metrics(is_fake, p_fake, threshold)
    return tuple(_effect(name, leak, metrics, n_resamples, seed, level) for name, leak in leaks.items())


def _metrics(is_fake: np.ndarray, p_fake: np.ndarray, threshold: float) -> dict[str, Metric]:
    """Return what gives each metric of some of the images; ranks and answers are found once, for many resamples."""
    answers, cells = 2 * is_fake + (p_fake >= threshold), points.cells_of(is_fake, p_fake)
    n_cells = int(cells.max()) + 1

    def ratio(name: str, members: np.ndarray) -> float:
        counts = Confusion(*np.bincount(answers[members], minlength=4).tolist())
        try:
            return points.ratio_of_counts(name, counts)
        except ScoreError:
            return float("nan")

    def auc(members: np.ndarray) -> float:
        real, fake = points.real_and_fake(cells[members], n_cells)
        return points.auc_of_counts(real, fake) if real.any() and fake.any() else float("nan")

    return {"accuracy": partial(ratio, "accuracy"), "balanced_accuracy": partial(ratio, "balanced_accuracy"), "roc_auc": auc}


def _effect(name: str, leak: np.ndarray, metrics: Mapping[str, Metric], n_resamples: int, seed: int, level: float) -> ScoreEffect:
    n_images = len(leak)
    values = _with_and_without(np.arange(n_images), leak, metrics)
    rng = np.random.default_rng(seed)
    drawn = np.stack([_with_and_without(rng.integers(n_images, size=n_images), leak, metrics) for _ in range(n_resamples)])
    found = {
        metric: MetricEffect(*(_interval(values[at, k], drawn[:, at, k], level) for k in range(3)))
        for at, metric in enumerate(metrics)
    }
    n_leaks = int(leak.sum())
    if not n_leaks:
        right = Interval(None, reason="none of the scored images is left out")
    else:
        right = wilson(round(metrics["accuracy"](np.flatnonzero(leak)) * n_leaks), n_leaks, level=level)
    return ScoreEffect(name, n_images, n_leaks, right, found)


def _with_and_without(chosen: np.ndarray, leak: np.ndarray, metrics: Mapping[str, Metric]) -> np.ndarray:
    """Return each metric on the chosen images, on those of them that are no leak, and the difference: float64, (3, 3)."""
    kept = chosen[~leak[chosen]]
    both = np.array([(metric(chosen), metric(kept)) for metric in metrics.values()])
    return np.hstack([both, both[:, 1:] - both[:, :1]])


def _interval(value: float, drawn: np.ndarray, level: float) -> Interval:
    if np.isnan(value):
        return Interval(None, reason="too few images are left: it needs some of both classes")
    defined = drawn[~np.isnan(drawn)]
    if defined.size < level * drawn.size:
        return Interval(float(value), reason="too few images for an interval: many resamples lack a class")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(float(value), low, high)
