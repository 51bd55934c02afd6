"""Which images the shortcuts are measured on: equally many of both classes, groups kept together, drawn by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fauxto.audit.duplicates import Pair
from fauxto.audit.features import CROP
from fauxto.data.splits import Positions, clusters
from fauxto.data.store import Store
from fauxto.errors import missing_extra

N_IMAGES = 20_000
MAX_PIXELS = 400_000_000  # of the middles that are looked at: 6,100 images of 256 x 256 and more
N_FOLDS = 3
MIN_PER_CLASS = 50  # with fewer, an interval is too wide for a statement


@dataclass(frozen=True, eq=False)
class Sample:
    """Positions in a store.

    Attributes:
        cross: For cross-validation, equally many real and fake.
        fold: int64, one number in [0, N_FOLDS) for each of ``cross``; images that show one picture, equally or nearly, or share a
            group, share it.
        train: For training, equally many of both; none shows a picture of ``test`` or shares a group with it. Empty without a
            test part.
        test: For testing, equally many of both. Empty without a test part.
        test_name: Whose test part that is, in words.
    """

    cross: Positions
    fold: Positions
    train: Positions
    test: Positions
    test_name: str = ""

    @property
    def has_test(self) -> bool:
        """Whether there is a test part large enough to be measured on."""
        return len(self.test) > 0


def draw_sample(
    store: Store, *, pairs: Sequence[Pair] = (), test: Positions | None = None, seed: int = 0, n_images: int = N_IMAGES
) -> Sample:
    """Draw the images.

    Args:
        store: Where from.
        pairs: Duplicates found in it, whose images stay on one side; equal pixels do in any case.
        test: The part that a detector is measured on, if it is another than the data's own test part.
        seed: Same seed, same images.
        n_images: At most so many for cross-validation, for training and for testing.
    """
    rng = np.random.default_rng(seed)
    n_images = min(n_images, max(2 * MIN_PER_CLASS, int(MAX_PIXELS / _mean_pixels(store))))
    cluster = joined(clusters(store), pairs)
    cross = _balanced(store, np.arange(len(store)), n_images, rng)
    own = np.flatnonzero(store.split == "test")
    wanted = own if test is None else test
    name = "the data's own test part" if np.array_equal(wanted, own) else "the detector's test part"
    rest = np.flatnonzero(~np.isin(cluster, cluster[wanted]))
    train, tested = (_balanced(store, part, n_images, rng) for part in (rest, wanted))
    if min(len(train), len(tested)) < 2 * MIN_PER_CLASS:
        train, tested, name = np.array([], np.int64), np.array([], np.int64), ""
    return Sample(cross, _folds(cluster[cross], store.is_fake[cross], rng), train, tested, test_name=name)


def joined(cluster: Positions, pairs: Sequence[Pair]) -> Positions:
    """Return clusters in which both images of every pair are together, directly or through others.

    Args:
        cluster: int64, shape (n,), one number per image.
        pairs: Of those images.

    Raises:
        MissingExtraError: scipy is not installed.

    Example:
        >>> joined(np.array([0, 0, 1, 2]), [Pair(1, 3, "near", "", 0.1)]).tolist()
        [0, 0, 1, 0]
    """
    if not pairs:
        return cluster
    try:
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components
    except ImportError as error:
        raise missing_extra("train", "scipy") from error
    first, second = cluster[np.array([(pair.first, pair.second) for pair in pairs])].T
    n_clusters = int(cluster.max()) + 1
    graph = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(n_clusters, n_clusters))
    name = connected_components(graph, directed=False)[1]
    together: Positions = name[cluster].astype(np.int64)
    return together


def _mean_pixels(store: Store) -> float:
    return float((np.minimum(store.height, CROP).astype(np.int64) * np.minimum(store.width, CROP)).mean())


def _balanced(store: Store, positions: Positions, n_images: int, rng: np.random.Generator) -> Positions:
    is_fake = store.is_fake[positions]
    parts = [rng.permutation(positions[is_fake == label]) for label in (False, True)]
    n = min(n_images // 2, *map(len, parts))
    return np.sort(np.concatenate([part[:n] for part in parts]))


def _folds(cluster: Positions, is_fake: np.ndarray, rng: np.random.Generator) -> Positions:
    """Deal whole clusters out to the folds, in random order, those of real images first: every fold gets its share of both.

    The largest come first, so that few large groups end in different folds too.
    """
    names, first, member, sizes = np.unique(cluster, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(names)), is_fake[first], -sizes))
    fold_of = np.empty(len(names), np.int64)
    fold_of[order] = np.arange(len(names)) % N_FOLDS
    return fold_of[member]
