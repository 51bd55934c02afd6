"""Intervals in closed form for what a changed image changes: a share on the same images, and the calibration error."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from fauxto.errors import ScoreError
from fauxto.metrics import points
from fauxto.metrics.shares import Interval, z_of


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
    half = z_of(level) * math.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
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
    half = z_of(level) * math.sqrt(float(signed.var()) / n)
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
