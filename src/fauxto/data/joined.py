"""One data set out of several: a main one, and guests such as forged images or those of other generators."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fauxto.config import TrainConfig
from fauxto.data.splits import Split, clusters, draw, fingerprint, make_split
from fauxto.data.store import Store
from fauxto.errors import ConfigError, DataError

VERSION = 1
OWN = "own"  # the family of fakes whose generator nobody named
MOST = 6  # times the average share of guests' photographs, at which one of a small guest is cut
_COLUMNS = ("path", "label", "generator", "group", "split", "height", "width", "pixel_hash", "file_format", "file_bytes")


@dataclass(frozen=True, eq=False)
class Joined:
    """Several data sets as one.

    Attributes:
        store: In memory; its column ``split`` says what each image is there for, so that it is trained with split "official".
        weight: float64, (n,): how often a batch wants each image, so that its halves are photographs and fakes and that
            data sets, families in them and generators in these get their share however many images they have.
        parts: What a card says of each data set, by its name; the main one's is "". All have the content key "store" and the
            fingerprint "pixels"; the main one "test_part" and the "config" that splits it, a guest "divided", a digest that
            tells one division from another.
        members: The data sets as they were given.
    """

    store: Store
    weight: np.ndarray
    parts: Mapping[str, Mapping[str, Any]]
    members: tuple[Store, ...]

    def wanted(self, split: Split) -> np.ndarray:
        """Return how often a batch wants each training image: float64, (n,).

        Raises:
            DataError: A class has none that is wanted, as where ``main_share`` is 0 and a limit left no guest's image.
        """
        weight: np.ndarray = self.weight[split.train]
        is_fake = self.store.is_fake[split.train]
        for name, of_class in (("real", ~is_fake), ("fake", is_fake)):
            if not weight[of_class].any():
                raise DataError(
                    f"no {name} image is left to learn from: give more images, a higher limit, or a main_share above 0"
                )
        return weight

    def shares(self, split: Split) -> list[Share]:
        """Return what each data set has in a split of all together."""
        found, start = [], 0
        for member, told in zip(self.members, self.parts.values(), strict=True):
            at = (start, start + len(member))
            train, validation, test, unseen = (
                _within(part, *at) for part in (split.train, split.validation, split.test, split.test_unseen)
            )
            found.append(Share(member, Split(train, validation, test, unseen, split.n_left_out), told))
            start += len(member)
        return found


class Share(NamedTuple):
    """A data set of a run: the images, how they are divided, and what the card will say of it among others."""

    store: Store
    split: Split
    told: Mapping[str, Any]


def family_of(generator: str) -> str:
    """Return a generator's family: what stands before the first slash of its name.

    Example:
        >>> family_of("autoencoder/kl-f4-nearest"), family_of("ddim_alokia"), family_of("")
        ('autoencoder', 'ddim_alokia', 'own')
    """
    return generator.partition("/")[0] or OWN


def joined(main: Store, guests: Mapping[str, Store], config: TrainConfig) -> Joined:
    """Join guests to a data set for training.

    The main data are divided as the configuration says. Of a guest's images, those of a family in ``left_out`` validate, and so
    do photographs whose group is held out; all others train. Where a guest's group is the path of one of the main data's images,
    both show one picture, and stay on one side. What would stand on both sides is left out, also of the main data: a guest of
    whose pictures none is held out by then holds some back itself, and these are not learned anywhere else.

    Args:
        main: The data set that keeps its own test part.
        guests: Name of each, which goes before its images' paths, and its store.
        config: Split, ``validation_share``, ``main_share``, ``left_out`` and the seed of the draw.

    Raises:
        ConfigError: A left-out family is not there.
        DataError: The main data cannot be split.
    """
    _check_left_out(guests, config)
    own = _parts_of_main(main, config)
    pictures = {group for guest in guests.values() for group in guest.group.tolist()} - {""}
    group = np.where(np.isin(main.path, list(pictures)), main.path, main.group)
    side = {name: part for name, part in zip(group.tolist(), own.tolist(), strict=True) if name}
    parts_of = _parts_of_guests(guests, side, config)
    own = np.where((own == "train") & np.isin(group, [name for name, part in side.items() if part == "val"]), "", own)
    stores = [replace(main, group=group, split=own)]
    stores += [replace(guest, path=np.char.add(f"{name}/", guest.path), split=parts_of[name]) for name, guest in guests.items()]
    names = np.repeat(["", *guests], [len(store) for store in stores])
    store = _together(stores)
    parts = {"": _main_part(main, own, config)} | {
        name: {"store": some.folder.name, "pixels": _pixels(some), "divided": _digest(some.split.tolist())}
        for name, some in zip(guests, stores[1:], strict=True)
    }
    return Joined(store, _weights(store, names, config), parts, (main, *guests.values()))


def _main_part(main: Store, own: np.ndarray, config: TrainConfig) -> dict[str, Any]:
    """Say of the main data what a training on them alone says; its split needs no other keys."""
    decides = {key: getattr(config, key) for key in ("split", "validation_share", "test_share")} | {"split_seed": config.drawn_by}
    test_part = fingerprint(main, np.flatnonzero(own == "test"))
    return {"store": main.folder.name, "pixels": _pixels(main), "test_part": test_part, "config": decides}


def _pixels(store: Store) -> str:
    return fingerprint(store, np.arange(len(store)))


def _digest(about: object) -> str:
    return hashlib.sha256(str(about).encode()).hexdigest()


def _within(positions: np.ndarray, start: int, stop: int) -> np.ndarray:
    found: np.ndarray = positions[(positions >= start) & (positions < stop)] - start
    return found


def _parts_of_main(store: Store, config: TrainConfig) -> np.ndarray:
    split = make_split(store, replace(config, subset=1.0, limit=0))  # a smaller share is drawn from what is joined
    parts = np.full(len(store), "", dtype="<U5")
    for name, positions in (("train", split.train), ("val", split.validation), ("test", split.test)):
        parts[positions] = name
    return parts


def _parts_of_guests(guests: Mapping[str, Store], side: dict[str, str], config: TrainConfig) -> dict[str, np.ndarray]:
    """Return the parts of each guest; add to ``side``, of pictures, those that a guest holds back."""
    parts = {}
    for name, guest in guests.items():
        parts[name] = _parts_of_guest(guest, side, config)
        held = guest.group[~guest.is_fake & (parts[name] == "val")]
        side.update(dict.fromkeys((picture for picture in held.tolist() if picture), "val"))
    for name, guest in guests.items():  # one before may have learned what one after holds back
        is_held = (parts[name] == "train") & np.array(
            [side.get(picture) == "val" for picture in guest.group.tolist()], dtype=bool
        )
        parts[name] = np.where(is_held, np.where(guest.is_fake, "", "val"), parts[name])
    return parts


def _parts_of_guest(guest: Store, side: Mapping[str, str], config: TrainConfig) -> np.ndarray:
    """Return "train", "val" or "" for each image; the main data's test part is never joined by anything."""
    place = np.array([side.get(group, "train") if group else "train" for group in guest.group.tolist()])
    if not (place == "val").any():  # else what the main data hold back is enough
        place = np.where(_held_out(guest, config), "val", place)
    families = np.array([family_of(name) for name in guest.generator.tolist()])
    is_left_out = guest.is_fake & np.isin(families, config.left_out)
    # A fake that shows no photograph validates for its family's sake alone.
    validates = np.where(guest.is_fake, is_left_out & ((place == "val") | (guest.group == "")), place == "val")
    trains = (place == "train") & ~is_left_out
    return np.where(guest.split == "test", "", np.where(validates, "val", np.where(trains, "train", "")))


def _held_out(guest: Store, config: TrainConfig) -> np.ndarray:
    """Draw photographs, each with all that was made of it, for validation: bool, (n,)."""
    reals = np.flatnonzero(~guest.is_fake)
    cluster = clusters(guest)
    n_wanted = round(config.validation_share * reals.size)
    drawn = draw(reals, n_wanted, cluster=cluster, strata=np.zeros(len(guest), np.int64), seed=config.drawn_by)
    return np.isin(cluster, cluster[drawn])


def _weights(store: Store, names: np.ndarray, config: TrainConfig) -> np.ndarray:
    """Return how often each image is wanted, (n,)."""
    families = np.array([family_of(name) for name in store.generator.tolist()])
    weight = np.zeros(len(store))
    for is_fake in (False, True):
        chosen = (store.is_fake == is_fake) & (store.split == "train")
        own, others = chosen & (names == ""), chosen & (names != "")
        share = config.main_share if others.any() else 1.0
        weight[own] = 0.5 * share / max(1, own.sum())
        levels = (names, families, store.generator) if is_fake else (names,)
        alike = _alike(*(level[others] for level in levels), n=int(others.sum()))
        weight[others] = 0.5 * (1 - share) * (alike if is_fake else _capped(alike))
    return weight


def _capped(weight: np.ndarray) -> np.ndarray:
    """Cut the largest shares, then let all add up to 1 again: a guest with few photographs would teach these by heart."""
    capped = np.minimum(weight, MOST / max(1, weight.size))
    return capped / max(capped.sum(), 1e-12)  # type: ignore[no-any-return]


def _alike(*levels: np.ndarray, n: int) -> np.ndarray:
    """Return weights of sum 1 under which all names of a level are equally frequent within one name of the level above."""
    weight = np.full(n, 1.0)
    above = np.zeros(n, np.int64)
    for level in (*levels, np.arange(n)):
        _, kind = np.unique(level, return_inverse=True)
        pairs, here = np.unique(above * (kind.max(initial=0) + 1) + kind, return_inverse=True)
        first = np.zeros(pairs.size, np.int64)
        first[here] = above
        weight /= np.bincount(first, minlength=above.max(initial=0) + 1)[above]
        above = here
    return weight


def _check_left_out(guests: Mapping[str, Store], config: TrainConfig) -> None:
    known = {family_of(name) for guest in guests.values() for name in guest.generator[guest.is_fake].tolist()}
    for name in config.left_out:
        if name not in known:
            raise ConfigError(f"left_out: no guest has images of the family {name!r}; there are {', '.join(sorted(known))}")


def _together(stores: list[Store]) -> Store:
    columns = {name: np.concatenate([getattr(store, name) for store in stores]) for name in _COLUMNS}
    starts = np.cumsum([0, *(len(store._pixels) for store in stores[:-1])])
    offset = np.concatenate([store._offset + start for store, start in zip(stores, starts, strict=True)])
    pixels = np.concatenate([store._pixels for store in stores])
    key = _digest(f"{VERSION} {[store.folder.name for store in stores]} {columns['split'].tolist()}")
    broken = tuple(item for store in stores for item in store.broken)
    return Store(Path(key), **columns, broken=broken, _offset=offset, _pixels=pixels)
