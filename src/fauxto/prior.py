"""How many of some images are fake, judged by a detector's answers alone, and what another share of fakes makes of an answer."""

from __future__ import annotations

import numpy as np

from fauxto.calibration import log_odds
from fauxto.errors import ScoreError
from fauxto.metrics import Interval

_STEPS = 60


def estimated_share(p_fake: np.ndarray, *, prior: float = 0.5, weight: np.ndarray | None = None) -> float:
    """Return the share of fakes with the highest likelihood, if nothing but this share differs from the calibration images.

    It is the fixed point of the expectation-maximisation of Saerens, Latinne and Decaestecker (2002, Neural Computation 14:21),
    found by halving, since the likelihood has one maximum.

    Args:
        p_fake: Float, shape (n,), in [0, 1], calibrated where ``prior`` of the images are fake.
        prior: Share of fakes that ``p_fake`` stands for, in (0, 1).
        weight: How often each image counts; once by default.

    Returns:
        Share in [0, 1].

    Raises:
        ScoreError: No image, an impossible score or an impossible prior.

    Example:
        >>> round(estimated_share(np.array([0.99, 0.01, 0.01, 0.01])), 3)
        0.245
    """
    check_prior(prior)
    if p_fake.ndim != 1 or not p_fake.size or not ((p_fake >= 0) & (p_fake <= 1)).all():
        raise ScoreError("expected p_fake in [0, 1] of at least one image in a flat array: give calibrated probabilities")
    counts = np.ones(p_fake.size) if weight is None else weight
    # How much likelier each answer is on a fake than on a photograph, as a part of both together.
    fake, real = p_fake / prior, (1 - p_fake) / (1 - prior)
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        share = (low + high) / 2
        slope = np.sum(counts * (fake - real) / (share * fake + (1 - share) * real))
        low, high = (share, high) if slope > 0 else (low, share)
    return (low + high) / 2


def share_interval(
    p_fake: np.ndarray, *, prior: float = 0.5, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return ``estimated_share`` with a percentile bootstrap interval over images.

    It speaks of which images happened to be there. That only the share changed is assumed, not tested.
    """
    value, rng = estimated_share(p_fake, prior=prior), np.random.default_rng(seed)
    shares = []
    for _ in range(n_resamples):
        weight = np.bincount(rng.integers(p_fake.size, size=p_fake.size), minlength=p_fake.size)
        shares.append(estimated_share(p_fake, prior=prior, weight=weight))
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(value, min(low, value), max(high, value))


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
