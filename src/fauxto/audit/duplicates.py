"""Images that show the same picture, inside and across splits and labels: by equal pixels, or near and verified on pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from fauxto.audit.likeness import SIDE, find_candidates, planes
from fauxto.audit.sameness import (
    MIN_CORRELATION,
    MIN_CORRELATION_BEYOND_LINES,
    MIN_FINER,
    SamePictures,
    changes,
    finer_correlation,
    finer_detail,
    same_pictures,
)
from fauxto.data.store import Store

EQUAL, NEAR = "equal", "near"
EQUAL_OR_NEAR = "equal or near"
_KEPT_FINER = 4096  # images whose finer detail is kept at hand: 64 MiB
LIMITS = {
    "min_correlation": MIN_CORRELATION, "min_correlation_beyond_lines": MIN_CORRELATION_BEYOND_LINES,
    "min_finer_correlation": MIN_FINER,
}  # fmt: skip
MIN_CONTRAST = 2.0  # levels: standard deviation of the luma below which an image shows too little to be recognised
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pair:
    """Two images that show the same picture.

    Attributes:
        first: Position in the store; smaller than ``second``.
        second: Position in the store.
        kind: "equal" (same pixels) or "near".
        change: What maps one onto the other, as far as it shows: "mirrored", "resized", "shifted", "brightness or contrast",
            "recoloured" or several of them, joined by ", "; "re-encoded" where none shows; "" for equal pixels.
        distance: 1 minus the correlation of both images' detail at 32x32 pixels; 0 for equal pixels, at most 0.1.
    """

    first: int
    second: int
    kind: str
    change: str
    distance: float


@dataclass(frozen=True)
class PairCount:
    """How many pairs of one kind lie between two parts of the data.

    Attributes:
        kind: "equal" or "near".
        splits: The two images' splits, in alphabetical order ("" where the data name none); equal inside one split.
        labels: Their labels in the same order: "real" or "fake".
        n_pairs: All such pairs, every copy of a picture counted with every copy of the other.
    """

    kind: str
    splits: tuple[str, str]
    labels: tuple[str, str]
    n_pairs: int


@dataclass(frozen=True)
class DuplicateReport:
    """What repeats in a data set. Train means the data's own train and validation part.

    Attributes:
        n_images: Images in the store.
        n_not_compared: Images that are too flat to be recognised; only their equal copies are found.
        pairs: Equal ones first: every further copy with the first of its picture, so n - 1 pairs for n copies. Then the near
            ones, between the first copies of both pictures, nearest first.
        groups: Positions of images that are connected by pairs, directly or through others; the largest first.
        counts: Pairs inside and across splits and labels.
        n_equal_groups: Pictures that stand in the store more than once.
        n_equal_images: Images in those.
        n_near_pairs: Pairs of different pixels that show the same picture.
        test_in_train: Positions of test images whose pixels stand in train.
        test_near_train: Positions of further test images that have a near duplicate in train.
        n_with_both_labels: Images whose pixels occur as real and as fake.
        n_near_other_label: Further images with a near duplicate under the other label.
        n_test_in_train: How many ``test_in_train``.
        n_test_near_train: How many ``test_near_train``.
    """

    n_images: int
    n_not_compared: int
    pairs: tuple[Pair, ...]
    groups: tuple[tuple[int, ...], ...]
    counts: tuple[PairCount, ...]
    n_equal_groups: int
    n_equal_images: int
    n_near_pairs: int
    test_in_train: tuple[int, ...]
    test_near_train: tuple[int, ...]
    n_with_both_labels: int
    n_near_other_label: int
    n_test_in_train: int
    n_test_near_train: int

    @property
    def known(self) -> Mapping[str, tuple[int, ...]]:
        """Positions of the test images that stand in train: the equal ones, and the equal and near ones together."""
        return {EQUAL: self.test_in_train, EQUAL_OR_NEAR: self.test_in_train + self.test_near_train}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON, with the limits that a near duplicate had to reach."""
        return asdict(self) | {"limits": dict(LIMITS)}


def find_duplicates(store: Store, *, progress: Progress | None = None, n_threads: int | None = None) -> DuplicateReport:
    """Find every equal pair, and near duplicates: re-encoded, resized, mirrored, moved by a few pixels, other tones.

    Every image is reduced to a code that such changes hardly move; the pairs whose codes are most alike, four per image, are
    compared pixel by pixel. What no code brings together is not found: turned, cropped or retouched copies.

    Args:
        store: Decoded images of any sizes.
        progress: Called with (what, done, total) now and then.
        n_threads: Threads; as many as there are processors by default.
    """
    say = progress or (lambda what, done, total: None)
    _, head, picture = np.unique(store.pixel_hash, return_index=True, return_inverse=True)
    order = np.argsort(head)  # pictures by their first image
    head, picture = head[order], np.argsort(order)[picture]
    thumbnails = _thumbnails(store, head, lambda done, total: say("reading", done, total))
    compared = np.flatnonzero(_contrast(thumbnails) >= MIN_CONTRAST)
    shown = thumbnails if len(compared) == len(head) else thumbnails[compared]
    n_threads = n_threads or os.cpu_count() or 1
    candidates = find_candidates(shown, n_threads=n_threads, progress=lambda done, total: say("searching", done, total))
    same = same_pictures(shown, candidates, n_threads=n_threads, progress=lambda done, total: say("comparing", done, total))
    near, near_at = _near_pairs(store, head[compared], shown, same)
    n_flat = int(len(store) - np.isin(picture, compared).sum())
    pictures = np.stack([compared[same.first], compared[same.second]], axis=1)[near_at]
    return _report(store, picture, head, pictures, near, n_flat)


def _thumbnails(store: Store, positions: np.ndarray, progress: Callable[[int, int], None]) -> np.ndarray:
    """Return images at 32x32 pixels: uint8 (n, 32, 32, 3)."""
    if store.is_uniform and (store.height[0], store.width[0]) == (SIDE, SIDE):
        return store.batch(positions)
    found = np.empty((len(positions), SIDE, SIDE, 3), np.uint8)
    for at, position in enumerate(positions.tolist()):
        image = store.image(position)
        if image.shape[:2] != (SIDE, SIDE):
            reduced = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
            image = np.asarray(reduced)
        found[at] = image
        if at % 1000 == 999:
            progress(at + 1, len(positions))
    return found


def _contrast(images: np.ndarray) -> np.ndarray:
    parts = (images[start : start + 4096] for start in range(0, len(images), 4096))
    return np.concatenate([planes(part)[:, 0].std(axis=(1, 2)) for part in parts])


def _same_in_detail(one: np.ndarray | None, other: np.ndarray | None, move: tuple[int, int], *, mirrored: bool) -> bool:
    """Compare two images again with twice as many pixels a side, if both have them."""
    if one is None or other is None:
        return True
    down, right = move
    return finer_correlation(one[:, ::-1] if mirrored else one, other, down=down, right=right) >= MIN_FINER


def _near_pairs(store: Store, positions: np.ndarray, images: np.ndarray, same: SamePictures) -> tuple[list[Pair], list[int]]:
    """Return the pairs, nearest first, and where each stands in ``same``."""
    pairs, kept = [], []
    finer = lru_cache(_KEPT_FINER)(lambda position: finer_detail(store.image(position)))  # an image stands in many pairs
    for at in np.argsort(same.distance, kind="stable").tolist():
        one, other = int(same.first[at]), int(same.second[at])
        first, second = int(positions[one]), int(positions[other])
        move, is_mirrored = (int(same.down[at]), int(same.right[at])), bool(same.mirrored[at])
        if not _same_in_detail(finer(first), finer(second), move, mirrored=is_mirrored):
            continue
        change = changes(
            images[one],
            images[other],
            resized=store.image(first).shape != store.image(second).shape,
            mirrored=is_mirrored,
            shifted=move != (0, 0),
        )
        pairs.append(Pair(first, second, NEAR, change, max(0.0, float(same.distance[at]))))
        kept.append(at)
    return pairs, kept


def _report(
    store: Store, picture: np.ndarray, head: np.ndarray, near: np.ndarray, near_pairs: list[Pair], n_flat: int
) -> DuplicateReport:
    """Count; ``picture`` numbers every image's picture, ``near`` holds pairs of such numbers."""
    n_copies = np.bincount(picture)
    further = np.flatnonzero(head[picture] != np.arange(len(store)))
    equal_pairs = [Pair(int(head[picture[at]]), at, EQUAL, "", 0.0) for at in further.tolist()]
    is_test, is_train = store.split == "test", np.isin(store.split, ("train", "val"))
    in_train = is_test & _beside(picture, is_train)
    near_train = is_test & ~in_train & _near(picture, near, is_train)
    twice = np.where(store.is_fake, _beside(picture, ~store.is_fake), _beside(picture, store.is_fake))
    other = np.where(store.is_fake, _near(picture, near, ~store.is_fake), _near(picture, near, store.is_fake))
    return DuplicateReport(
        n_images=len(store),
        n_not_compared=n_flat,
        pairs=(*equal_pairs, *near_pairs),
        groups=_groups(picture, near),
        counts=_pair_counts(store, picture, near),
        n_equal_groups=int((n_copies > 1).sum()),
        n_equal_images=int(n_copies[n_copies > 1].sum()),
        n_near_pairs=len(near_pairs),
        test_in_train=tuple(np.flatnonzero(in_train).tolist()),
        test_near_train=tuple(np.flatnonzero(near_train).tolist()),
        n_with_both_labels=int(twice.sum()),
        n_near_other_label=int((other & ~twice).sum()),
        n_test_in_train=int(in_train.sum()),
        n_test_near_train=int(near_train.sum()),
    )


def _beside(picture: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return which images have equal pixels to a chosen one: bool, shape (n,)."""
    found: np.ndarray = np.isin(picture, picture[chosen])
    return found


def _near(picture: np.ndarray, near: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return which images have a near duplicate that is equal to a chosen one: bool, shape (n,)."""
    holds = np.zeros(int(picture.max()) + 1, bool)
    holds[picture[chosen]] = True
    beside = np.zeros_like(holds)
    beside[near[holds[near[:, 1]], 0]] = True
    beside[near[holds[near[:, 0]], 1]] = True
    found: np.ndarray = beside[picture]
    return found


def _groups(picture: np.ndarray, near: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Return the positions of connected images, the largest group first."""
    name = np.arange(int(picture.max()) + 1)
    while True:  # spread the smallest number until nothing moves
        before = name.copy()
        np.minimum.at(name, near[:, 0], name[near[:, 1]])
        np.minimum.at(name, near[:, 1], name[near[:, 0]])
        if np.array_equal(before, name):
            break
    by_name = np.argsort(name[picture], kind="stable")
    ends = np.flatnonzero(np.diff(name[picture][by_name])) + 1
    groups = (tuple(part.tolist()) for part in np.split(by_name, ends))
    return tuple(sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group)))


def _pair_counts(store: Store, picture: np.ndarray, near: np.ndarray) -> tuple[PairCount, ...]:
    splits, split = np.unique(store.split, return_inverse=True)
    part = 2 * split + store.is_fake
    n_parts = 2 * len(splits)
    copies = np.zeros((int(picture.max()) + 1, n_parts), np.int64)
    np.add.at(copies, (picture, part), 1)
    across = copies[near[:, 0]].T @ copies[near[:, 1]]
    tables = {EQUAL: copies.T @ copies - np.diag(copies.sum(axis=0)), NEAR: across + across.T}
    names = [(str(splits[at // 2]), "fake" if at % 2 else "real") for at in range(n_parts)]
    found = []
    for kind, table in tables.items():
        for one, other in zip(*np.triu_indices(n_parts), strict=True):
            n_pairs = int(table[one, other]) // (2 if one == other else 1)
            if n_pairs:
                both = tuple(zip(names[one], names[other], strict=True))
                found.append(PairCount(kind, both[0], both[1], n_pairs))
    return tuple(found)
