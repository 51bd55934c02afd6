"""Reconstructions with the spectrum of their originals: what is sharp stays no sign of anything (Chen et al. 2025, DDA)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fauxto.forge.workshop import Forged

PER_GO = 64


def aligned(forged: Forged, reals: np.ndarray) -> Forged:
    """Give every reconstruction the power of its original at each radius of the spectrum; leave all other images alone.

    Args:
        forged: Images, and the position of the original behind each.
        reals: uint8, shape (n, size, size, 3).
    """
    images = forged.images.copy()
    at = np.flatnonzero(forged.source >= 0)
    for some in np.array_split(at, max(1, at.size // PER_GO)):
        images[some] = with_spectrum_of(forged.images[some], reals[forged.source[some]])
    return Forged(images, forged.source)


def with_spectrum_of(images: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """Return images whose power at each radius is that of their originals, channel by channel; their mean stays.

    Args:
        images: uint8, shape (n, size, size, 3).
        originals: The same.

    Returns:
        uint8, shape (n, size, size, 3). Cutting off at black and white, and rounding, change the power a little.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sharp = rng.integers(100, 156, (1, 16, 16, 3), dtype=np.uint8)
        >>> pale = (128 + (sharp.astype(int) - 128) // 4).astype(np.uint8)
        >>> round(float(with_spectrum_of(pale, sharp).std() / sharp.std()), 1)
        1.0
    """
    radius = _radii(images.shape[1])
    waves = np.fft.rfft2(images.astype(np.float32), axes=(1, 2))
    have, want = (_power(some, radius) for some in (waves, np.fft.rfft2(originals.astype(np.float32), axes=(1, 2))))
    gain = np.sqrt(want / np.maximum(have, 1e-6))
    gain[:, 0] = 1
    shown = np.fft.irfft2(waves * gain[:, radius], s=images.shape[1:3], axes=(1, 2))
    result: np.ndarray = np.rint(shown).clip(0, 255).astype(np.uint8)
    return result


def _radii(size: int) -> np.ndarray:
    """Return the distance of each frequency from 0 in whole steps, int64, shape (size, size // 2 + 1)."""
    down, across = np.fft.fftfreq(size) * size, np.fft.rfftfreq(size) * size
    radius: np.ndarray = np.minimum(np.hypot(down[:, None], across), size // 2).astype(np.int64)
    return radius


def _power(waves: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return the sum of squares at each radius: shape (n, n_radii, 3)."""
    return np.stack(list(_rings(np.abs(waves) ** 2, radius)), axis=1)


def _rings(power: np.ndarray, radius: np.ndarray) -> Iterator[np.ndarray]:
    for ring in range(int(radius.max()) + 1):
        yield power[:, radius == ring].sum(axis=1)
