"""Numbers with intervals: a percentile bootstrap over images, and Wilson's interval for a single share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fauxto.errors import ScoreError
from fauxto.metrics import points
from fauxto.metrics.points import N_BINS, ONE_CLASS, RATIOS, Confusion

_ECE_ALONE = "given without an interval: resampling adds noise to every bin, which would raise this error each time"


@dataclass(frozen=True)
class Interval:
    """A number and what it could have been with other images of the same kind.

    Attributes:
        value: The number itself; None if these images cannot give it.
        low: Lower end; None if there is no interval.
        high: Upper end; None if there is no interval.
        reason: Why something is None; empty otherwise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


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
    """Return every metric with a percentile bootstrap interval over images (Efron and Tibshirani 1993, chapter 13).

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
    counts, resampled = _resampled_confusion(is_fake, p_fake, threshold, n_resamples, seed, level)
    found = {name: _ratio_interval(name, counts, resampled, level) for name in RATIOS}
    ranked = _resampled_rankings(points.cells_of(is_fake, p_fake), n_resamples, seed)
    found["roc_auc"] = _interval(lambda: points.roc_auc(is_fake, p_fake), ranked[:, 0], level, ONE_CLASS)
    found["average_precision"] = _interval(lambda: points.average_precision(is_fake, p_fake), ranked[:, 1], level, ONE_CLASS)
    found["tpr_at_fpr1"] = _interval(lambda: points.tpr_at_fpr(is_fake, p_fake, fpr=0.01), ranked[:, 2], level, ONE_CLASS)
    found["expected_calibration_error"] = Interval(points.expected_calibration_error(is_fake, p_fake), reason=_ECE_ALONE)
    return found


def confusion_intervals(
    is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return the counts tn, fp, fn, tp with the intervals of the same resamples as ``all_metrics``."""
    counts, resampled = _resampled_confusion(is_fake, p_fake, threshold, n_resamples, seed, level)
    ends = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0).T.tolist()
    return {name: Interval(value, *end) for (name, value), end in zip(counts._asdict().items(), ends, strict=True)}


def _resampled_confusion(
    is_fake: np.ndarray, p_fake: np.ndarray, threshold: float, n_resamples: int, seed: int, level: float
) -> tuple[Confusion, np.ndarray]:
    """Drawing n images with replacement and counting is one multinomial draw of the four counts: int64, (n_resamples, 4)."""
    if n_resamples < 1 or not 0 < level < 1:
        raise ScoreError(f"need n_resamples >= 1 and level in (0, 1), got {n_resamples} and {level}")
    counts = points.confusion(is_fake, p_fake, threshold=threshold)
    shares = np.array(counts) / is_fake.size
    return counts, np.random.default_rng(seed).multinomial(is_fake.size, shares, size=n_resamples)


def _resampled_rankings(cells: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return AUC, average precision and recall at 1 % false alarms of every resample: float64, (n_resamples, 3).

    All three are NaN where a class is missing.
    """
    n_cells = int(cells.max()) + 1
    found = np.full((n_resamples, 3), np.nan)
    for row, drawn in zip(found, _resamples(cells.size, n_resamples, seed), strict=True):
        real, fake = points.real_and_fake(cells[drawn], n_cells)
        if real.any() and fake.any():
            tpr = points.tpr_of_counts(real, fake, fpr=0.01)
            row[:] = points.auc_of_counts(real, fake), points.ap_of_counts(real, fake), tpr
    return found


def _resamples(n_images: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield one resample at a time, so that memory does not grow with their number."""
    rng = np.random.default_rng(seed)
    for _ in range(n_resamples):
        yield rng.integers(n_images, size=n_images)


def _ratio_interval(name: str, counts: Confusion, resampled: np.ndarray, level: float) -> Interval:
    ratio, reason = RATIOS[name]
    top, bottom = ratio(*resampled.T)
    values = np.divide(top, bottom, out=np.full(len(resampled), np.nan), where=bottom > 0)
    return _interval(lambda: points.ratio_of_counts(name, counts), values, level, reason)


def _interval(point: Callable[[], float], resampled: np.ndarray, level: float, reason: str) -> Interval:
    try:
        value = point()
    except ScoreError:
        return Interval(None, reason=reason)
    defined = resampled[~np.isnan(resampled)]
    if defined.size < level * resampled.size:
        return Interval(value, reason=f"too few images for an interval: in many resamples {reason}")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(value, low, high)


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


def wilson(n_hits: int, n: int, *, level: float = 0.95) -> Interval:
    """Return a share with Wilson's score interval (Wilson 1927).

    Example:
        >>> wilson(0, 10)
        Interval(value=0.0, low=0.0, high=0.2775..., reason='')
    """
    if not 0 <= n_hits <= n or not n:
        raise ScoreError(f"need 0 <= n_hits <= n and n >= 1, got {n_hits} of {n}")
    z2, share = NormalDist().inv_cdf((1 + level) / 2) ** 2, n_hits / n
    middle, half = share + z2 / (2 * n), (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5
    low, high = ((middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n))
    # At 0 and n hits the end is 0 or 1 exactly; floating point misses it by a hair.
    return Interval(share, low if n_hits else 0.0, high if n_hits < n else 1.0)
