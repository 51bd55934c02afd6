"""Numbers drawn from pixels that say little of what a picture shows: colour, power spectrum, DCT energies; numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from fauxto.data.splits import Positions
from fauxto.data.store import Store

CROP = 256  # of larger images the middle is taken, at native resolution: resizing would change the spectrum
GRID = 32  # positions are compared on a grid of this side
N_BANDS = 16
_BLOCK = 8
_BATCH_PIXELS = 2**22
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG
_FAINT = 0.1  # added to energies before the logarithm: below what rounding to 8 bits leaves

Feature = Callable[[np.ndarray], np.ndarray]


def colour(images: np.ndarray) -> np.ndarray:
    """Return mean, spread, minimum and maximum of each channel, and how far red and blue lie from green on average.

    Args:
        images: uint8, shape (n, h, w, 3).

    Returns:
        float32, shape (n, 14).

    Example:
        >>> colour(np.full((1, 2, 2, 3), (9, 5, 3), np.uint8))[0].tolist()
        [9.0, 5.0, 3.0, 0.0, 0.0, 0.0, 9.0, 5.0, 3.0, 9.0, 5.0, 3.0, 4.0, -2.0]
    """
    planes = np.ascontiguousarray(np.moveaxis(images.reshape(len(images), -1, 3), 2, 1))  # each channel's values lie together
    values = planes.astype(np.float32)
    mean, spread = values.mean(axis=2), values.std(axis=2)
    return np.hstack([mean, spread, planes.min(axis=2), planes.max(axis=2), mean[:, [0, 2]] - mean[:, [1]]])


def spectrum(images: np.ndarray) -> np.ndarray:
    """Return the logarithm of the luma's power, averaged over rings of equal spatial frequency (Hann window).

    Args:
        images: uint8, shape (n, h, w, 3).

    Returns:
        float32, shape (n, 16): 0 to 0.5 cycles per pixel; corners of the square beyond 0.5 count in the last ring. A ring that
        an image is too small for repeats the one below it.
    """
    luma = images.astype(np.float32) @ _LUMA
    _, height, width = luma.shape
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
    luma = (luma - luma.mean(axis=(1, 2), keepdims=True)) * window
    power = np.abs(np.fft.rfft2(luma)) ** 2 / (window**2).sum()
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    ring = np.minimum((radius * 2 * N_BANDS).astype(int), N_BANDS - 1).ravel()
    counts = np.bincount(ring, minlength=N_BANDS)
    sums = power.reshape(len(power), -1) @ (ring[:, None] == np.arange(N_BANDS))
    filled = np.maximum.accumulate(np.where(counts > 0, np.arange(N_BANDS), 0))
    found: np.ndarray = np.log(sums[:, filled] / counts[filled] + _FAINT).astype(np.float32)
    return found


def dct_energies(images: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean energy of each frequency of the luma's 8x8 DCT (orthonormal DCT-II, as in JPEG).

    Args:
        images: uint8, shape (n, h, w, 3); sides that 8 does not divide are cut, sides under 8 are continued by their edge.

    Returns:
        float32, shape (n, 64), row by row of the block.
    """
    luma = images.astype(np.float32) @ _LUMA - 128
    _, height, width = luma.shape
    luma = np.pad(luma, ((0, 0), (0, max(0, _BLOCK - height)), (0, max(0, _BLOCK - width))), mode="edge")
    rows, columns = luma.shape[1] // _BLOCK, luma.shape[2] // _BLOCK
    blocks = luma[:, : rows * _BLOCK, : columns * _BLOCK].reshape(-1, rows, _BLOCK, columns, _BLOCK).swapaxes(2, 3)
    basis = dct_basis()
    energies = ((basis @ blocks @ basis.T) ** 2).mean(axis=(1, 2)).reshape(len(images), -1)
    found: np.ndarray = np.log(energies + _FAINT)
    return found


def dct_basis() -> np.ndarray:
    """Return the orthonormal DCT-II of 8 values: float32, shape (8, 8), one frequency per row."""
    at = np.arange(_BLOCK)
    basis = np.cos(np.pi * at[:, None] * (2 * at[None] + 1) / (2 * _BLOCK)) * np.sqrt(2 / _BLOCK)
    basis[0] /= np.sqrt(2)
    found: np.ndarray = basis.astype(np.float32)
    return found


def corners_and_edges(images: np.ndarray) -> np.ndarray:
    """Return colour against the picture's mean, and spread, of the four corners and of the four outermost lines.

    Args:
        images: uint8, shape (n, h, w, 3).

    Returns:
        float32, shape (n, 32); a corner is an eighth of each side.
    """
    values = images.astype(np.float32)
    mean = values.mean(axis=(1, 2))
    height, width = (max(1, side // 8) for side in images.shape[1:3])
    above, below, left, right = slice(height), slice(-height, None), slice(width), slice(-width, None)
    whole = slice(None)
    places = [(above, left), (above, right), (below, left), (below, right)]
    places += [(slice(1), whole), (slice(-1, None), whole), (whole, slice(1)), (whole, slice(-1, None))]
    found = []
    for rows, columns in places:
        part = values[:, rows, columns]
        found += [part.mean(axis=(1, 2)) - mean, part.std(axis=(1, 2)).mean(axis=1, keepdims=True)]
    return np.hstack(found)


def table(store: Store, positions: Positions, feature: Feature, *, view: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return a feature of many images, of whatever sizes, a bounded number of pixels at a time.

    Args:
        store: Where the images are.
        positions: Which, in any order.
        feature: From uint8 (n, h, w, 3) to float (n, d).
        view: What of an image (h, w, 3) the feature sees: ``middle``, ``thumbnail`` or ``corners``.

    Returns:
        float32, shape (len(positions), d).
    """
    found: np.ndarray | None = None
    for rows, images in _batches(store, positions, view):
        values = feature(images)
        if found is None:
            found = np.empty((len(positions), values.shape[1]), np.float32)
        found[rows] = values
    assert found is not None  # the caller has at least one image
    return found


def views(store: Store, positions: Positions, view: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return views of one size as one array: uint8, shape (n, GRID, GRID, 3)."""
    return np.stack([view(store.image(at)) for at in positions.tolist()])


def middle(image: np.ndarray) -> np.ndarray:
    """Return the central part of an image, at most CROP pixels a side.

    Example:
        >>> middle(np.zeros((300, 20, 3), np.uint8)).shape
        (256, 20, 3)
    """
    top, left = (max(0, (side - CROP) // 2) for side in image.shape[:2])
    return image[top : top + CROP, left : left + CROP]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return the whole image on the grid, each cell the mean of what it covers.

    Example:
        >>> thumbnail(np.zeros((300, 20, 3), np.uint8)).shape
        (32, 32, 3)
    """
    if image.shape[:2] == (GRID, GRID):
        return image
    step = max(1, min(image.shape[:2]) // (8 * GRID))  # of large images every so manieth pixel is enough, and much faster
    image = np.ascontiguousarray(image[step // 2 :: step, step // 2 :: step])
    return np.asarray(Image.fromarray(image).resize((GRID, GRID), Image.Resampling.BOX))


def corners(image: np.ndarray) -> np.ndarray:
    """Return the four corners at native resolution as one square; smaller images are continued by their edge.

    Example:
        >>> corners(np.zeros((300, 20, 3), np.uint8)).shape
        (32, 32, 3)
    """
    missing = [max(0, GRID - side) for side in image.shape[:2]]
    if any(missing):
        image = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    half = GRID // 2
    upper, lower = image[:half], image[-half:]
    return np.vstack([np.hstack([part[:, :half], part[:, -half:]]) for part in (upper, lower)])


def _batches(
    store: Store, positions: Positions, view: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of ``positions`` and their views, all of one size, stacked."""
    shown: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
    for row, at in enumerate(positions.tolist()):
        image = view(store.image(at))
        waiting = shown.setdefault(image.shape, [])
        waiting.append((row, image))
        if len(waiting) * image.shape[0] * image.shape[1] >= _BATCH_PIXELS:
            yield _stacked(shown.pop(image.shape))
    for waiting in shown.values():
        yield _stacked(waiting)


def _stacked(waiting: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    rows, images = zip(*waiting, strict=True)
    return np.array(rows), np.stack(images)
