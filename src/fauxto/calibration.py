"""From logits to probabilities that mean what they say, and to verdicts; fitted on validation answers only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from fauxto.errors import ScoreError
from fauxto.metrics import Interval, check_scores, confusion, wilson
from fauxto.vocabulary import OVER_ONE

MAX_BIAS = 50.0  # in log-odds; with more, every answer would be the same
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
# Operating points that are looked for: name -> highest false-alarm rate on validation, in percent.
POINTS = {"fpr1": 1, "fpr5": 5}


def log_odds(p: np.ndarray | float) -> np.ndarray:
    """Return ln(p / (1 - p)), of 0 and 1 that of the nearest probability that has one.

    Example:
        >>> round(float(log_odds(0.75)), 6)  # ln 3
        1.098612
    """
    inside = np.clip(p, 1e-300, 1 - 2**-53)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def to_p_fake(logits: np.ndarray, *, temperature: float, bias: float = 0.0) -> np.ndarray:
    """Return probabilities for logits: sigmoid(logit / temperature + bias).

    Args:
        logits: Float, any shape.
        temperature: Above 0; 1 changes nothing.
        bias: In log-odds; 0 changes nothing (``fauxto calibrate`` fits one).

    Returns:
        float64 in [0, 1], same shape.

    Raises:
        ScoreError: The temperature is not above 0, the bias is not finite, or a logit is NaN.

    Example:
        >>> to_p_fake(np.array([0.0, 800.0, -800.0]), temperature=1.0).tolist()
        [0.5, 1.0, 0.0]
    """
    if not temperature > 0:
        raise ScoreError(f"the temperature must be above 0, got {temperature}: calibrate again")
    if not math.isfinite(bias):
        raise ScoreError(f"the bias must be a finite number, got {bias}: calibrate again")
    scaled = np.asarray(logits, np.float64) / temperature + bias
    if np.isnan(scaled).any():
        raise ScoreError("a logit is not a number: the detector is damaged or was trained badly, train again")
    small = np.exp(-np.abs(scaled))
    return np.where(scaled >= 0, 1 / (1 + small), small / (1 + small))


def is_possible(calibration: Mapping[str, Any]) -> bool:
    """Return whether a card's calibration can be: temperature, and bias and share of fakes where it has them.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: A value is missing or no number.

    Example:
        >>> is_possible({"temperature": 0.5}), is_possible({"temperature": 0.5, "bias": 1e9})
        (True, False)
    """
    temperature, bias = float(calibration["temperature"]), float(calibration.get("bias", 0.0))
    share = float(calibration.get("prevalence", 0.5))
    return 0 < temperature < math.inf and abs(bias) <= MAX_BIAS and 0 < share < 1


def fit_temperature(is_fake: np.ndarray, logits: np.ndarray) -> float:
    """Return the temperature with the lowest log loss on validation answers (Guo et al. 2017, arXiv 1706.04599).

    The log loss is convex in 1 / temperature, so that a golden-section search over it finds the one minimum.

    Args:
        is_fake: Bool, shape (n,).
        logits: Float, shape (n,), of the validation part.

    Returns:
        Temperature in [0.05, 20].

    Raises:
        ScoreError: Shapes differ, a logit is not finite, or one of the classes is missing.

    Example:
        >>> is_fake = np.array([True, True, True, False])
        >>> round(fit_temperature(is_fake, np.full(4, 2.0)), 3)  # 3 of 4 are fake: p = 3/4, logit = ln 3 = 2 / temperature
        1.82
    """
    is_fake, logits = np.asarray(is_fake), np.asarray(logits, np.float64)
    if logits.ndim != 1 or logits.shape != is_fake.shape:
        raise ScoreError(f"need one logit per label, got the shapes {logits.shape} and {is_fake.shape}")
    if not np.isfinite(logits).all():
        raise ScoreError("a validation logit is not a finite number: train again")
    if not is_fake.any() or is_fake.all():
        raise ScoreError(f"need fake and real validation images, got {int(is_fake.sum())} fake of {is_fake.size}")
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if log_loss(is_fake, left * logits) < log_loss(is_fake, right * logits):
            high = right
        else:
            low = left
    return float(2 / (low + high))


def log_loss(is_fake: np.ndarray, logits: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the labels, in nats; lower is better.

    Args:
        is_fake: Bool, shape (n,), n above 0.
        logits: Float, shape (n,).

    Example:
        >>> round(log_loss(np.array([True, False]), np.array([0.0, 0.0])), 4)
        0.6931
    """
    signed = np.where(is_fake, logits, -logits).astype(np.float64)
    return float(np.mean(np.logaddexp(0, -signed)))


def unsure_band(is_fake: np.ndarray, p_fake: np.ndarray, *, alpha: float, threshold: float = 0.5) -> tuple[float, float]:
    """Return between which probabilities a detector must not decide, so that it seldom decides wrongly.

    Class-conditional split conformal prediction (Vovk 2012, arXiv 1209.2673; Angelopoulos and Bates, arXiv 2107.07511,
    section 4.2) with the quantile's correction for finite samples. The label "real" stays possible up to ``t_real``, the
    ceil((n_real + 1) (1 - alpha))-th smallest ``p_fake`` of the real images; "fake" down to ``t_fake``, likewise from above.
    An image like the validation images is real and above ``t_real``, or fake and below ``t_fake``, in at most ``alpha`` of the
    cases. The band reaches from min(t_fake, threshold) to max(t_real, threshold), a quantile included, and the threshold decides
    outside of it. So "fake" is said above ``t_real`` only, "real" below ``t_fake`` only, and the guarantee holds:

        Of images like the validation images, at most ``alpha`` of each class get a wrong verdict.

    Where both labels are possible, t_fake <= p_fake <= t_real, the answer is "unsure". A detector that errs less often than
    ``alpha`` has t_real < t_fake, and then no label is possible in between. If the threshold lies there, nothing is unsure: a
    real image gets "fake" only above the threshold, hence above ``t_real``, and likewise for a fake one. If it does not, the
    stretch from the threshold to the quantile beyond it is unsure: this side of the threshold would err too often.

    Args:
        is_fake: Bool, shape (n,), of images that the network did not learn from.
        p_fake: Float, shape (n,), in [0, 1].
        alpha: Highest share of wrong verdicts in each class, in (0, 1).
        threshold: What decides outside of the band.

    Returns:
        (low, high): unsure when ``low <= p_fake < high``; never, where they are equal. A class of fewer than
        ``needed_per_class(alpha)`` images stays possible everywhere, so that the other verdict is never given.

    Raises:
        ScoreError: See ``metrics.check_scores``; or alpha or the threshold is impossible.

    Example:
        >>> is_fake = np.array([False] * 3 + [True] * 3)
        >>> unsure_band(is_fake, np.array([0.1, 0.2, 0.75, 0.4, 0.8, 0.9]), alpha=0.5)  # t_real = .2, t_fake = .8
        (0.5, 0.5)
        >>> low, high = unsure_band(is_fake, np.array([0.1, 0.2, 0.75, 0.4, 0.8, 0.9]), alpha=0.25)  # t_real = .75, t_fake = .4
        >>> low, round(high, 9)
        (0.4, 0.75)
    """
    check_scores(is_fake, p_fake)
    if not (0 < alpha < 1 and 0 <= threshold <= 1):
        raise ScoreError(f"need alpha in (0, 1) and the threshold in [0, 1], got {alpha} and {threshold}")
    t_real = _conformal_quantile(p_fake[~is_fake], alpha)
    t_fake = -_conformal_quantile(-p_fake[is_fake], alpha)
    # A label stays possible on the quantile itself; the range is half open, so that it must end one number later.
    low, high = min(max(t_fake, 0.0), threshold), min(float(np.nextafter(t_real, np.inf)), OVER_ONE)
    return float(low), max(high, float(threshold))


def needed_per_class(alpha: float) -> int:
    """Return how many images of a class ``unsure_band`` needs to rule it out anywhere.

    Example:
        >>> needed_per_class(0.015), needed_per_class(0.05)
        (66, 19)
    """
    return math.ceil(1 / _exact(alpha)) - 1


def operating_points(is_fake: np.ndarray, p_fake: np.ndarray, *, level: float = 0.95) -> dict[str, dict[str, Any]]:
    """Return thresholds that keep the false-alarm rate on validation images down to 1 % and 5 %.

    Of the thresholds that find the most fakes at a false-alarm rate of at most the target, a tie being fake, the highest.
    The rates are those of the images that chose the threshold. With few of them they flatter it; the intervals say how far.

    Args:
        is_fake: Bool, shape (n,), of images that the network did not learn from.
        p_fake: Float, shape (n,), in [0, 1].
        level: Coverage of the intervals (Wilson 1927).

    Returns:
        Name -> threshold, target_fpr, fpr and tpr (value, low, high), as plain values for the card. A point is left out where
        there are fewer than 1 / target real images, and where so many of them have p_fake = 1 that no threshold keeps its word.

    Raises:
        ScoreError: See ``metrics.check_scores``; or no image is fake.

    Example:
        >>> is_fake = np.array([False] * 20 + [True] * 4)
        >>> p_fake = np.concatenate([np.linspace(0, 0.95, 20), [0.92, 0.94, 0.97, 0.99]])
        >>> found = operating_points(is_fake, p_fake)
        >>> list(found), found["fpr5"]["threshold"], found["fpr5"]["fpr"]["value"], found["fpr5"]["tpr"]["value"]
        (['fpr5'], 0.92, 0.05, 1.0)
    """
    check_scores(is_fake, p_fake)
    if not is_fake.any():
        raise ScoreError(f"need at least one fake image, got {is_fake.size} real ones")
    found = {}
    for name, percent in POINTS.items():
        threshold = _threshold_at(p_fake[~is_fake], p_fake[is_fake], percent)
        if threshold is None:
            continue
        counts = confusion(is_fake, p_fake, threshold=threshold)
        fpr = wilson(counts.fp, counts.fp + counts.tn, level=level)
        tpr = wilson(counts.tp, counts.tp + counts.fn, level=level)
        found[name] = {"threshold": threshold, "target_fpr": percent / 100, "fpr": _plain(fpr), "tpr": _plain(tpr)}
    return found


def _threshold_at(real: np.ndarray, fake: np.ndarray, percent: int) -> float | None:
    """Return the highest threshold with the most fakes above it and at most ``percent`` % of the real ones, if there is one."""
    if real.size * percent < 100:
        return None
    n_allowed = real.size * percent // 100
    first_spared = np.sort(real)[::-1][n_allowed]
    if first_spared >= 1:
        return None
    found = fake[fake > first_spared]
    return float(found.min()) if found.size else 1.0


def _conformal_quantile(scores: np.ndarray, alpha: float) -> float:
    """Return the ceil((n + 1) (1 - alpha))-th smallest score, infinite where there are too few."""
    rank = math.ceil((scores.size + 1) * (1 - _exact(alpha)))
    return float(np.sort(scores)[rank - 1]) if rank <= scores.size else math.inf


def _exact(alpha: float) -> Fraction:
    """Return the decimal fraction that was meant: 200 * (1 - 0.015) must be 197, not a hair more, which rounds up to 198."""
    return Fraction(str(float(alpha)))


def _plain(interval: Interval) -> dict[str, float | None]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
