"""What a verdict is worth where fakes are rare: from the two error rates at a threshold to any share of fakes, with intervals."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fauxto.errors import ScoreError
from fauxto.metrics.points import Confusion
from fauxto.metrics.shares import Interval, ends_of, wilson

SHARES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5)
N_IMAGES = 10_000


@dataclass(frozen=True)
class AtShare:
    """What a threshold means where a given share of the images is fake.

    Attributes:
        share: Of the images, in [0, 1], that is fake.
        ppv: Of the images called fake, the share that is fake (positive predictive value).
        npv: Of the images not called fake, the share that is real (negative predictive value).
        false_alarms: Photographs called fake among 10,000 images, on average: false accusations.
        missed: Fakes not called fake among 10,000 images, on average.
    """

    share: float
    ppv: Interval
    npv: Interval
    false_alarms: Interval
    missed: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def at_share(counts: Confusion, share: float, *, level: float = 0.95) -> AtShare:
    """Return what a threshold that gave these counts means where ``share`` of the images is fake.

    Only the two error rates are taken from the counts, never their own share of fakes. PPV = s t / (s t + (1 - s) f) rises with
    t / f, and NPV falls with (1 - t) / (1 - f), t being the share of fakes found and f that of false alarms. The intervals of
    these ratios of two independent shares are found from the Wilson intervals of the shares (method of variance estimates
    recovery: Donner and Zou 2012, Stat Methods Med Res 21:347; Newcombe 2016, Stat Methods Med Res 25:1774) and carried over by
    the formula. The expected counts are one share times a constant, so that they have Wilson's interval.

    Args:
        counts: At the threshold, on images like the user's except for the share of fakes.
        share: Of the user's images that is fake, in [0, 1].
        level: Coverage of the intervals.

    Returns:
        PPV is undefined where nothing would be called fake, NPV where everything would; then there is a reason.

    Raises:
        ScoreError: The share is impossible, or one class is missing from the counts.

    Example:
        >>> found = at_share(Confusion(tn=990, fp=10, fn=100, tp=900), 0.01)
        >>> round(found.ppv.value, 4), round(found.false_alarms.value, 1), round(found.missed.value, 1)  # .009 / (.009 + .0099)
        (0.4762, 99.0, 10.0)
    """
    if not 0 <= share <= 1:
        raise ScoreError(f"the share of fakes must lie in [0, 1], got {share}: 0.01 is one in a hundred")
    n_real, n_fake = counts.tn + counts.fp, counts.fn + counts.tp
    if not n_real or not n_fake:
        raise ScoreError(f"need real and fake images for both error rates, got {n_real} real and {n_fake} fake")
    found, alarms = (wilson(k, n, level=level) for k, n in ((counts.tp, n_fake), (counts.fp, n_real)))
    missed, spared = (wilson(k, n, level=level) for k, n in ((counts.fn, n_fake), (counts.tn, n_real)))
    return AtShare(
        share=share,
        ppv=_predictive(share, found, alarms, "nothing would be called fake"),
        npv=_predictive(1 - share, spared, missed, "everything would be called fake"),
        false_alarms=_times(alarms, N_IMAGES * (1 - share)),
        missed=_times(missed, N_IMAGES * share),
    )


def ratio_interval(top: Interval, bottom: Interval) -> tuple[float, float]:
    """Return the interval of the ratio of two independent shares from those of the shares (Donner and Zou 2012).

    Example:
        >>> low, high = ratio_interval(wilson(90, 100), wilson(10, 100))
        >>> round(low, 2), round(high, 2)  # the ratio is 9
        (5.12, 16.32)
    """
    (t, t_low, t_high), (f, f_low, f_high) = ends_of(top), ends_of(bottom)
    return _end(t * f, t_low, t, f_high, f, -1), _end(t * f, t_high, t, f_low, f, +1)


def _end(product: float, t_end: float, t: float, f_end: float, f: float, sign: int) -> float:
    """Solve for the end at which the ratio's square deviation is what those of the shares allow."""
    bottom = f_end * (2 * f - f_end)
    inside = max(0.0, product**2 - t_end * (2 * t - t_end) * bottom)
    if bottom == 0:
        return math.inf if sign > 0 else 0.0
    return max(0.0, (product + sign * math.sqrt(inside)) / bottom)


def _predictive(share: float, right: Interval, wrong: Interval, reason: str) -> Interval:
    """Return share * right / (share * right + (1 - share) * wrong), which rises with right / wrong."""
    top, bottom = share * (right.value or 0.0), (1 - share) * (wrong.value or 0.0)
    if top + bottom == 0:
        return Interval(None, reason=reason)
    if share in (0.0, 1.0):
        return Interval(share, share, share)
    low, high = (_of_ratio(share, ratio) for ratio in ratio_interval(right, wrong))
    return Interval(top / (top + bottom), low, high)


def _of_ratio(share: float, ratio: float) -> float:
    return 1.0 if math.isinf(ratio) else share * ratio / (share * ratio + 1 - share)


def _times(rate: Interval, factor: float) -> Interval:
    value, low, high = ends_of(rate)
    return Interval(value * factor, low * factor, high * factor)
