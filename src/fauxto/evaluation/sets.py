"""Sets of images that a detector is asked about: of a store or in memory; and which rules of its card these call for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fauxto.data.store import Store, read_store
from fauxto.detector import Detector
from fauxto.errors import DataError
from fauxto.tiles import tile_card


class Images(Protocol):
    """A set of images that can be read in parts."""

    @property
    def key(self) -> str:
        """Text that is equal only for the same pixels in the same order."""

    @property
    def sizes(self) -> np.ndarray:
        """Height and width of each image: int, shape (n, 2)."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> list[np.ndarray]:
        """Return images as uint8, shape (h, w, 3) each."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Images of a store, by their positions in it."""

    store: Store
    members: np.ndarray

    @property
    def key(self) -> str:
        """The pixels' own hashes, in order."""
        return hashlib.sha256(b"".join(self.store.pixel_hash[self.members].tolist())).hexdigest()

    @property
    def sizes(self) -> np.ndarray:
        """Height and width of each image: int, shape (n, 2)."""
        return np.stack([self.store.height[self.members], self.store.width[self.members]], axis=1)

    def __len__(self) -> int:
        return len(self.members)

    def part(self, start: int, stop: int) -> list[np.ndarray]:
        """Return images as uint8, shape (h, w, 3) each."""
        return [self.store.image(at) for at in self.members[start:stop].tolist()]

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as a folder's name; the pixels are mapped there again."""
        return _reopened, (self.store.folder, self.members)


@dataclass(frozen=True, eq=False)
class Loose:
    """Images in memory: uint8, shape (n, h, w, 3)."""

    pixels: np.ndarray

    @property
    def key(self) -> str:
        """A hash of shape and pixels."""
        return hashlib.sha256(f"{self.pixels.shape}".encode() + np.ascontiguousarray(self.pixels).tobytes()).hexdigest()

    @property
    def sizes(self) -> np.ndarray:
        """As ``Images.sizes``."""
        return np.tile(self.pixels.shape[1:3], (len(self.pixels), 1))

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, start: int, stop: int) -> list[np.ndarray]:
        """As ``Images.part``."""
        return list(self.pixels[start:stop])


def by_own_rules(detector: Detector, images: Images, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what logits mean, each image by the rules for its size: p_fake, float64 (n,), and whether it is called fake, bool.

    Args:
        detector: Whose answers these are.
        images: What it was asked about.
        logits: Float, shape (n,).
    """
    is_tiled, large = _tiled(detector, images), detector.over_tiles
    p_fake = np.where(is_tiled, large.p_fake(logits), detector.p_fake(logits))
    # >= as in metrics: a tie at the threshold is "fake".
    return p_fake, p_fake >= np.where(is_tiled, large.threshold, detector.threshold)


def fitting(detector: Detector, *sets: Images) -> Detector:
    """Return a detector with the rules that its card has for these images: those over tiles, where all are answered so.

    Where some are and some are not, each is judged by its own rules, as ``Detector.predict`` does.

    Raises:
        DataError: Some are and some are not, and the two have different thresholds, so that no number stands for both.
    """
    if detector.tiles is None:
        return detector
    is_tiled, large = np.concatenate([_tiled(detector, images) for images in sets]), detector.over_tiles
    if is_tiled.size and is_tiled.all():
        return large
    if is_tiled.any() and large.threshold != detector.threshold:
        raise DataError(
            f"{int(is_tiled.sum()):,} of these {is_tiled.size:,} images are answered over tiles, and the detector's threshold is "
            f"{large.threshold:.4g} there and {detector.threshold:.4g} for the others: measure large and small images apart"
        )
    return detector


def mixed_rules(detector: Detector, images: Images) -> tuple[str, ...]:
    """Say where a page shows one card's rules, and some of its images have others; see ``fitting``."""
    n_tiled = int(_tiled(detector, images).sum())
    if not 0 < n_tiled < len(images) or tile_card(detector.card) == detector.card:
        return ()
    return (
        f"{n_tiled:,} of {len(images):,} images are large and were answered over tiles, each by the rules that the card has for "
        "these; the operating points and the promise shown here are those for small images.",
    )


def _tiled(detector: Detector, images: Images) -> np.ndarray:
    if detector.tiles is None:
        return np.zeros(len(images), bool)
    return np.array([detector.is_tiled(height, width) for height, width in images.sizes.tolist()], bool)


def _reopened(folder: Path, members: np.ndarray) -> Stored:
    return Stored(read_store(folder), members)
