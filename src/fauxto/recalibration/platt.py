"""A bias, or a temperature and a bias, for a few labelled images; held towards the calibration that is there already."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fauxto.errors import ScoreError

# Below this number of images in either class only a bias is fitted: a slope from fewer is mostly chance (docs/calibrate.md).
NEEDED_FOR_SLOPE = 25
# How far from the card's own calibration is plausible before an image is seen: standard deviations of a normal prior.
SLOPE_SD, BIAS_SD = 0.5, 1.0
MIN_SLOPE, MAX_SLOPE = 0.05, 20.0


class Platt(NamedTuple):
    """How log-odds are mended: slope * log-odds + bias.

    Attributes:
        slope: 1 changes nothing.
        bias: 0 changes nothing.
    """

    slope: float
    bias: float


def fit_platt(is_fake: np.ndarray, log_odds: np.ndarray, *, with_slope: bool | None = None) -> Platt:
    """Return slope and bias with the highest posterior probability (Platt 1999, with a normal prior around "no change").

    The labels' own share of fakes is taken out (Prentice and Pyke 1979, Biometrika 66:403): the mended log-odds stand for as many
    fakes as photographs, however many of each were given. The slope is fitted from 25 images of either class on; below, it
    stays 1. The prior, N(1, 0.5) for the slope and N(0, 1) for the bias, weighs as much as a handful of images: with hundreds it
    is nothing, with two it decides.

    Args:
        is_fake: Bool, shape (n,), with both classes.
        log_odds: Float, shape (n,), of the calibrated answers, for as many fakes as photographs.
        with_slope: Whether to fit a slope; by default, by the rule above.

    Raises:
        ScoreError: Shapes differ, a number is not finite, or one of the classes is missing.

    Example:
        >>> fit_platt(np.array([False, True]), np.array([-1.0, 1.0]))
        Platt(slope=1.0, bias=0.0)
    """
    if log_odds.ndim != 1 or log_odds.shape != is_fake.shape or not np.isfinite(log_odds).all():
        raise ScoreError(f"need one finite number per label, got the shapes {log_odds.shape} and {is_fake.shape}")
    n_fake, n_real = int(is_fake.sum()), int((~is_fake).sum())
    if not n_fake or not n_real:
        raise ScoreError(
            f"need labelled images of both kinds, got {n_fake} fake and {n_real} real: add some, or use --unlabelled"
        )
    if with_slope is None:
        with_slope = min(n_fake, n_real) >= NEEDED_FOR_SLOPE
    design = np.stack([log_odds, np.ones(log_odds.size)], axis=1) if with_slope else np.ones((log_odds.size, 1))
    fixed = math.log(n_fake / n_real) + (0.0 if with_slope else log_odds)
    prior = (np.array([1.0, 0.0]), np.array([SLOPE_SD, BIAS_SD])) if with_slope else (np.zeros(1), np.array([BIAS_SD]))
    found = _newton(design, fixed, is_fake, *prior)
    slope, bias = found.tolist() if with_slope else (1.0, *found.tolist())
    return Platt(min(max(slope, MIN_SLOPE), MAX_SLOPE), bias)


def _newton(design: np.ndarray, fixed: np.ndarray | float, is_fake: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Maximise a concave log posterior; a step that does not help is halved."""
    found: np.ndarray = mean.copy()
    value = _loss(design @ found + fixed, is_fake, (found - mean) / sd)
    for _ in range(50):
        p = np.exp(-np.logaddexp(0, -(design @ found + fixed)))
        slope = design.T @ (p - is_fake) + (found - mean) / sd**2
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + np.diag(1 / sd**2), slope)
        size = 1.0
        while (tried := _loss(design @ (found - size * step) + fixed, is_fake, (found - size * step - mean) / sd)) > value:
            size /= 2
            if size < 1e-9:
                return found
        found, value = found - size * step, tried
        if np.abs(size * step).max() < 1e-12:
            break
    return found


def _loss(log_odds: np.ndarray, is_fake: np.ndarray, deviation: np.ndarray) -> float:
    return float(np.logaddexp(0, np.where(is_fake, -log_odds, log_odds)).sum() + (deviation**2).sum() / 2)
