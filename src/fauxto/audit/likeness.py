"""Which pairs of many images may show the same picture: short codes that shifts, mirrors and codecs hardly move.

A code is made of the amplitudes of an image's spectrum, which a shift leaves alone, projected onto the directions in which
pictures differ most and copies least: discriminant analysis (Fisher 1936) of the images themselves and of copies planted in them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fauxto.perturb import perturbed

SIDE = 32  # pixels a side at which images are compared
MAX_SHIFT = 3  # pixels of that grid
N_EVEN, N_ODD = 40, 24  # numbers in a code that a mirror leaves alone, and that it negates
CANDIDATES_PER_IMAGE = 4
ALWAYS_COMPARED = 50_000  # pairs: a small set is compared in full
_N_FREQUENCIES = 10
_COPIES = ("jpeg-75", "jpeg-50", "jpeg-30", "webp-50", "resize-0.5", "resize-0.75", "brightness-0.85", "brightness-1.15",
           "contrast-0.85", "contrast-1.15", "resize-0.5+jpeg-70")  # fmt: skip
_N_PLANTED, _N_SEEN = 800, 8000  # images that copies are planted in, and that tell how pictures differ
_ROWS, _COLUMNS = 512, 2048  # of the blocks of products, which thus stay in the processor's cache
_AT_ONCE = 1024
# Luma, then the two colour differences (ITU-R BT.601), from red, green, blue.
_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_FADE = np.sqrt(np.hanning(SIDE + 2)[1:-1])  # towards the edges, where a shift brings in something new
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Candidates:
    """Pairs worth a look, in any order.

    Attributes:
        first: int64, shape (n,), the smaller position.
        second: int64, shape (n,).
        mirrored: Bool, shape (n,): the second is to be compared with the first one's mirror image.
    """

    first: np.ndarray
    second: np.ndarray
    mirrored: np.ndarray


def planes(images: np.ndarray) -> np.ndarray:
    """Return luma and colour differences: float32 (n, 3, h, w), from uint8 (n, h, w, 3)."""
    found: np.ndarray = np.matmul(_YCC, images.reshape(len(images), -1, 3).transpose(0, 2, 1).astype(np.float32))
    return found.reshape(len(images), 3, *images.shape[1:3])


def shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return images moved by whole pixels, what is uncovered filled with the edge's colour; uint8 (n, h, w, 3)."""
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    return images[:, rows][:, :, np.clip(np.arange(width) - right, 0, width - 1)]


def find_candidates(
    images: np.ndarray, *, n_threads: int = 2, progress: Progress | None = None, per_image: int = CANDIDATES_PER_IMAGE
) -> Candidates:
    """Return the likeliest pairs, some ``per_image`` for each image; all pairs of a small set, both ways round.

    Args:
        images: uint8, shape (n, 32, 32, 3), no two of them equal.
        n_threads: Blocks of products that are worked on at once.
        progress: Called with (done, total) now and then.
        per_image: How many pairs to return for each image, on average.
    """
    n_images = len(images)
    if n_images * (n_images - 1) // 2 <= ALWAYS_COMPARED:
        first, second = np.triu_indices(n_images, 1)
        mirrored = np.arange(2 * len(first)) >= len(first)
        return Candidates(np.tile(first, 2), np.tile(second, 2), mirrored)
    even, odd = codes(images)
    limit = _limit(even, odd, max(per_image * n_images, ALWAYS_COMPARED))
    return _alike(even, odd, limit, n_threads, progress or (lambda done, total: None))


def codes(images: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the even and the odd part of each image's code, float32, shapes (n, up to 40) and (n, up to 24).

    The code of a mirrored image has the same even part and the negated odd part. The two parts of one image together have
    length 1, so that ``even @ even.T + odd @ odd.T`` is the cosine between images.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(images))
    planted, seen = images[np.sort(drawn[:_N_PLANTED])], images[np.sort(drawn[:_N_SEEN])]
    differences = _differences(planted, rng)
    pictures = spectra(seen)
    mean = pictures[0].mean(axis=0)
    even = _discriminant(pictures[0] - mean, differences[0], N_EVEN)
    odd = _discriminant(pictures[1], differences[1], N_ODD)
    found = np.empty((len(images), even.shape[1] + odd.shape[1]), np.float32)
    for start in range(0, len(images), _AT_ONCE):
        part = spectra(images[start : start + _AT_ONCE])
        found[start : start + _AT_ONCE] = np.hstack([(part[0] - mean) @ even, part[1] @ odd])
    found /= np.linalg.norm(found, axis=1, keepdims=True) + 1e-12
    return np.ascontiguousarray(found[:, : even.shape[1]]), np.ascontiguousarray(found[:, even.shape[1] :])


def spectra(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return square roots of the amplitudes at low frequencies, and mean colours: float32, (n, 302) even and (n, 270) odd."""
    pixels = planes(images)
    pixels[:, 0] -= pixels[:, 0].mean(axis=(1, 2), keepdims=True)
    pixels /= np.sqrt((pixels[:, 0] ** 2).mean(axis=(1, 2)))[:, None, None, None] + 4  # 4 levels are what a codec may add
    means = pixels.mean(axis=(2, 3))
    fade = np.outer(_FADE, _FADE).astype(np.float32)
    transform = np.fft.rfft2((pixels - means[:, :, None, None]) * fade)
    low = [*range(_N_FREQUENCIES), *range(1 - _N_FREQUENCIES, 0)]
    amplitude = np.sqrt(np.abs(transform[:, :, low, :_N_FREQUENCIES])).astype(np.float32)
    turned = amplitude[:, :, [-at for at in range(len(low))]]  # a mirror image's: amplitudes at the negated vertical frequency
    even = (amplitude + turned)[:, :, :_N_FREQUENCIES].reshape(len(images), -1)
    odd = (amplitude - turned)[:, :, 1:_N_FREQUENCIES].reshape(len(images), -1)
    return np.hstack([even / 2, means[:, 1:]]), odd / 2


def _differences(images: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return how the spectra of planted copies differ from those of the images themselves."""
    copies = [perturbed(images, name) for name in _COPIES]
    for distance in range(1, MAX_SHIFT + 1):
        moves = rng.integers(-distance, distance + 1, (len(images), 2))
        copies.append(np.concatenate([shifted(images[at : at + 1], *move) for at, move in enumerate(moves.tolist())]))
    even, odd = spectra(images)
    changed = [spectra(copy) for copy in copies]
    return np.concatenate([one[0] - even for one in changed]), np.concatenate([one[1] - odd for one in changed])


def _discriminant(pictures: np.ndarray, differences: np.ndarray, n_directions: int) -> np.ndarray:
    """Return directions in which pictures vary and copies do not, each scaled by how much it tells: float32 (p, n)."""
    within = (differences.T @ differences).astype(np.float64) / (2 * len(differences))
    within += (1e-3 * np.trace(within) / len(within) + 1e-9) * np.eye(len(within))
    total = (pictures.T @ pictures).astype(np.float64) / len(pictures)
    inverse = np.linalg.inv(np.linalg.cholesky(within))
    ratio, directions = np.linalg.eigh(inverse @ total @ inverse.T)
    ratio, directions = ratio[::-1][:n_directions], directions[:, ::-1][:, :n_directions]
    ratio = np.maximum(ratio, 1 + 1e-6)  # where copies differ as much as pictures, nothing is told
    found: np.ndarray = (inverse.T @ directions) * (np.sqrt((ratio - 1) / ratio) / np.sqrt(ratio))
    return found.astype(np.float32)


def _limit(even: np.ndarray, odd: np.ndarray, n_wanted: int) -> float:
    """Return the likeness that about ``n_wanted`` pairs exceed, judged by a sample of 256 images against all."""
    n_images = len(even)
    chosen = np.random.default_rng(0).permutation(n_images)[:256]
    likeness = even[chosen] @ even.T + np.abs(odd[chosen] @ odd.T)
    likeness[np.arange(len(chosen)), chosen] = -np.inf
    n_above = min(likeness.size, round(2 * n_wanted / n_images * len(chosen)))
    return float(np.partition(likeness, likeness.size - n_above, axis=None)[likeness.size - n_above])


def _alike(even: np.ndarray, odd: np.ndarray, limit: float, n_threads: int, progress: Progress) -> Candidates:
    n_images = len(even)
    starts = range(0, n_images, _ROWS)
    found: list[np.ndarray] = []
    with ThreadPoolExecutor(n_threads) as pool:
        for done, pairs in enumerate(pool.map(lambda start: _alike_rows(even, odd, start, limit), starts), start=1):
            found.append(pairs)
            progress(min(done * _ROWS, n_images), n_images)
    first, second = np.concatenate(found).T
    return Candidates(first, second, (odd[first] * odd[second]).sum(axis=1) < 0)


def _alike_rows(even: np.ndarray, odd: np.ndarray, start: int, limit: float) -> np.ndarray:
    """Return the pairs above the limit whose first image is one of a block's: int64, (n, 2)."""
    rows = slice(start, start + _ROWS)
    # Used again for each block: asking for new memory each time takes longer than the products.
    room = np.empty((2, len(even[rows]), _COLUMNS), np.float32)
    found = [np.empty((0, 2), np.int64)]
    for left in range(start, len(even), _COLUMNS):
        columns = slice(left, left + _COLUMNS)
        likeness, turned = room[:, :, : len(even[columns])]
        np.matmul(even[rows], even[columns].T, out=likeness)
        np.matmul(odd[rows], odd[columns].T, out=turned)
        likeness += np.abs(turned, out=turned)
        row, column = np.divmod(np.flatnonzero(likeness > limit), likeness.shape[1])
        pairs = np.stack([row + start, column + left], axis=1)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)
