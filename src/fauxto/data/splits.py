"""Splits that are stratified, seeded, and never put equal pixels or one group on two sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fauxto.config import TrainConfig
from fauxto.data.store import Store
from fauxto.errors import DataError

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Positions in a store; each array is sorted and no two share an image, its pixels or its group.

    Attributes:
        train: What the network sees.
        validation: What picks the epoch and the calibration.
        test: What measures, and nothing else.
        test_unseen: The part of ``test`` whose pixels occur nowhere in the data's own training part.
        n_left_out: Training images left out because their pixels or group also stand in the test or validation part.
    """

    train: Positions
    validation: Positions
    test: Positions
    test_unseen: Positions
    n_left_out: int


def make_split(store: Store, config: TrainConfig) -> Split:
    """Split a store as the configuration says.

    Raises:
        DataError: The data have no test part of their own, or a part would lack one of the two classes.
    """
    cluster = clusters(store)
    strata = _strata(store)
    if config.split == "official":
        split = _official(store, config, cluster, strata)
    else:
        split = _drawn(config, cluster, strata)
    _check_both_classes(store, split)
    return split


def clusters(store: Store) -> Positions:
    """Return one number per image; images that share pixels or a group, directly or through others, share it.

    Returns:
        int64, shape (n,).
    """
    n_images = len(store)
    _, cluster = np.unique(store.pixel_hash, return_inverse=True)
    group = np.array([record.group for record in store.records])
    if not (group != "").any():
        return cluster.astype(np.int64)
    named = np.where(group == "", np.char.add("\0", np.arange(n_images).astype(str)), group)
    _, by_group = np.unique(named, return_inverse=True)
    while True:  # spread the smallest number through pixels and groups until nothing moves
        merged = _smallest_within(_smallest_within(cluster, by_group), cluster)
        if np.array_equal(merged, cluster):
            return cluster.astype(np.int64)
        cluster = merged


def draw(positions: Positions, share: float, *, cluster: Positions, strata: Positions, seed: int) -> Positions:
    """Return a stratified part of ``positions`` made of whole clusters, sorted.

    Args:
        positions: Where to draw from.
        share: Wanted share of every stratum, in [0, 1].
        cluster: One number per image of the store.
        strata: One number per image of the store.
        seed: Same seed, same part.
    """
    order = np.random.default_rng(seed).permutation(positions)
    _, first = np.unique(cluster[order], return_index=True)
    heads = order[np.sort(first)]
    size_of = np.bincount(cluster[positions], minlength=int(cluster.max()) + 1)
    taken: list[Positions] = []
    for stratum in np.unique(strata[heads]):
        members = heads[strata[heads] == stratum]
        sizes = size_of[cluster[members]]
        before = np.cumsum(sizes) - sizes
        taken.append(cluster[members[before + sizes / 2 <= share * sizes.sum()]])
    chosen = np.isin(cluster[positions], np.concatenate(taken)) if taken else np.zeros(len(positions), bool)
    return np.sort(positions[chosen])


def _official(store: Store, config: TrainConfig, cluster: Positions, strata: Positions) -> Split:
    name = np.array([record.split for record in store.records])
    test, own_train, own_val = (np.flatnonzero(name == part) for part in ("test", "train", "val"))
    if not len(test) or not len(own_train):
        raise DataError("these data have no train and test part of their own: use --split notebook, which draws them")
    seen = np.isin(store.pixel_hash[test], store.pixel_hash[np.concatenate([own_train, own_val])])
    val = own_val[~np.isin(cluster[own_val], cluster[test])]
    pool = own_train[~np.isin(cluster[own_train], cluster[np.concatenate([test, val])])]
    n_left_out = len(own_train) + len(own_val) - len(pool) - len(val)
    train, val = _training_part(pool, val, config, cluster, strata)
    return Split(train, val, test, test[~seen], n_left_out)


def _drawn(config: TrainConfig, cluster: Positions, strata: Positions) -> Split:
    everything = np.arange(len(cluster))
    test = draw(everything, config.test_share, cluster=cluster, strata=strata, seed=config.seed)
    pool = np.setdiff1d(everything, test)
    train, val = _training_part(pool, np.array([], np.int64), config, cluster, strata)
    return Split(train, val, test, test, 0)


def _training_part(
    pool: Positions, val: Positions, config: TrainConfig, cluster: Positions, strata: Positions
) -> tuple[Positions, Positions]:
    """Take the subset that was asked for, then draw the validation part from it unless the data bring their own."""
    share = min(config.subset, config.limit / len(pool) if config.limit else 1.0)
    if share < 1:
        pool = draw(pool, share, cluster=cluster, strata=strata, seed=config.seed + 1)
    if not len(val):
        val = draw(pool, config.validation_share, cluster=cluster, strata=strata, seed=config.seed + 2)
    return np.setdiff1d(pool, val), val


def _strata(store: Store) -> Positions:
    kind = np.array([f"{int(record.label)} {record.generator}" for record in store.records])
    return np.unique(kind, return_inverse=True)[1].astype(np.int64)


def _smallest_within(values: Positions, groups: Positions) -> Positions:
    smallest = np.full(int(groups.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, groups, values)
    return smallest[groups]


def _check_both_classes(store: Store, split: Split) -> None:
    is_fake = store.is_fake
    for name in ("train", "validation", "test"):
        labels = is_fake[getattr(split, name)]
        if not labels.any() or labels.all():
            counts = f"{int(labels.sum())} fake and {int((~labels).sum())} real"
            raise DataError(f"the {name} part holds {counts} images, but both classes are needed: give more or other data")
