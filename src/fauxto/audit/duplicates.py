"""Stand-in until the finder is merged: images with equal pixels only, by the same names."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from fauxto.data.info import enlarged
from fauxto.data.store import Store


@dataclass(frozen=True)
class Pair:
    """Two images that show the same picture; positions in the store, first < second."""

    first: int
    second: int
    kind: str
    change: str
    distance: float


@dataclass(frozen=True)
class DuplicateReport:
    """All pairs of a store, and the groups that they form."""

    pairs: tuple[Pair, ...]
    groups: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"pairs": [asdict(pair) for pair in self.pairs], "groups": [list(group) for group in self.groups]}


def find_duplicates(store: Store, *, progress: Callable[[int, int], None] | None = None) -> DuplicateReport:
    """Return the images whose pixels are equal."""
    order = np.argsort(store.pixel_hash, kind="stable")
    edges = np.flatnonzero(store.pixel_hash[order][1:] != store.pixel_hash[order][:-1]) + 1
    groups = [tuple(sorted(part.tolist())) for part in np.split(order, edges) if len(part) > 1]
    pairs = [
        Pair(group[i], group[j], "equal", "", 0.0)
        for group in groups
        for i in range(len(group))
        for j in range(i + 1, len(group))
    ]
    if progress:
        progress(len(store), len(store))
    return DuplicateReport(tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second))), tuple(sorted(groups)))


def pair_sheet(store: Store, pairs: Sequence[Pair]) -> bytes:
    """Return a PNG with the pairs side by side, enlarged."""
    side, gap = 96, 6
    sheet = Image.new("RGB", (2 * side + 3 * gap, max(1, len(pairs)) * (side + gap) + gap), "white")
    for row, pair in enumerate(pairs):
        for column, position in enumerate((pair.first, pair.second)):
            sheet.paste(enlarged(store.image(position), side=side), (gap + column * (side + gap), gap + row * (side + gap)))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
