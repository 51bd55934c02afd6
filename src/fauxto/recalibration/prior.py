"""How many of some images are fake, judged by a detector's answers alone, and what another share of fakes makes of an answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fauxto.calibration import log_odds
from fauxto.errors import ScoreError
from fauxto.metrics import Interval
from fauxto.metrics.shares import z_of

_STEPS = 60


def estimated_share(p_fake: np.ndarray, *, prior: float = 0.5) -> float:
    """Return the share of fakes with the highest likelihood, if nothing but this share differs from the calibration images.

    It is the fixed point of the expectation-maximisation of Saerens, Latinne and Decaestecker (2002, Neural Computation 14:21),
    found by halving, since the likelihood has one maximum.

    Args:
        p_fake: Float, shape (n,), in [0, 1], calibrated where ``prior`` of the images are fake.
        prior: Share of fakes that ``p_fake`` stands for, in (0, 1).

    Returns:
        Share in [0, 1].

    Raises:
        ScoreError: No image, an impossible score or an impossible prior.

    Example:
        >>> round(estimated_share(np.array([0.99, 0.01, 0.01, 0.01])), 3)
        0.245
    """
    fake, real = _likelihoods(p_fake, prior)
    return _halved(lambda share: float(np.sum((fake - real) / (share * fake + (1 - share) * real))) > 0, 0.0, 1.0)


def share_interval(p_fake: np.ndarray, *, prior: float = 0.5, level: float = 0.95) -> Interval:
    """Return ``estimated_share`` with its likelihood-ratio interval (Wilks 1938).

    It speaks of which images happened to be there. That only the share changed, and that p_fake was calibrated, is assumed.

    Raises:
        ScoreError: See ``estimated_share``; or the level lies outside (0, 1).

    Example:
        >>> share_interval(np.array([1.0, 0.0, 0.0, 0.0]))
        Interval(value=0.25, low=0.0162..., high=0.7224..., reason='')
    """
    value, (fake, real) = estimated_share(p_fake, prior=prior), _likelihoods(p_fake, prior)
    reach = z_of(level) ** 2 / 2

    def is_far(share: float) -> bool:
        return float(np.sum(np.log((value * fake + (1 - value) * real) / (share * fake + (1 - share) * real)))) > reach

    with np.errstate(divide="ignore"):  # a share of 0 or 1 may be impossible
        low = 0.0 if not is_far(0.0) else _halved(is_far, 0.0, value)
        high = 1.0 if not is_far(1.0) else _halved(lambda share: not is_far(share), value, 1.0)
    return Interval(value, low, high)


def prior_shift(old: float, new: float) -> float:
    """Return what is added to log-odds when the share of fakes is another one.

    Example:
        >>> round(prior_shift(0.5, 0.75), 6)  # ln 3
        1.098612
    """
    check_prior(old)
    check_prior(new)
    return float(log_odds(new) - log_odds(old))


def check_prior(share: float) -> None:
    """Refuse a share of fakes that leaves nothing to judge.

    Raises:
        ScoreError: It does not lie in (0, 1).
    """
    if not 0 < share < 1:
        raise ScoreError(f"the share of fakes must lie between 0 and 1, both excluded, got {share}: 0.01 is one in a hundred")


def _likelihoods(p_fake: np.ndarray, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """Return how likely each answer is on a fake and on a photograph, as parts of both together."""
    check_prior(prior)
    if p_fake.ndim != 1 or not p_fake.size or not ((p_fake >= 0) & (p_fake <= 1)).all():
        raise ScoreError("expected p_fake in [0, 1] of at least one image in a flat array: give calibrated probabilities")
    return p_fake / prior, (1 - p_fake) / (1 - prior)


def _halved(is_below: Callable[[float], bool], low: float, high: float) -> float:
    """Return the place up to which a condition holds."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2
