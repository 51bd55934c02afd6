"""From logits to probabilities that mean what they say: one temperature, fitted on validation answers only."""

from __future__ import annotations

import numpy as np

from fauxto.errors import ScoreError

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def to_p_fake(logits: np.ndarray, *, temperature: float) -> np.ndarray:
    """Return probabilities for logits.

    Args:
        logits: Float, any shape.
        temperature: Above 0; 1 changes nothing.

    Returns:
        float64 in [0, 1], same shape.

    Raises:
        ScoreError: The temperature is not above 0, or a logit is NaN.

    Example:
        >>> to_p_fake(np.array([0.0, 800.0, -800.0]), temperature=1.0).tolist()
        [0.5, 1.0, 0.0]
    """
    if not temperature > 0:
        raise ScoreError(f"the temperature must be above 0, got {temperature}: calibrate again")
    scaled = np.asarray(logits, np.float64) / temperature
    if np.isnan(scaled).any():
        raise ScoreError("a logit is not a number: the detector is damaged or was trained badly, train again")
    small = np.exp(-np.abs(scaled))
    return np.where(scaled >= 0, 1 / (1 + small), small / (1 + small))


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
