"""Intervals of what a ranking is worth: ROC AUC, and recall at a given share of false alarms; also for two on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fauxto.errors import ScoreError
from fauxto.metrics.points import ONE_CLASS, check_scores, roc_auc, tpr_at_fpr
from fauxto.metrics.shares import Interval, on_log_odds, t_of, z_of

NEEDED_PER_CLASS = (
    50  # fewer, and intervals from DeLong's variance miss the truth too often (benchmarks/coverage_of_intervals.py)
)
TOO_FEW = f"too few images for an interval: it needs {NEEDED_PER_CLASS} of each kind"


class Placements(NamedTuple):
    """Where each image stands among those of the other class.

    Attributes:
        fake: Float, shape (n_fake,): share of photographs below each fake, a tie counting half.
        real: Float, shape (n_real,): share of fakes above each photograph, a tie counting half.
    """

    fake: np.ndarray
    real: np.ndarray


def placements(is_fake: np.ndarray, p_fake: np.ndarray) -> Placements:
    """Return every image's placement; the mean of either class's is ROC AUC (DeLong et al. 1988, Biometrics 44:837).

    Raises:
        ScoreError: See ``check_scores``; or one class is missing.

    Example:
        >>> found = placements(np.array([False, False, True]), np.array([0.1, 0.5, 0.5]))
        >>> found.fake.tolist(), found.real.tolist()
        ([0.75], [1.0, 0.5])
    """
    check_scores(is_fake, p_fake)
    if is_fake.all() or not is_fake.any():
        raise ScoreError(f"a ranking cannot be measured: {ONE_CLASS}")
    real, fake = p_fake[~is_fake], p_fake[is_fake]
    return Placements(_share_below(real, fake), 1 - _share_below(fake, real))


def auc_interval(is_fake: np.ndarray, p_fake: np.ndarray, *, level: float = 0.95) -> Interval:
    """Return ROC AUC with DeLong's interval, made on the log-odds scale so that it stays within 0 and 1 (Pepe 2003, p. 107).

    With fewer than 50 images of a class it covers too seldom and is not given. Where every pair is in order DeLong's variance is
    0, and the interval is Newcombe's score interval (2006, Stat Med 25:559, method 5), which is rather too wide.

    Raises:
        ScoreError: See ``placements``.

    Example:
        >>> p_fake = np.concatenate([np.linspace(0, 0.7, 50), np.linspace(0.3, 1, 50)])
        >>> found = auc_interval(np.repeat([False, True], 50), p_fake)
        >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
        (0.832, 0.74, 0.896)
    """
    value, found = roc_auc(is_fake, p_fake), placements(is_fake, p_fake)
    n_fewer = min(len(found.fake), len(found.real))
    if n_fewer < NEEDED_PER_CLASS:
        return Interval(value, reason=TOO_FEW)
    if value in (0.0, 1.0):
        return _newcombe(value, len(found.fake), len(found.real), z_of(level))
    return on_log_odds(value, t_of(level, n_fewer - 1) * math.sqrt(auc_covariance([found])[0, 0]))


def auc_covariance(found: Sequence[Placements]) -> np.ndarray:
    """Return DeLong's covariance of the AUCs of several detectors on the same images: float, shape (k, k).

    It is NaN where a class has one image only.

    Example:
        >>> one = placements(np.array([False, False, True, True]), np.array([0.1, 0.5, 0.4, 0.9]))
        >>> auc_covariance([one]).tolist()
        [[0.125]]
    """
    total: np.ndarray = np.zeros((len(found), len(found)))
    for rows in (np.array([one.fake for one in found]), np.array([one.real for one in found])):
        n = rows.shape[1]
        centred = rows - rows.mean(axis=1, keepdims=True)
        total = total + (centred @ centred.T / (n - 1) / n if n > 1 else np.nan)
    return total


def tpr_interval(
    is_fake: np.ndarray, p_fake: np.ndarray, *, fpr: float, n_draws: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return ``tpr_at_fpr`` with an interval, where there are enough photographs for one.

    Raises:
        ScoreError: See ``tpr_at_fpr``.
    """
    value = tpr_at_fpr(is_fake, p_fake, fpr=fpr)
    needed = needed_real(fpr, level=level)
    if int((~is_fake).sum()) < needed:
        return Interval(value, reason=f"too few photographs for an interval at {100 * fpr:g} % false alarms: it needs {needed:,}")
    draws = tpr_draws(is_fake, [p_fake], fpr=fpr, n_draws=n_draws, seed=seed)[0]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(value, min(low, value), max(high, value))


def needed_real(fpr: float, *, level: float = 0.95) -> int:
    """Return from how many photographs on the threshold of a share of false alarms has a highest possible place.

    Below it, all of them lie under that threshold with a chance of more than (1 - level) / 2, and nothing limits it from above.

    Example:
        >>> needed_real(0.01), needed_real(0.05)
        (368, 72)
    """
    z_of(level)
    return math.ceil(math.log((1 - level) / 2) / math.log1p(-fpr)) if 0 < fpr < 1 else 1


def tpr_draws(
    is_fake: np.ndarray, p_fakes: Sequence[np.ndarray], *, fpr: float, n_draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return what recall at a share of false alarms could be, for several detectors at once: float, shape (k, n_draws).

    The share of all photographs above the k-th highest of n is Beta(k, n + 1 - k) distributed, whatever the scores. A draw
    spreads such shares over the photographs (Rubin's Bayesian bootstrap 1981, with one more gap), finds where the wanted share is
    reached, and weighs the fakes above that place in the same way, Jeffreys' half an image being found and half missed. The
    weights of a draw belong to the images, so that they are the same for all detectors and differences are paired.

    Args:
        is_fake: Bool, shape (n,), with both classes.
        p_fakes: Float, shape (n,) each.
        fpr: Share of false alarms, in (0, 1).
        n_draws: How many.
        seed: Same seed, same draws.
    """
    rng = np.random.default_rng(seed)
    curves = [_Curve(is_fake, p_fake, fpr) for p_fake in p_fakes]
    found = np.empty((len(curves), n_draws))
    n_real, n_fake = int((~is_fake).sum()), int(is_fake.sum())
    for at in range(n_draws):
        real, fake = rng.standard_exponential(n_real), rng.standard_exponential(n_fake)
        halves = rng.standard_gamma(0.5, 2)
        whole = real.sum() + rng.standard_exponential()
        found[:, at] = [curve.tpr(real / whole, fake, halves) for curve in curves]
    return found


class _Curve:
    """The upper end of one detector's ROC curve, ready to be weighed again and again."""

    def __init__(self, is_fake: np.ndarray, p_fake: np.ndarray, fpr: float) -> None:
        real, fake = p_fake[~is_fake], p_fake[is_fake]
        self._fpr = fpr
        reach = math.ceil(fpr * real.size + 8 * math.sqrt(fpr * real.size) + 12)
        self._top = np.argsort(-real, kind="stable")[:reach]
        self._fakes = np.argsort(-fake, kind="stable")
        # How many fakes lie above each of the highest photographs; none above the place before the first one.
        above = fake.size - np.searchsorted(np.sort(fake), real[self._top], side="right")
        self._n_above = np.concatenate([[0], above])

    def tpr(self, real: np.ndarray, fake: np.ndarray, halves: np.ndarray) -> float:
        """Return recall where the photographs have these shares and the fakes these weights."""
        reached = np.concatenate([[0.0], np.cumsum(real[self._top])])
        before = int(np.searchsorted(reached, self._fpr, side="right")) - 1
        after = min(before + 1, len(reached) - 1)
        step = reached[after] - reached[before]
        part = (self._fpr - reached[before]) / step if step > 0 else 0.0
        weight = np.concatenate([[0.0], np.cumsum(fake[self._fakes])])
        low, high = weight[self._n_above[[before, after]]]
        return float((halves[0] + low + part * (high - low)) / (weight[-1] + halves.sum()))


def _share_below(others: np.ndarray, own: np.ndarray) -> np.ndarray:
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, own, side=side) for side in ("left", "right"))
    share: np.ndarray = (below + up_to) / (2 * ordered.size)
    return share


def _newcombe(value: float, n_fake: int, n_real: int, z: float) -> Interval:
    """Find both AUCs that lie z standard errors, of their own, from the value."""

    def is_far(auc: float) -> bool:
        spread = (n_fake + n_real) / 2 - 1
        variance = auc * (1 - auc) * (1 + spread * ((1 - auc) / (2 - auc) + auc / (1 + auc))) / (n_fake * n_real)
        return (value - auc) ** 2 > z * z * variance

    ends = []
    for outer in (0.0, 1.0):
        inner = value
        for _ in range(60):
            middle = (outer + inner) / 2
            outer, inner = (middle, inner) if is_far(middle) else (outer, middle)
        ends.append(inner)
    return Interval(value, ends[0], ends[1])
