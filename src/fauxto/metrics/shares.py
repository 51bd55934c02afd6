"""Interval, and the one of a single share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from fauxto.errors import ScoreError


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


def wilson(n_hits: int, n: int, *, level: float = 0.95) -> Interval:
    """Return a share with Wilson's score interval (Wilson 1927).

    Example:
        >>> wilson(0, 10)
        Interval(value=0.0, low=0.0, high=0.2775..., reason='')
    """
    if not 0 <= n_hits <= n or not n:
        raise ScoreError(f"need 0 <= n_hits <= n and n >= 1, got {n_hits} of {n}")
    z2, share = z_of(level) ** 2, n_hits / n
    middle, half = share + z2 / (2 * n), (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5
    low, high = ((middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n))
    # At 0 and n hits the end is 0 or 1 exactly; floating point misses it by a hair.
    return Interval(share, low if n_hits else 0.0, high if n_hits < n else 1.0)


def share_or(n_hits: int, n: int, *, reason: str, level: float = 0.95) -> Interval:
    """Return ``wilson``, or where there is nothing to have a share of, the reason.

    Example:
        >>> share_or(0, 0, reason="no image is fake")
        Interval(value=None, low=None, high=None, reason='no image is fake')
    """
    return wilson(n_hits, n, level=level) if n else Interval(None, reason=reason)


def mean_of_two(first: Interval, second: Interval) -> Interval:
    """Return the mean of two independent shares (Newcombe 1998, Stat Med 17:873, method 10, for a sum).

    Each share's distance to its own end is that of its Wilson interval; the distances add up as errors do.

    Example:
        >>> mean_of_two(wilson(5, 10), wilson(10, 10))
        Interval(value=0.75, low=0.558..., high=0.881..., reason='')
    """
    a, b = ends_of(first), ends_of(second)
    value = (a[0] + b[0]) / 2
    down, up = (((a[0] - a[at]) ** 2 + (b[0] - b[at]) ** 2) ** 0.5 / 2 for at in (1, 2))
    return Interval(value, value - down, value + up)


def z_of(level: float) -> float:
    """Return how many standard errors a two-sided normal interval of this level reaches to either side.

    Raises:
        ScoreError: The level lies outside (0, 1).

    Example:
        >>> round(z_of(0.95), 6)
        1.959964
    """
    if not 0 < level < 1:
        raise ScoreError(f"the level of an interval must lie in (0, 1), got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def t_of(level: float, n_free: int) -> float:
    """Return ``z_of`` for Student's distribution, by the expansion of Fisher and Cornish (1960): to 1 % from 4 degrees on.

    Example:
        >>> round(t_of(0.95, 19), 3), round(t_of(0.95, 99), 3)
        (2.093, 1.984)
    """
    z = z_of(level)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n_free + second / n_free**2 + third / n_free**3


def on_log_odds(value: float, half: float) -> Interval:
    """Return the interval that reaches ``half`` to either side on the log-odds scale, so that it stays within 0 and 1.

    Example:
        >>> on_log_odds(0.75, 0.1875)  # ln 3 -+ 1
        Interval(value=0.75, low=0.524..., high=0.890..., reason='')
    """
    middle, half = math.log(value / (1 - value)), half / (value * (1 - value))
    return Interval(value, _sigmoid(middle - half), _sigmoid(middle + half))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def ends_of(interval: Interval) -> tuple[float, float, float]:
    """Return value, low and high of an interval that has all three, as Wilson's does."""
    assert interval.value is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.value, interval.low, interval.high
