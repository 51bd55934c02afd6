"""Whether two images show the same picture: their fine detail is laid over each other and correlated.

Detail is what lies between two blurs of the luma, so that brightness, slow gradients and what codecs drop do not count. Two
numbers must be high: the correlation of the detail, and the correlation of what remains when each row's and each column's mean
are taken away, which different pictures of one horizon or one frame do not share.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from fauxto.audit.likeness import MAX_SHIFT, SIDE, Candidates, Progress, planes

# Set on copies planted in CIFAKE's training images and on that part's own pairs: benchmarks/audit_duplicates.py.
MIN_CORRELATION = 0.90
MIN_CORRELATION_BEYOND_LINES = 0.85
_FLOOR = 1.0  # levels squared, added to the second correlation's denominator: flat images must not correlate by their noise
_HOPELESS = 0.05  # a part of the image below the first limit by more than this will not reach it as a whole
_FINE, _COARSE = 0.8, 3.0  # blurs between which detail lies, pixels
MIN_FINER = 0.88  # at 64x64 pixels, of two images that have them: aligned faces share most of what 32x32 pixels show
FINER_SIDE = 2 * SIDE
_FINER_REACH = 2  # pixels of that grid, around the shift found on the coarser one
_AT_ONCE = 2048
_BRIGHTNESS_LEVELS, _CONTRAST_RATIO, _COLOUR_LEVELS = 6.0, 1.1, 6.0


@dataclass(frozen=True)
class SamePictures:
    """Pairs that show the same picture, ordered by their positions; every array has one entry per pair.

    Attributes:
        first: int64, the smaller position.
        second: int64.
        mirrored: Bool, whether the second is the first one's mirror image.
        down: int64, rows by which the second lies lower than the (mirrored) first, at 32x32 pixels.
        right: int64, columns by which it lies further to the right.
        distance: float64, 1 minus the correlation of the detail, from 0 to 0.1.
    """

    first: np.ndarray
    second: np.ndarray
    mirrored: np.ndarray
    down: np.ndarray
    right: np.ndarray
    distance: np.ndarray


def detail(images: np.ndarray) -> np.ndarray:
    """Return the luma between two blurs: float16 (n, 32, 32), in levels, from uint8 (n, 32, 32, 3)."""
    found = np.empty(images.shape[:3], np.float16)
    fine, coarse = _blur(_FINE), _blur(_COARSE)
    for start in range(0, len(images), _AT_ONCE):
        luma = planes(images[start : start + _AT_ONCE])[:, 0]
        found[start : start + _AT_ONCE] = fine @ luma @ fine.T - coarse @ luma @ coarse.T
    return found


def same_pictures(
    images: np.ndarray, candidates: Candidates, *, n_threads: int = 2, progress: Progress | None = None
) -> SamePictures:
    """Return those of the candidate pairs that show the same picture.

    Args:
        images: uint8, shape (n, 32, 32, 3).
        candidates: Pairs to look at; where a pair is named both ways round, the nearer way is returned.
        n_threads: Parts of the candidates that are worked on at once.
        progress: Called with (done, total) candidates.
    """
    order = np.lexsort((candidates.second, candidates.first))
    details = detail(images)

    def look(start: int) -> np.ndarray:
        at = order[start : start + _AT_ONCE]
        return _verified(details, candidates.first[at], candidates.second[at], candidates.mirrored[at])

    parts = [np.empty((0, 6))]
    with ThreadPoolExecutor(n_threads) as pool:
        for done, part in enumerate(pool.map(look, range(0, len(order), _AT_ONCE)), start=1):
            parts.append(part)
            if progress:
                progress(min(done * _AT_ONCE, len(order)), len(order))
    found = np.concatenate(parts)
    found = found[np.lexsort((found[:, 5], found[:, 1], found[:, 0]))]
    if len(found):  # of the two ways round, the nearer
        found = found[np.append(True, (np.diff(found[:, :2], axis=0) != 0).any(axis=1))]
    first, second, mirrored, down, right = found[:, :5].T.astype(np.int64)
    return SamePictures(first, second, mirrored.astype(bool), down, right, found[:, 5])


def correlations(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how well the detail of images correlates, as it is and beyond its lines: two float32 (n,) in [-1, 1].

    Args:
        first: float32, shape (n, h, w), detail of one image of each pair.
        second: The same of the other, laid over the first.

    Example:
        >>> stripes = np.ones((1, 8, 1), np.float32) * np.array([-9, 9] * 4, np.float32)
        >>> [round(float(one[0]), 2) for one in correlations(stripes, stripes)]
        [1.0, 0.0]
    """
    plain = _correlation(first, second, 1e-6)
    return plain, _correlation(_beyond_lines(first), _beyond_lines(second), _FLOOR)


def best_shift(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return by how many rows and columns the second lies off the first, and how well the first's middle correlates there.

    Args:
        first: float32, shape (n, 32, 32), detail.
        second: The same.

    Returns:
        down and right: int64, shape (n,), from -3 to 3; correlation: float32, shape (n,).
    """
    middle = np.zeros_like(first)
    inside = slice(MAX_SHIFT, SIDE - MAX_SHIFT)
    middle[:, inside, inside] = first[:, inside, inside]
    moves = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    product = np.fft.irfft2(np.conj(np.fft.rfft2(middle)) * np.fft.rfft2(second))
    product = product[:, moves[:, None], moves].reshape(len(first), -1)
    window = (np.abs(np.arange(SIDE) - moves[:, None] - (SIDE - 1) / 2) < SIDE / 2 - MAX_SHIFT).astype(np.float32)
    energy = (window @ (second * second) @ window.T).reshape(len(first), -1)
    own = (middle * middle).sum(axis=(1, 2))
    likeness = product / np.sqrt(energy * own[:, None] + 1e-6)
    best = likeness.argmax(axis=1)
    return moves[best // len(moves)], moves[best % len(moves)], likeness.max(axis=1)


def changes(first: np.ndarray, second: np.ndarray, *, resized: bool, mirrored: bool, shifted: bool) -> str:
    """Say what maps one image onto the other, as far as it shows; "re-encoded" where nothing else does.

    Args:
        first: uint8, shape (32, 32, 3).
        second: The same.
        resized: Whether the files differ in size.
        mirrored: As found by ``same_pictures``.
        shifted: The same.

    Example:
        >>> image = np.full((32, 32, 3), 100, np.uint8)
        >>> changes(image, image + np.uint8(20), resized=False, mirrored=True, shifted=False)
        'mirrored, brightness or contrast'
    """
    one, other = planes(np.stack([first, second]))
    levels, spread = abs(one[0].mean() - other[0].mean()), (one[0].std() + 1) / (other[0].std() + 1)
    toned = levels > _BRIGHTNESS_LEVELS or max(spread, 1 / spread) > _CONTRAST_RATIO
    coloured = np.abs(one[1:].mean(axis=(1, 2)) - other[1:].mean(axis=(1, 2))).max() > _COLOUR_LEVELS
    facts = {"mirrored": mirrored, "resized": resized, "shifted": shifted}
    facts |= {"brightness or contrast": toned, "recoloured": coloured}
    return ", ".join(word for word, holds in facts.items() if holds) or "re-encoded"


def finer_detail(image: np.ndarray) -> np.ndarray | None:
    """Return the luma between two blurs at 64x64 pixels, float32; None of an image (h, w, 3) that has fewer pixels a side."""
    if min(image.shape[:2]) < FINER_SIDE:
        return None
    reduced = Image.fromarray(image).resize((FINER_SIDE, FINER_SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    fine, coarse = _blur(_FINE, FINER_SIDE), _blur(_COARSE, FINER_SIDE)
    luma = planes(np.asarray(reduced)[None])[0, 0]
    found: np.ndarray = fine @ luma @ fine.T - coarse @ luma @ coarse.T
    return found


def finer_correlation(first: np.ndarray, second: np.ndarray, *, down: int = 0, right: int = 0) -> float:
    """Return how well the finer detail of two images correlates at the best shift, which the detail at 32x32 may hide.

    Args:
        first: float32, shape (64, 64), from ``finer_detail``, mirrored if the pair is.
        second: The same.
        down: Rows by which the second lies lower, found at 32x32 pixels: two more or fewer than twice as many are tried here.
        right: The same for columns.

    Example:
        >>> image = finer_detail(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        >>> finer_correlation(image, image) > 0.999
        True
    """
    found = [
        _correlation(first[None, own_rows, own_columns], second[None, rows, columns], 1e-6)[0]
        for own_rows, rows in _overlaps(2 * down)
        for own_columns, columns in _overlaps(2 * right)
    ]
    return float(max(found))


def _overlaps(middle: int) -> list[tuple[slice, slice]]:
    """Return, for some shifts of a finer image's side, what both images share of it."""
    shifts = range(middle - _FINER_REACH, middle + _FINER_REACH + 1)
    return [(slice(max(0, -by), FINER_SIDE - max(0, by)), slice(max(0, by), FINER_SIDE + min(0, by))) for by in shifts]


@lru_cache
def _blur(sigma: float, side: int = SIDE) -> np.ndarray:
    """Return the matrix of a Gaussian blur along one side, the border mirrored with its pixel repeated."""
    at = np.arange(-4 * side, 5 * side)
    weights = np.exp(-((np.arange(side)[:, None] - at) ** 2) / (2 * sigma**2))
    folded = np.minimum(at % (2 * side), 2 * side - 1 - at % (2 * side))
    matrix = np.zeros((side, side))
    np.add.at(matrix.T, folded, weights.T)
    found: np.ndarray = matrix / matrix.sum(axis=1, keepdims=True)
    return found.astype(np.float32)


def _verified(details: np.ndarray, first: np.ndarray, second: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Return first, second, mirrored, down, right, distance of the pairs that show the same picture: float64 (n, 6)."""
    one, other = details[first].astype(np.float32), details[second].astype(np.float32)
    one[mirrored] = one[mirrored][:, :, ::-1]
    down, right, likeness = best_shift(one, other)
    found = [np.empty((0, 6))]
    hopeful = np.flatnonzero(likeness > MIN_CORRELATION - _HOPELESS)
    for move in np.unique(np.stack([down, right])[:, hopeful], axis=1).T:
        at = hopeful[(down[hopeful] == move[0]) & (right[hopeful] == move[1])]
        rows, columns = (slice(max(0, by), SIDE + min(0, by)) for by in move.tolist())
        own_rows, own_columns = (slice(max(0, -by), SIDE - max(0, by)) for by in move.tolist())
        plain, beyond = correlations(one[at, own_rows, own_columns], other[at, rows, columns])
        same = (plain >= MIN_CORRELATION) & (beyond >= MIN_CORRELATION_BEYOND_LINES)
        rows_found = np.stack([first[at], second[at], mirrored[at], down[at], right[at], 1 - plain.astype(np.float64)], axis=1)
        found.append(rows_found[same])
    return np.concatenate(found)


def _beyond_lines(pixels: np.ndarray) -> np.ndarray:
    lines = pixels.mean(axis=1, keepdims=True) + pixels.mean(axis=2, keepdims=True)
    found: np.ndarray = pixels - lines + pixels.mean(axis=(1, 2), keepdims=True)
    return found


def _correlation(first: np.ndarray, second: np.ndarray, floor: float) -> np.ndarray:
    product, one, other = ((a * b).mean(axis=(1, 2)) for a, b in ((first, second), (first, first), (second, second)))
    found: np.ndarray = np.clip(product / (np.sqrt(one * other) + floor), -1, 1)
    return found
