"""Which images show the same picture, however many copies there are: the finder's pairs, read picture by picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

from fauxto.audit.duplicates import Pair
from fauxto.data.store import Store

EQUAL = "equal"
Shown = dict[tuple[int, int], int]  # picture and label -> position of an image that shows it


class Twins:
    """Pictures of a store.

    The finder gives each further copy with the first one, and near pairs between first copies only; here any two copies are
    twins.
    """

    def __init__(self, store: Store, pairs: Iterable[Pair]) -> None:
        self.store = store
        _, picture = np.unique(store.pixel_hash, return_inverse=True)
        self.picture: list[int] = picture.tolist()
        self.label: list[int] = store.label.tolist()
        self.near = tuple(pair for pair in pairs if pair.kind != EQUAL)
        self._near: dict[int, list[tuple[int, Pair]]] = {}
        for pair in self.near:
            first, second = self.picture[pair.first], self.picture[pair.second]
            self._near.setdefault(first, []).append((second, pair))
            self._near.setdefault(second, []).append((first, pair))

    def add(self, shown: Shown, at: int) -> None:
        """Note that an image is among those shown; the first of a picture counts."""
        shown.setdefault((self.picture[at], self.label[at]), at)

    def all_of(self, positions: Iterable[int]) -> Shown:
        """Return what these images show."""
        shown: Shown = {}
        for at in positions:
            self.add(shown, at)
        return shown

    def find(self, at: int, shown: Mapping[tuple[int, int], int]) -> Pair | None:
        """Return an image's pair with one of the same label that is shown already, an equal one if there is one; or None."""
        label = self.label[at]
        twin = shown.get((self.picture[at], label))
        if twin is not None:
            return _pair(at, twin, EQUAL, "", 0.0)
        for picture, pair in self._near.get(self.picture[at], ()):
            twin = shown.get((picture, label))
            if twin is not None:
                return _pair(at, twin, pair.kind, pair.change, pair.distance)
        return None

    @cached_property
    def contradicting(self) -> dict[int, int]:
        """Images whose picture has both labels, each with the first image of the other label."""
        shown = self.all_of(range(len(self.label)))
        both = {picture for picture, label in shown if (picture, 1 - label) in shown}
        return {
            at: shown[(picture, 1 - label)]
            for at, (picture, label) in enumerate(zip(self.picture, self.label, strict=True))
            if picture in both
        }


def _pair(one: int, other: int, kind: str, change: str, distance: float) -> Pair:
    return Pair(min(one, other), max(one, other), kind, change, distance)
