"""Two detectors on the same images: who alone is right, how far apart their numbers are, and what is left of many p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fauxto.errors import ScoreError
from fauxto.metrics import points
from fauxto.metrics.closed import paired_change
from fauxto.metrics.points import ONE_CLASS, check_scores
from fauxto.metrics.rankings import NEEDED_PER_CLASS, TOO_FEW, auc_covariance, needed_real, placements
from fauxto.metrics.shares import Interval, t_of, z_of

NO_SPREAD = "no interval: on these images neither order changes by resampling, which says nothing about other images"
# With more images on which one alone is right, the exact test takes long and gives the same: docs/compare.md.
MAX_EXACT = 20_000
ECE_ALONE = "given without an interval: chance raises each of the two calibration errors, by amounts that differ; see Brier score"


class McNemar(NamedTuple):
    """McNemar's test of equal accuracy on the same images.

    Attributes:
        only_own_right: Images that the first detector alone answered right.
        only_other_right: Images that the second alone answered right.
        p_value: Two-sided, in [0, 1].
        method: "exact", or "chi-squared with continuity correction".
    """

    only_own_right: int
    only_other_right: int
    p_value: float
    method: str


class Answers(NamedTuple):
    """What one detector says of some images.

    Attributes:
        p_fake: Float, shape (n,), in [0, 1].
        threshold: An image is called fake when ``p_fake >= threshold``.
    """

    p_fake: np.ndarray
    threshold: float


def differences(
    is_fake: np.ndarray, own: Answers, other: Answers, *, n_draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return own minus other for every metric that compares detectors, with paired intervals: both were asked the same images.

    Accuracy has the interval of Bonett and Price (2012, J Educ Behav Stat 37:479), which adds one image to either side that alone
    is right; balanced accuracy the same, class by class, with a quarter of an image, which covers better there; ROC AUC that of
    DeLong et al. (1988); recall at 1 % false alarms the normal interval with the spread of a paired bootstrap over images; the
    Brier score the normal interval of its differences per image. The difference of calibration errors has none.
    ``benchmarks/coverage_of_intervals.py`` counts how often each covers the truth.

    Args:
        is_fake: Bool, shape (n,).
        own: What the first detector says.
        other: What the second says.
        n_draws: For recall at 1 % false alarms.
        seed: Same seed, same intervals.
        level: Wanted coverage, in (0, 1).

    Raises:
        ScoreError: See ``check_scores``; or a threshold or the level is impossible.

    Example:
        >>> is_fake, own = np.array([False, True]), Answers(np.array([0.1, 0.9]), 0.5)
        >>> differences(is_fake, own, own)["accuracy"].value
        0.0
    """
    z = z_of(level)
    for answers in (own, other):
        points.confusion(is_fake, answers.p_fake, threshold=answers.threshold)  # refuses what does not fit
    right = [(answers.p_fake >= answers.threshold) == is_fake for answers in (own, other)]
    gap = points.expected_calibration_error(is_fake, own.p_fake) - points.expected_calibration_error(is_fake, other.p_fake)
    missing = Interval(None, reason=ONE_CLASS)
    found = {
        "accuracy": _share_difference(*right, level=level),
        "balanced_accuracy": missing,
        "roc_auc": missing,
        "tpr_at_fpr1": missing,
    }
    if is_fake.any() and not is_fake.all():
        found["balanced_accuracy"] = _balanced_difference(is_fake, *right, z=z)
        found["roc_auc"] = _auc_difference(is_fake, own.p_fake, other.p_fake, level=level)
        found["tpr_at_fpr1"] = _tpr_difference(is_fake, own.p_fake, other.p_fake, n_draws=n_draws, seed=seed, level=level)
    brier = _mean_interval((own.p_fake - is_fake) ** 2 - (other.p_fake - is_fake) ** 2, z=z)
    return found | {"expected_calibration_error": Interval(gap, reason=ECE_ALONE), "brier_score": brier}


def brier_score(is_fake: np.ndarray, p_fake: np.ndarray) -> float:
    """Return the mean squared distance of ``p_fake`` from the truth (Brier 1950); lower is better.

    Raises:
        ScoreError: See ``check_scores``.

    Example:
        >>> brier_score(np.array([False, True]), np.array([0.5, 1.0]))
        0.125
    """
    check_scores(is_fake, p_fake)
    return float(np.mean((p_fake - is_fake) ** 2))


def mcnemar(own_right: np.ndarray, other_right: np.ndarray) -> McNemar:
    """Return McNemar's test (1947) of equal accuracy on the same images, two-sided.

    Of the images on which one detector alone is right, half would be each one's if both were equally good. The exact test is
    the binomial one; from 20,000 such images on it is the chi-squared test with continuity correction (Edwards 1948).

    Args:
        own_right: Bool, shape (n,): where the first detector is right.
        other_right: Bool, shape (n,).

    Raises:
        ScoreError: The arrays are not bool, flat and equally long.

    Example:
        >>> mcnemar(np.array([True] * 5 + [False]), np.array([False] * 5 + [False]))
        McNemar(only_own_right=5, only_other_right=0, p_value=0.0625, method='exact')
    """
    if own_right.dtype != bool or other_right.dtype != bool or own_right.ndim != 1 or own_right.shape != other_right.shape:
        raise ScoreError(f"expected two flat bool arrays of one length, got shapes {own_right.shape} and {other_right.shape}")
    own, other = int((own_right & ~other_right).sum()), int((other_right & ~own_right).sum())
    if own + other > MAX_EXACT:
        statistic = (abs(own - other) - 1) ** 2 / (own + other)
        return McNemar(own, other, math.erfc(math.sqrt(statistic / 2)), "chi-squared with continuity correction")
    return McNemar(own, other, _exact(own, other), "exact")


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that hold together for all of the tests (Holm 1979): reject those up to the level.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, so_far = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = so_far
    return adjusted


def _exact(own: int, other: int) -> float:
    """Sum the binomial tail in whole numbers: no rounding, however small the share."""
    n, term, tail = own + other, 1, 0
    for k in range(min(own, other) + 1):
        tail += term
        term = term * (n - k) // (k + 1)
    return float(min(1.0, 2 * tail / 2**n))


def _share_difference(own: np.ndarray, other: np.ndarray, *, level: float) -> Interval:
    return paired_change(int((own & ~other).sum()), int((other & ~own).sum()), own.size, level=level)


def _balanced_difference(is_fake: np.ndarray, own: np.ndarray, other: np.ndarray, *, z: float) -> Interval:
    parts = [_adjusted(own[where], other[where]) for where in (is_fake, ~is_fake)]
    value = sum(float(own[where].mean() - other[where].mean()) for where in (is_fake, ~is_fake)) / 2
    return _kept(value, sum(middle for middle, _ in parts) / 2, z * math.sqrt(sum(variance for _, variance in parts)) / 2)


def _adjusted(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return middle and variance with a quarter of an image added to either side that alone is right."""
    n = own.size + 0.5
    only_own, only_other = ((int((a & ~b).sum()) + 0.25) / n for a, b in ((own, other), (other, own)))
    middle = only_own - only_other
    return middle, (only_own + only_other - middle**2) / n


def _auc_difference(is_fake: np.ndarray, own: np.ndarray, other: np.ndarray, *, level: float) -> Interval:
    value = points.roc_auc(is_fake, own) - points.roc_auc(is_fake, other)
    covariance = auc_covariance([placements(is_fake, p_fake) for p_fake in (own, other)])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    n_fewer = min(int(is_fake.sum()), int((~is_fake).sum()))
    if n_fewer < NEEDED_PER_CLASS:
        return Interval(value, reason=TOO_FEW)
    return _with_spread(value, t_of(level, n_fewer - 1) * math.sqrt(max(variance, 0.0)), own, other)


def _tpr_difference(
    is_fake: np.ndarray, own: np.ndarray, other: np.ndarray, *, n_draws: int, seed: int, level: float
) -> Interval:
    value = points.tpr_at_fpr(is_fake, own, fpr=0.01) - points.tpr_at_fpr(is_fake, other, fpr=0.01)
    needed = needed_real(0.01, level=level)
    if int((~is_fake).sum()) < needed:
        return Interval(value, reason=f"too few photographs for an interval at 1 % false alarms: it needs {needed:,}")
    if int(is_fake.sum()) < NEEDED_PER_CLASS:
        return Interval(value, reason=TOO_FEW)
    rng, drawn = np.random.default_rng(seed), []
    cells = [points.cells_of(is_fake, p_fake) for p_fake in (own, other)]
    for _ in range(n_draws):
        chosen = rng.integers(is_fake.size, size=is_fake.size)
        if is_fake[chosen].any() and not is_fake[chosen].all():
            tpr = [points.tpr_of_counts(*points.real_and_fake(cell[chosen], None), fpr=0.01) for cell in cells]
            drawn.append(tpr[0] - tpr[1])
    return _with_spread(value, z_of(level) * float(np.std(drawn)), own, other)


def _mean_interval(values: np.ndarray, *, z: float) -> Interval:
    mean = float(values.mean())
    if values.size < 2:
        return Interval(mean, reason="too few images for an interval: there is one only")
    half = z * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Interval(mean, mean - half, mean + half)


def _with_spread(value: float, half: float, own: np.ndarray, other: np.ndarray) -> Interval:
    """Refuse the empty interval of two perfect orders; of a detector and itself it is right."""
    if half < 1e-12 and not np.array_equal(own, other):
        return Interval(value, reason=NO_SPREAD)
    return _kept(value, value, half)


def _kept(value: float, middle: float, half: float) -> Interval:
    """Return the interval within what a difference of two shares can be."""
    return Interval(value, max(-1.0, middle - half), min(1.0, middle + half))
