"""Every metric with an interval; ``benchmarks/coverage_of_intervals.py`` counts how often each covers the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fauxto.errors import ScoreError
from fauxto.metrics import points
from fauxto.metrics.points import N_BINS, ONE_CLASS, RATIOS, Confusion
from fauxto.metrics.rankings import auc_interval, tpr_interval
from fauxto.metrics.shares import Interval, ends_of, mean_of_two, on_log_odds, t_of, wilson

ECE_ALONE = "given without an interval: resampling adds noise to every bin, which would raise this error each time"
RANKED = ("roc_auc", "average_precision", "tpr_at_fpr1")


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose ``p_fake`` lies in (low, high], or in [0, high] for the first bin.

    Attributes:
        n: Number of images, at least 1.
        mean_p_fake: What the detector said, on average.
        share_fake: What was true, with its Wilson interval.
    """

    low: float
    high: float
    n: int
    mean_p_fake: float
    share_fake: Interval


def all_metrics(
    is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return every metric with an interval, each made by a method that covers the truth as often as it says (docs/evaluate.md).

    Numbers at the threshold are shares and have Wilson's interval, or one that is made of Wilson's; ROC AUC has DeLong's. Average
    precision has a normal interval on the log-odds scale, its spread that of a bootstrap over images (Efron and Tibshirani 1993,
    chapter 13); recall at 1 % false alarms has the draws of ``tpr_draws``. The calibration error has none.

    Args:
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1].
        threshold: From the card; an image is called fake when ``p_fake >= threshold``.
        n_resamples: Data sets drawn with replacement from the images.
        seed: Same seed, same intervals.
        level: Wanted coverage of the intervals, in (0, 1).

    Raises:
        ScoreError: See ``confusion``; or ``n_resamples`` or ``level`` is impossible.

    Example:
        >>> all_metrics(np.array([False, True]), np.array([0.1, 0.2]), threshold=0.5)["precision"]
        Interval(value=None, low=None, high=None, reason='no image was called fake')
    """
    _check_resampling(n_resamples, level)
    counts = points.confusion(is_fake, p_fake, threshold=threshold)
    found = {name: ratio_interval_of(name, counts, level=level) for name in RATIOS}
    if is_fake.all() or not is_fake.any():
        return (
            found
            | {name: Interval(None, reason=ONE_CLASS) for name in RANKED}
            | {"expected_calibration_error": _ece(is_fake, p_fake)}
        )
    found["roc_auc"] = auc_interval(is_fake, p_fake, level=level)
    found["average_precision"] = _ap_interval(is_fake, p_fake, n_resamples=n_resamples, seed=seed, level=level)
    found["tpr_at_fpr1"] = tpr_interval(is_fake, p_fake, fpr=0.01, n_draws=n_resamples, seed=seed, level=level)
    return found | {"expected_calibration_error": _ece(is_fake, p_fake)}


def ratio_interval_of(name: str, counts: Confusion, *, level: float = 0.95) -> Interval:
    """Return one of ``RATIOS`` with its interval, from counts.

    F1 is 2 J / (1 + J), where J is the share of found fakes among the images that are fake or were called so.

    Example:
        >>> ratio_interval_of("f1", Confusion(tn=5, fp=2, fn=2, tp=6))
        Interval(value=0.75, low=0.476..., high=0.908..., reason='')
    """
    tn, fp, fn, tp = counts
    try:
        value = points.ratio_of_counts(name, counts)
    except ScoreError:
        return Interval(None, reason=RATIOS[name][1])
    if name == "balanced_accuracy":
        return mean_of_two(wilson(tp, tp + fn, level=level), wilson(tn, tn + fp, level=level))
    if name == "f1":
        _, low, high = ends_of(wilson(tp, tp + fp + fn, level=level))
        return Interval(value, 2 * low / (1 + low), 2 * high / (1 + high))
    top, bottom = RATIOS[name][0](tn, fp, fn, tp)
    return wilson(top, bottom, level=level)


def confusion_intervals(
    is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return the counts tn, fp, fn, tp with percentile bootstrap intervals over images."""
    counts, resampled = _resampled_confusion(is_fake, p_fake, threshold, n_resamples, seed, level)
    ends = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0).T.tolist()
    return {name: Interval(value, *end) for (name, value), end in zip(counts._asdict().items(), ends, strict=True)}


def _resampled_confusion(
    is_fake: np.ndarray, p_fake: np.ndarray, threshold: float, n_resamples: int, seed: int, level: float
) -> tuple[Confusion, np.ndarray]:
    """Drawing n images with replacement and counting is one multinomial draw of the four counts: int64, (n_resamples, 4)."""
    _check_resampling(n_resamples, level)
    counts = points.confusion(is_fake, p_fake, threshold=threshold)
    shares = np.array(counts) / is_fake.size
    return counts, np.random.default_rng(seed).multinomial(is_fake.size, shares, size=n_resamples)


def _check_resampling(n_resamples: int, level: float) -> None:
    if n_resamples < 1 or not 0 < level < 1:
        raise ScoreError(f"need n_resamples >= 1 and level in (0, 1), got {n_resamples} and {level}")


def _ece(is_fake: np.ndarray, p_fake: np.ndarray) -> Interval:
    return Interval(points.expected_calibration_error(is_fake, p_fake), reason=ECE_ALONE)


def _resampled_ap(cells: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return average precision of every resample: float64, (n_resamples,); NaN where a class is missing."""
    n_cells = int(cells.max()) + 1
    found = np.full(n_resamples, np.nan)
    for at, drawn in enumerate(_resamples(cells.size, n_resamples, seed)):
        real, fake = points.real_and_fake(cells[drawn], n_cells)
        if real.any() and fake.any():
            found[at] = points.ap_of_counts(real, fake)
    return found


def _resamples(n_images: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield one resample at a time, so that memory does not grow with their number."""
    rng = np.random.default_rng(seed)
    for _ in range(n_resamples):
        yield rng.integers(n_images, size=n_images)


def _ap_interval(is_fake: np.ndarray, p_fake: np.ndarray, *, n_resamples: int, seed: int, level: float) -> Interval:
    value = points.average_precision(is_fake, p_fake)
    drawn = _resampled_ap(points.cells_of(is_fake, p_fake), n_resamples, seed)
    drawn = drawn[~np.isnan(drawn)]
    n_fake = int(is_fake.sum())
    if n_fake < 2 or drawn.size < level * n_resamples:
        return Interval(value, reason="too few images for an interval: in many resamples one kind is missing")
    if value == 1.0:
        return Interval(
            value, reason="no interval: every fake lies above every photograph, and resampling changes nothing in that"
        )
    return on_log_odds(value, t_of(level, n_fake - 1) * float(drawn.std()))


def reliability_bins(is_fake: np.ndarray, p_fake: np.ndarray, *, level: float = 0.95) -> tuple[ReliabilityBin, ...]:
    """Return what was said and what was true in each of 15 equal bins that holds an image."""
    points.check_scores(is_fake, p_fake)
    bins = points.bin_of(p_fake)
    found = []
    for at in np.unique(bins).tolist():
        inside = bins == at
        share = wilson(int(is_fake[inside].sum()), int(inside.sum()), level=level)
        mean = float(p_fake[inside].mean())
        found.append(ReliabilityBin(at / N_BINS, (at + 1) / N_BINS, int(inside.sum()), mean, share))
    return tuple(found)
