"""All duplicates of a set of data: listed, counted by part and label, and what they do to a detector's score."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from fauxto.audit.duplicates import EQUAL, LIMITS, NEAR, DuplicateReport, Pair, PairCount
from fauxto.audit.effect import ScoreEffect
from fauxto.data.store import Store

INSIDE, ACROSS = "inside a part", "across parts"
SAME, OTHER = "same label", "other label"
COLUMNS = ("first", "second", "first_split", "second_split", "first_label", "second_label", "kind", "change", "distance")
_COUNTED = (
    "n_equal_groups", "n_equal_images", "n_near_pairs", "n_with_both_labels", "n_near_other_label", "n_not_compared",
)  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """One pair as it stands in the list.

    Attributes:
        first: Path of the image that comes first in the data; so are split ("" where the data name none) and label.
        second: Path of the other.
        first_split: Such as "train".
        second_split: Likewise.
        first_label: "real" or "fake".
        second_label: Likewise.
        kind: "equal" or "near".
        change: As in ``Pair``.
        distance: As in ``Pair``.
    """

    first: str
    second: str
    first_split: str
    second_split: str
    first_label: str
    second_label: str
    kind: str
    change: str
    distance: float


@dataclass(frozen=True, eq=False)
class Repeats:
    """What repeats, for a reader who does not know the positions of a store.

    Attributes:
        found: As the search gave it.
        listed: One entry for each of its pairs, in the same order.
        effects: What leaving the known images out does to a detector's score; empty without a detector, or where it is
            asked about none that stands elsewhere too.
    """

    found: DuplicateReport
    listed: tuple[Listed, ...]
    effects: tuple[ScoreEffect, ...] = ()

    @property
    def n_pairs(self) -> dict[str, int]:
        """Kind of duplicate to number of pairs listed."""
        return dict(Counter(pair.kind for pair in self.listed))

    def to_dict(self) -> dict[str, Any]:
        """Return counts and effects as plain values, ready for JSON; the pairs stand in duplicates.csv."""
        return {
            **{name: getattr(self.found, name) for name in _COUNTED},
            "counts": [asdict(count) for count in self.found.counts],
            "summary": summary(self.found.counts),
            "effects": [effect.to_dict() for effect in self.effects],
            "limits": dict(LIMITS),
        }


def list_pairs(store: Store, pairs: Iterable[Pair]) -> tuple[Listed, ...]:
    """Return each pair with both images' paths, splits and labels."""
    path, split = store.path.tolist(), store.split.tolist()
    label = ["fake" if is_fake else "real" for is_fake in store.is_fake.tolist()]
    return tuple(
        Listed(
            path[pair.first], path[pair.second], split[pair.first], split[pair.second], label[pair.first], label[pair.second],
            pair.kind, pair.change, pair.distance,
        )
        for pair in pairs
    )  # fmt: skip


def duplicates_csv(listed: Iterable[Listed]) -> str:
    """Return the list as CSV, one line for each pair."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for pair in listed:
        writer.writerow([*(getattr(pair, name) for name in COLUMNS[:-1]), f"{pair.distance:.4f}"])
    return text.getvalue()


def summary(counts: Iterable[PairCount]) -> dict[str, dict[str, dict[str, int]]]:
    """Sum up the pairs of each kind: inside a part or across, under the same label or another.

    Example:
        >>> summary([PairCount("near", ("test", "train"), ("real", "fake"), 3)])["near"]["across parts"]
        {'same label': 0, 'other label': 3}
    """
    found = {kind: {where: dict.fromkeys((SAME, OTHER), 0) for where in (INSIDE, ACROSS)} for kind in (EQUAL, NEAR)}
    for count in counts:
        where = INSIDE if count.splits[0] == count.splits[1] else ACROSS
        found[count.kind][where][SAME if count.labels[0] == count.labels[1] else OTHER] += count.n_pairs
    return found


def by_parts(counts: Iterable[PairCount]) -> list[tuple[tuple[str, str], dict[str, dict[str, int]]]]:
    """Return one row for each two parts that share pairs, those inside a part first: kind to "same label" and "other label"."""
    rows: dict[tuple[str, str], list[PairCount]] = {}
    for count in counts:
        rows.setdefault(count.splits, []).append(count)
    parts = sorted(rows, key=lambda splits: (splits[0] != splits[1], splits))
    found = []
    for splits in parts:
        cells = {kind: dict.fromkeys((SAME, OTHER), 0) for kind in (EQUAL, NEAR)}
        for count in rows[splits]:
            cells[count.kind][SAME if count.labels[0] == count.labels[1] else OTHER] += count.n_pairs
        found.append((splits, cells))
    return found
