"""Which images to leave out so that no leak stays, and the manifest without them: ``fauxto data clean``."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fauxto.audit.duplicates import Pair
from fauxto.audit.twins import EQUAL, Shown, Twins
from fauxto.data.layouts import safe_name
from fauxto.data.sources import Source
from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.errors import DataError
from fauxto.runs import write_text

CONTRADICTS, IN_TEST, IN_VAL, GROUP, GROUP_VAL, DOUBLED, UNREADABLE, UNWRITABLE = (
    "contradicting labels", "stands in test", "stands in val", "group stands in test", "group stands in val", "doubled",
    "unreadable", "a name that a manifest cannot hold",
)  # fmt: skip
_RANK = {"test": 0, "val": 1}  # whose images stay where a picture stands in two parts; train and no part come last


@dataclass(frozen=True)
class LeftOut:
    """An image that is left out.

    Attributes:
        path: Its place in the data.
        reason: One of this module's.
        twin: Path of the image because of which; empty if there is none.
        change: How the two differ, such as "equal" or "near: flipped".
    """

    path: str
    reason: str
    twin: str = ""
    change: str = ""


@dataclass(frozen=True, eq=False)
class Cleaning:
    """What stays and what goes.

    Attributes:
        kept: Positions in the store, sorted.
        left_out: One entry per image that goes; the unreadable ones too.
    """

    kept: Positions
    left_out: tuple[LeftOut, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Reason to number of images, the most frequent first."""
        return dict(Counter(item.reason for item in self.left_out).most_common())


def clean(store: Store, pairs: Sequence[Pair], *, equal_only: bool = False) -> Cleaning:
    """Choose the images that stay.

    Equal pixels under both labels all go. Of a picture that stands, equally or nearly, in two parts, the test image stays, then
    the one of val. Of pictures that stand twice in one part the first stays. Training and validation images whose named group is
    also in test (without a test part: in val) go. Pairs of a real and a fake image that are nearly alike stay: fakes are made
    from photographs.

    Args:
        store: All images.
        pairs: As found in the store.
        equal_only: Leave nearly equal images alone.

    Raises:
        DataError: Nothing would stay of a class.
    """
    out: dict[int, LeftOut] = {}
    twins = Twins(store, () if equal_only else pairs)
    for at, twin in twins.contradicting.items():
        out[at] = LeftOut(str(store.path[at]), CONTRADICTS, str(store.path[twin]), EQUAL)
    held_out, reason = ("test", GROUP) if (store.split == "test").any() else ("val", GROUP_VAL)
    for at in _of_groups_in(store, held_out).tolist():
        out.setdefault(at, LeftOut(str(store.path[at]), reason))
    for at, (path, *words) in enumerate(zip(store.path.tolist(), store.generator.tolist(), store.group.tolist(), strict=True)):
        if safe_name(path.strip()) != path or not all(map(_is_text, (path, *words))):
            out[at] = LeftOut(path, UNWRITABLE)
    _leave_twins(store, twins, out)
    kept = np.setdiff1d(np.arange(len(store)), list(out))
    if not len(kept) or len(np.unique(store.label[kept])) < len(np.unique(store.label)):
        raise DataError("nothing would stay of a class: look at the audit before cleaning, the labels contradict each other")
    broken = [LeftOut(path, UNREADABLE, change=reason) for path, reason in store.broken]
    return Cleaning(kept, (*(out[at] for at in sorted(out)), *broken))


def write_manifest(source: Source, store: Store, cleaning: Cleaning, out: Path) -> Path:
    """Write the manifest and, beside it, NAME-left-out.csv.

    Args:
        source: Where the images are; the manifest names it, relative to its own folder.
        store: Decoded from it.
        cleaning: What stays.
        out: The manifest; replaced whole.

    Returns:
        The list of what was left out.

    Raises:
        DataError: The place of the images has a name that a manifest cannot hold.
    """
    root = os.path.relpath(source.root.resolve(), out.parent.resolve())
    if root.strip() != root or not _is_text(root):
        raise DataError(f"a manifest cannot hold the name {root!r}: rename that folder or archive, or write --out elsewhere")
    lines = [("path", "label", "generator", "group", "split", "root")]
    words = [column[cleaning.kept].tolist() for column in (store.path, store.generator, store.group, store.split)]
    labels = np.where(store.is_fake[cleaning.kept], "fake", "real").tolist()
    path, generator, group, split = words
    lines += zip(path, labels, generator, group, split, [root] * len(labels), strict=True)
    listed = list_beside(out)
    rows = [("path", "reason", "twin", "change")] + [(i.path, i.reason, i.twin, i.change) for i in cleaning.left_out]
    write_text(listed, _csv(rows))
    write_text(out, _csv(lines))
    return listed


def list_beside(out: Path) -> Path:
    """Return where the list of what was left out of a manifest is written."""
    return out.with_name(f"{out.stem}-left-out.csv")


def _leave_twins(store: Store, twins: Twins, out: dict[int, LeftOut]) -> None:
    """Go through the images, those of test first; one goes if it repeats one that stays."""
    rank = [_RANK.get(part, 2) for part in store.split.tolist()]
    stays: Shown = {}
    for at in sorted(range(len(store)), key=lambda at: rank[at]):
        if at in out:
            continue
        pair = twins.find(at, stays)
        if pair is None:
            twins.add(stays, at)
            continue
        twin = pair.second if pair.first == at else pair.first
        reason = DOUBLED if store.split[twin] == store.split[at] else {0: IN_TEST, 1: IN_VAL}.get(rank[twin], DOUBLED)
        out[at] = _left(store, at, reason, twin, pair)


def _left(store: Store, at: int, reason: str, twin: int, pair: Pair) -> LeftOut:
    change = f"{pair.kind}: {pair.change}" if pair.change and pair.kind != EQUAL else pair.kind
    return LeftOut(str(store.path[at]), reason, str(store.path[twin]), change)


def _is_text(word: str) -> bool:
    """Return whether a CSV file in UTF-8 holds a word: it has no control characters, and none that stand for stray bytes."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in word)


def _of_groups_in(store: Store, held_out: str) -> Positions:
    """Return training and validation images whose named group also stands in the part that measures."""
    is_held_out = store.split == held_out
    named = np.unique(store.group[is_held_out & (store.group != "")])
    return np.flatnonzero(np.isin(store.split, ("train", "val")) & ~is_held_out & np.isin(store.group, named))


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")
