"""Splits that are stratified, seeded, and never put equal pixels or one group on two sides."""

from __future__ import annotations

import hashlib
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
    if store.is_fake.all() or not store.is_fake.any():
        only, other = ("fake", "real") if store.is_fake.all() else ("real", "fake")
        raise DataError(f"all {len(store)} images are {only}: add a folder of {other} ones, nothing can be learnt from one class")
    cluster = clusters(store)
    strata = _strata(store)
    divide = _official if config.split == "official" else _drawn
    split = divide(store, config, cluster, strata)
    _check_both_classes(store, split)
    return split


def fingerprint(store: Store, positions: Positions) -> str:
    """Return a SHA-256 over the pixels at some positions, whatever their order: it tells one test part from another."""
    return hashlib.sha256(b"".join(sorted(store.pixel_hash[positions].tolist()))).hexdigest()


def clusters(store: Store) -> Positions:
    """Return one number per image; images that share pixels or a group, directly or through others, share it.

    Returns:
        int64, shape (n,).
    """
    n_images = len(store)
    _, cluster = np.unique(store.pixel_hash, return_inverse=True)
    if not (store.group != "").any():
        return cluster.astype(np.int64)
    named = np.where(store.group == "", np.char.add("\0", np.arange(n_images).astype(str)), store.group)
    _, by_group = np.unique(named, return_inverse=True)
    while True:  # spread the smallest number through pixels and groups until nothing moves
        merged = _smallest_within(_smallest_within(cluster, by_group), cluster)
        if np.array_equal(merged, cluster):
            return cluster.astype(np.int64)
        cluster = merged


def draw(positions: Positions, n_images: int, *, cluster: Positions, strata: Positions, seed: int) -> Positions:
    """Return a stratified part of ``positions`` made of whole clusters, sorted.

    Args:
        positions: Where to draw from.
        n_images: Wanted size; where clusters are large, the nearest that whole clusters give.
        cluster: One number per image of the store.
        strata: One number per image of the store; a cluster counts as the stratum of one of its images, drawn by chance.
        seed: Same seed, same part.

    Example:
        >>> everything, alone, kind = np.arange(6), np.arange(6), np.array([0, 0, 0, 0, 1, 1])
        >>> kind[draw(everything, 3, cluster=alone, strata=kind, seed=0)].tolist()
        [0, 0, 1]
    """
    if not len(positions):
        return positions
    order = np.random.default_rng(seed).permutation(positions)
    _, first = np.unique(cluster[order], return_index=True)
    heads = order[np.sort(first)]
    sizes = np.bincount(cluster[positions], minlength=int(cluster.max()) + 1)[cluster[heads]]
    kinds, kind = np.unique(strata[heads], return_inverse=True)
    quotas = _quotas(np.bincount(kind, weights=sizes).astype(np.int64), n_images)
    taken, missing = [], 0
    for at in range(len(kinds)):
        members, member_sizes = heads[kind == at], sizes[kind == at]
        chosen = _filling(member_sizes, max(0, int(quotas[at]) + missing))  # what one stratum could not give, the next may
        missing += int(quotas[at] - member_sizes[chosen].sum())
        taken.append(members[chosen])
    return np.sort(positions[np.isin(cluster[positions], cluster[np.concatenate(taken)])])


def _official(store: Store, config: TrainConfig, cluster: Positions, strata: Positions) -> Split:
    test, own_train, own_val = (np.flatnonzero(store.split == part) for part in ("test", "train", "val"))
    if not len(test) or not len(own_train):
        raise DataError("these data have no train and test part of their own: use --split notebook, which draws them")
    seen = np.isin(store.pixel_hash[test], store.pixel_hash[np.concatenate([own_train, own_val])])
    val = own_val[~np.isin(cluster[own_val], cluster[test])]
    pool = own_train[~np.isin(cluster[own_train], cluster[np.concatenate([test, val])])]
    n_left_out = len(own_train) + len(own_val) - len(pool) - len(val)
    train, val = _training_part(pool, val, config, cluster, strata)
    return Split(train, val, test, test[~seen], n_left_out)


def _drawn(store: Store, config: TrainConfig, cluster: Positions, strata: Positions) -> Split:
    everything = np.arange(len(store))
    test = draw(everything, round(config.test_share * len(everything)), cluster=cluster, strata=strata, seed=config.drawn_by)
    pool = np.setdiff1d(everything, test)
    train, val = _training_part(pool, np.array([], np.int64), config, cluster, strata)
    return Split(train, val, test, test, 0)


def _training_part(
    pool: Positions, val: Positions, config: TrainConfig, cluster: Positions, strata: Positions
) -> tuple[Positions, Positions]:
    """Take the subset that was asked for, then draw the validation part from it unless the data bring their own."""
    n_wanted = round(config.subset * len(pool))
    n_wanted = min(n_wanted, config.limit) if config.limit else n_wanted
    if n_wanted < len(pool):
        pool = draw(pool, n_wanted, cluster=cluster, strata=strata, seed=config.drawn_by + 1)
    if not len(val):
        val = draw(pool, round(config.validation_share * len(pool)), cluster=cluster, strata=strata, seed=config.drawn_by + 2)
    return np.setdiff1d(pool, val), val


def _quotas(sizes: Positions, n_images: int) -> Positions:
    """Share ``n_images`` among strata in proportion to their sizes, by largest remainder, so that the sum is exact."""
    total = int(sizes.sum())
    whole, rest = np.divmod(sizes * min(n_images, total), total)
    n_left = min(n_images, total) - int(whole.sum())
    whole[np.argsort(-rest, kind="stable")[:n_left]] += 1
    return whole


def _filling(sizes: Positions, quota: int) -> Positions:
    """Return which clusters, in their order, sum up to ``quota`` images, or as near as they come."""
    after = np.cumsum(sizes)
    n_first = int(np.searchsorted(after, quota, side="right"))
    taken = list(range(n_first))
    left = quota - int(after[n_first - 1]) if n_first else quota
    for at in range(n_first, len(sizes)):
        if not left:
            break
        if sizes[at] <= left:
            taken.append(at)
            left -= int(sizes[at])
    others = np.setdiff1d(np.arange(len(sizes)), taken)
    if left and len(others):
        smallest = others[np.argmin(sizes[others])]
        if sizes[smallest] - left < left:  # one too many is nearer than one too few
            taken.append(int(smallest))
    return np.array(taken, np.int64)


def _strata(store: Store) -> Positions:
    kind = np.char.add(store.label.astype(str), store.generator)
    return np.unique(kind, return_inverse=True)[1].astype(np.int64)


def _smallest_within(values: Positions, groups: Positions) -> Positions:
    smallest = np.full(int(groups.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, groups, values)
    return smallest[groups]


def _check_both_classes(store: Store, split: Split) -> None:
    for name in ("train", "validation", "test"):
        labels = store.is_fake[getattr(split, name)]
        if not labels.any() or labels.all():
            counts = f"{int(labels.sum())} fake and {int((~labels).sum())} real"
            raise DataError(
                f"the {name} part holds {counts} images, but both classes are needed: "
                "give other data, or a larger --limit or --subset"
            )
