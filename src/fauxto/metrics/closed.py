"""Intervals in closed form, for many sets of images at once: AUC, means of shares, paired changes, the calibration error."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from fauxto.errors import ScoreError
from fauxto.metrics import points
from fauxto.metrics.points import ONE_CLASS, Confusion
from fauxto.metrics.shares import Interval, wilson


def auc_interval(is_fake: np.ndarray, p_fake: np.ndarray, *, level: float = 0.95) -> Interval:
    """Return ROC AUC with the interval of DeLong et al. (1988), in time that grows as sorting does.

    The interval is made on the log-odds of the AUC, where it is nearly normal also for an AUC near 1 (Pepe 2003, section 5.2.4).
    Where every pair is in the right order, or none is, or a class has one image, that variance says nothing: then the interval is
    Newcombe's (2006, Statistics in Medicine 25:559), method 5, which needs the AUC and the numbers of images only.

    Args:
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1].
        level: Coverage of the interval, in (0, 1).

    Raises:
        ScoreError: See ``metrics.check_scores``. One class only is no error; the value is then None with the reason.

    Example:
        >>> auc_interval(np.array([False, False, True, True]), np.array([0.1, 0.5, 0.5, 0.9])).value
        0.875
    """
    points.check_scores(is_fake, p_fake)
    if is_fake.all() or not is_fake.any():
        return Interval(None, reason=ONE_CLASS)
    real, fake = points.real_and_fake(points.cells_of(is_fake, p_fake), None)
    auc, variance = points.auc_of_counts(real, fake), delong_variance(real, fake)
    if 0 < auc < 1 and variance > 0 and min(real.sum(), fake.sum()) > 1:
        odds = math.log(auc / (1 - auc))
        half = _z(level) * math.sqrt(variance) / (auc * (1 - auc))
        return Interval(auc, 1 / (1 + math.exp(half - odds)), 1 / (1 + math.exp(-half - odds)))
    return Interval(auc, *_newcombe(auc, int(real.sum()), int(fake.sum()), level))


def delong_variance(real: np.ndarray, fake: np.ndarray) -> float:
    """Return the variance of ROC AUC (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837), a tie counting half.

    Args:
        real: Number of real images of each rank, from the highest score down.
        fake: Number of fake ones, likewise.

    Returns:
        At least 0; the part of a class with one image only is taken as 0.

    Example:
        >>> delong_variance(np.array([0, 1, 1]), np.array([1, 1, 0]))  # placements .75, 1 of the reals and of the fakes
        0.03125
    """
    # Of each real image: the share of fakes above it. Of each fake one: the share of reals below it.
    n_real, n_fake = int(real.sum()), int(fake.sum())
    above = (np.cumsum(fake) - fake / 2) / n_fake
    below = (n_real - np.cumsum(real) + real / 2) / n_real
    return _mean_variance(above, real) + _mean_variance(below, fake)


def mean_of_shares(first: Interval, second: Interval) -> Interval:
    """Return the mean of two independent shares, by their own limits (MOVER: Zou and Donner 2008, Stat. Med. 27:1693).

    Args:
        first: A share with its interval, such as Wilson's.
        second: Another, of other images.

    Example:
        >>> found = mean_of_shares(Interval(0.5, 0.3, 0.7), Interval(0.9, 0.75, 1.0))
        >>> found.value, round(found.low, 6), round(found.high, 6)
        (0.7, 0.575, 0.811803)
    """
    if first.value is None or second.value is None:
        return Interval(None, reason=ONE_CLASS)
    assert first.low is not None and first.high is not None  # noqa: PT018 - Wilson's interval always has both ends
    assert second.low is not None and second.high is not None  # noqa: PT018
    value = (first.value + second.value) / 2
    down = math.hypot(first.value - first.low, second.value - second.low) / 2
    up = math.hypot(first.high - first.value, second.high - second.value) / 2
    return Interval(value, max(0.0, value - down), min(1.0, value + up))


def balanced_interval(counts: Confusion, *, level: float = 0.95) -> Interval:
    """Return balanced accuracy by ``mean_of_shares`` of both classes' Wilson intervals; None where a class is missing.

    Example:
        >>> balanced_interval(Confusion(tn=3, fp=1, fn=1, tp=1)).value
        0.625
    """
    tn, fp, fn, tp = counts
    if not (tn + fp and fn + tp):
        return Interval(None, reason=ONE_CLASS)
    return mean_of_shares(wilson(tn, tn + fp, level=level), wilson(tp, fn + tp, level=level))


def paired_change(n_gained: int, n_lost: int, n: int, *, level: float = 0.95) -> Interval:
    """Return the change of a share between two answers on the same images (Bonett and Price 2012, J. Educ. Behav. Stat. 37:479).

    Args:
        n_gained: Images that count the second time only.
        n_lost: Images that counted the first time only.
        n: All images.
        level: Coverage of the interval.

    Returns:
        A number in [-1, 1].

    Raises:
        ScoreError: The counts do not fit together.

    Example:
        >>> paired_change(2, 12, 100).value
        -0.1
    """
    if min(n_gained, n_lost) < 0 or n_gained + n_lost > n or not n:
        raise ScoreError(f"need counts of at most n images and n >= 1, got {n_gained} and {n_lost} of {n}")
    gained, lost = (n_gained + 1) / (n + 2), (n_lost + 1) / (n + 2)
    half = _z(level) * math.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
    middle = gained - lost
    return Interval((n_gained - n_lost) / n, max(-1.0, middle - half), min(1.0, middle + half))


def ece_interval(is_fake: np.ndarray, p_fake: np.ndarray, *, level: float = 0.95) -> Interval:
    """Return the calibration error with an interval by the delta method, lengthened downwards by what chance adds.

    Chance moves the gap of every bin, and the error adds their sizes up: it is too large on average. By how much, the folded
    normal distribution says (Leone, Nelson and Nottingham 1961), here of the smallest gap that two standard errors of chance
    could have brought to the one that is seen. The lower end lies lower by that much; where p_fake is right, it is mostly 0.

    Args:
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1].
        level: Wanted coverage; where p_fake is nearly right, the interval covers more often.

    Raises:
        ScoreError: See ``metrics.check_scores``.
    """
    value = points.expected_calibration_error(is_fake, p_fake)
    bins, gaps = points.bin_of(p_fake), p_fake - is_fake
    n = gaps.size
    sums, squares = (np.bincount(bins, weights=each, minlength=points.N_BINS) for each in (gaps, gaps**2))
    signed = np.sign(sums)[bins] * gaps
    half = _z(level) * math.sqrt(float(signed.var()) / n)
    counts = np.maximum(np.bincount(bins, minlength=points.N_BINS), 1)
    spread = np.sqrt(np.maximum(squares - sums**2 / counts, 0))
    pairs = zip(np.maximum(np.abs(sums) - 2 * spread, 0).tolist(), spread.tolist(), strict=True)
    excess = sum(_folded_excess(size, each) for size, each in pairs) / n
    return Interval(value, max(0.0, value - excess - half), min(1.0, value + half))


def _folded_excess(size: float, spread: float) -> float:
    """Return how much larger than ``size`` the absolute value of a normal number about it is, on average."""
    if not spread:
        return 0.0
    normal = NormalDist()
    return 2 * spread * normal.pdf(size / spread) - 2 * size * normal.cdf(-size / spread)


def _mean_variance(placements: np.ndarray, counts: np.ndarray) -> float:
    """Return the variance of the mean of placements, of which each stands for several images."""
    n = int(counts.sum())
    if n < 2:
        return 0.0
    mean = float((placements * counts).sum()) / n
    return float((counts * (placements - mean) ** 2).sum()) / (n - 1) / n


def _newcombe(auc: float, n_real: int, n_fake: int, level: float) -> tuple[float, float]:
    """Return the values of AUC that are no further from ``auc`` than their own error allows."""
    z, extra = _z(level), (n_real + n_fake) / 2 - 1

    def allows(theta: float) -> bool:
        spread = 1 + extra * (1 - theta) / (2 - theta) + extra * theta / (1 + theta)
        return (theta - auc) ** 2 <= z * z * theta * (1 - theta) * spread / (n_real * n_fake)

    return _last(allows, auc, 0.0), _last(allows, auc, 1.0)


def _last(allows: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return by bisection where a condition that holds at ``inside`` ends on the way to ``outside``."""
    for _ in range(60):
        middle = (inside + outside) / 2
        if allows(middle):
            inside = middle
        else:
            outside = middle
    return inside


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise ScoreError(f"need level in (0, 1), got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)
