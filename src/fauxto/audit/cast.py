"""Whether one class has a colour cast: grey things should be grey in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fauxto.audit.features import middle
from fauxto.data.splits import Positions
from fauxto.data.store import Store

MAX_IMAGES = 5000
MIN_SHIFT = 3  # grey levels; CIFAKE's classes, which have no cast, differ by one
_N_RESAMPLES = 100
_SURE = 0.99
_SPREAD, _REACH = 2.0, 6  # grey levels
_LEVELS = 511


@dataclass(frozen=True)
class Cast:
    """How far the most frequent tint of fake images lies from that of real ones, in grey levels.

    Attributes:
        red: Of red against green.
        blue: Of blue against green.
        is_sure: Whether one of them reaches ``MIN_SHIFT``, and to one side in 99 of 100 resamples of the images.
    """

    red: int
    blue: int
    is_sure: bool


def find_cast(store: Store, positions: Positions, *, seed: int = 0) -> Cast:
    """Compare the classes' most frequent tints.

    Photographs show more grey and near-grey than any one colour, so that the differences red - green and blue - green have
    their peak at 0 whatever the pictures show; a cast moves the peak. (A mean would move with the contents.)

    Args:
        store: The images.
        positions: Both classes.
        seed: Of the draw and the resamples.
    """
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(positions[store.is_fake[positions] == label])[:MAX_IMAGES] for label in (False, True)]
    tints = [np.stack([_tints(store.image(at)) for at in part.tolist()]) for part in chosen]
    red, blue = (_shift([each[:, pair].mean(axis=0) for each in tints]) for pair in (0, 1))
    return Cast(red, blue, any(abs(each) >= MIN_SHIFT and _is_sure(tints, pair, rng) for pair, each in enumerate((red, blue))))


def _tints(image: np.ndarray) -> np.ndarray:
    """Return how frequent each difference to green is: float32, shape (2, 511), for red and for blue."""
    part = middle(image).astype(np.int16)
    counts = [np.bincount((part[..., at] - part[..., 1]).ravel() + 255, minlength=_LEVELS) for at in (0, 2)]
    return np.stack(counts).astype(np.float32) / (part.size / 3)


def _is_sure(tints: list[np.ndarray], pair: int, rng: np.random.Generator) -> bool:
    """Return whether the peak moves to the same side again and again; without a grey peak it jumps from side to side."""
    shifts = np.empty(_N_RESAMPLES)
    for number in range(_N_RESAMPLES):
        weights = [rng.multinomial(len(each), np.full(len(each), 1 / len(each))).astype(np.float32) for each in tints]
        shifts[number] = _shift([weight @ each[:, pair] for weight, each in zip(weights, tints, strict=True)])
    return bool(max((shifts >= MIN_SHIFT).mean(), (shifts <= -MIN_SHIFT).mean()) >= _SURE)


def _shift(histograms: list[np.ndarray]) -> int:
    """Return by how many levels the second histogram's peak lies above the first's, both smoothed."""
    levels = np.arange(-_REACH, _REACH + 1)
    kernel = np.exp(-(levels**2) / (2 * _SPREAD**2))
    real, fake = (int(np.convolve(each, kernel, "same").argmax()) for each in histograms)
    return fake - real
