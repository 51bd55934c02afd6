"""What looks like generation but is none: resizing, sharpening, denoising, JPEG, blur; the same share of real and fake images."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from fauxto.perturb import KINDS, perturbed

# Share of images, kind, lowest and highest severity, digits that the severity is rounded to.
OPERATIONS: tuple[tuple[float, str, float, float, int], ...] = (
    (0.04, "resize_any", 0.5, 0.95, 2),  # down and up again
    (0.03, "resize_any", 1.2, 2.0, 2),  # up and down again
    (0.04, "sharpen", 40, 200, 0),  # percent of the unsharp mask
    (0.02, "median", 3, 3, 0),  # pixels
    (0.03, "bilateral", 8, 40, 0),  # levels that count as noise
    (0.06, "jpeg", 50, 95, 0),
    (0.03, "blur", 0.3, 0.8, 2),
)


def draw_operations(n: int, *, seed: int, name: str) -> list[str]:
    """Return the operation of each image of a set, "" for none.

    Every set of a size has the same share of each kind, so that a kind tells nothing about the class.

    Args:
        n: Images in the set.
        seed: Of the forge.
        name: Of the set: a member's, or "real".

    Example:
        >>> drawn = draw_operations(400, seed=0, name="real")
        >>> sum(map(bool, drawn)), sum(one.startswith("jpeg") for one in drawn)
        (100, 24)
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
    place = (rng.permutation(n) + 0.5) / max(n, 1)
    ends = np.cumsum([share for share, *_ in OPERATIONS])
    rows = np.searchsorted(ends, place, side="right")
    return [_named(row, rng.random()) if row < len(OPERATIONS) else "" for row in rows.tolist()]


def operated(images: np.ndarray, operations: list[str], *, seed: int) -> np.ndarray:
    """Return images after one operation each.

    Args:
        images: uint8, shape (n, h, w, 3).
        operations: What ``draw_operations`` returned.
        seed: Decides the kernel where an operation has several.

    Returns:
        uint8, shape (n, h, w, 3); a new array.
    """
    result = np.array(images, order="C")
    for position, operation in enumerate(operations):
        if operation:
            result[position] = _one(result[position], operation, seed=seed, position=position)
    return result


def _named(row: int, place: float) -> str:
    _, kind, low, high, digits = OPERATIONS[row]
    severity = round(low + (high - low) * place, digits)
    return f"{kind}-{severity:g}"


def _one(image: np.ndarray, operation: str, *, seed: int, position: int) -> np.ndarray:
    kind, _, severity = operation.partition("-")
    if kind in KINDS:
        changed: np.ndarray = perturbed(image[None], operation, seed=seed, first=position)[0]
        return changed
    return FILTERS[kind](image, int(severity))


def _sharpened(image: np.ndarray, percent: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.UnsharpMask(radius=1, percent=percent, threshold=0)))


def _median(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.MedianFilter(side)))


def _bilateral(image: np.ndarray, levels: int) -> np.ndarray:
    """Average each pixel with those of its 3 x 3 neighbours that are like it (Tomasi and Manduchi 1998)."""
    height, width = image.shape[:2]
    padded = np.pad(image.astype(np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    total, weights = np.zeros(image.shape, np.float32), np.zeros((height, width, 1), np.float32)
    for row in range(3):
        for column in range(3):
            other = padded[row : row + height, column : column + width]
            distance = np.mean((other - image) ** 2, axis=2, keepdims=True)
            weight = np.exp(-distance / (2 * levels**2) - ((row - 1) ** 2 + (column - 1) ** 2) / 2)
            total += weight * other
            weights += weight
    result: np.ndarray = np.rint(total / weights).astype(np.uint8)
    return result


FILTERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "sharpen": _sharpened,
    "median": _median,
    "bilateral": _bilateral,
}
