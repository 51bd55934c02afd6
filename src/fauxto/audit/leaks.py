"""What duplicates and groups mean: test images known from training, pictures counted twice, contradicting labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fauxto.audit.duplicates import EQUAL_OR_NEAR, Pair
from fauxto.audit.findings import Finding
from fauxto.audit.pairs import caption, pair_sheet
from fauxto.audit.twins import EQUAL, Shown, Twins
from fauxto.data.splits import Positions
from fauxto.data.store import Store

SHOWN_PAIRS = 8
VARIED = "of each kind of change in turn"
CLEAN = "'fauxto data clean' writes a manifest without them; nothing is deleted"
OR_GROUP = "equal, near or of one group"
MANY_INSIDE = 0.01  # share of images that are doubled inside a part, from which on it is more than a note


@dataclass(frozen=True, eq=False)
class Leaks:
    """Positions in a store.

    Attributes:
        held_out: The part that measures: "test", or "val" of data that have no test part.
        known_test: Images of that part that stand, with the same label, in the data's own training (or validation) part.
        known_equal: Those of them whose pixels are equal.
        across: One pair for each of ``known_test``.
        inside: One pair for each image that repeats an earlier one of its part and label.
        contradicting: Pairs of equal pixels and different labels, to show.
        n_contradicting: How many images have equal pixels under the other label.
        alike: Pairs of different labels that are near, but not equal.
        group_test: Images of the part that measures whose named group also stands in the training (or validation) part.
        known_val: One pair for each validation image that stands in train; empty where that is the part that measures.
    """

    held_out: str
    known_test: Positions
    known_equal: Positions
    across: tuple[Pair, ...]
    inside: tuple[Pair, ...]
    contradicting: tuple[Pair, ...]
    n_contradicting: int
    alike: tuple[Pair, ...]
    group_test: Positions
    known_val: tuple[Pair, ...]


def find_leaks(store: Store, twins: Twins) -> Leaks:
    """Say what the twins mean for the parts and labels of the data."""
    part = store.split.tolist()
    held_out = "test" if "test" in part else "val"
    known = _known_in(twins, part, held_out, {"train", "val"} - {held_out})
    equal = [at for at, pair in known.items() if pair.kind == EQUAL]
    wrong = [Pair(at, twin, EQUAL, "", 0.0) for at, twin in twins.contradicting.items() if at < twin]
    return Leaks(
        held_out=held_out, known_test=np.array(list(known), np.int64), known_equal=np.array(equal, np.int64),
        across=tuple(known.values()), inside=_inside_parts(twins, part), contradicting=tuple(wrong),
        n_contradicting=len(twins.contradicting),
        alike=tuple(pair for pair in twins.near if store.label[pair.first] != store.label[pair.second]),
        group_test=_group_images(store, held_out),
        known_val=tuple(_known_in(twins, part, "val", {"train"}).values()) if held_out == "test" else (),
    )  # fmt: skip


def _known_in(twins: Twins, part: Sequence[str], asked: str, known: set[str]) -> dict[int, Pair]:
    """Return the images of one part that others show too, each with its pair."""
    shown = twins.all_of(at for at, name in enumerate(part) if name in known)
    return {at: pair for at, name in enumerate(part) if name == asked and (pair := twins.find(at, shown)) is not None}


def known_outside(store: Store, twins: Twins, positions: Positions) -> dict[str, Positions]:
    """Return those of ``positions`` that repeat, with the same label, an image which is not among them, or share its group.

    Args:
        store: All images.
        twins: Of that store.
        positions: A test part.

    Returns:
        In words how they are known -> positions; each entry holds those of the one before. There is one for groups only where
        the others have named groups.
    """
    outside = np.setdiff1d(np.arange(len(store)), positions)
    others, groups = twins.all_of(outside.tolist()), set(store.group[outside].tolist()) - {""}
    found = {at: pair for at in positions.tolist() if (pair := twins.find(at, others)) is not None}
    known = {EQUAL: [at for at, pair in found.items() if pair.kind == EQUAL], EQUAL_OR_NEAR: list(found)}
    if groups:
        known[OR_GROUP] = [at for at in positions.tolist() if at in found or store.group[at] in groups]
    return {words: np.array(at, np.int64) for words, at in known.items()}


def _inside_parts(twins: Twins, part: Sequence[str]) -> tuple[Pair, ...]:
    """Return one pair for each image that repeats an earlier one of its part and label."""
    shown: dict[str, Shown] = {name: {} for name in set(part)}
    found = []
    for at, name in enumerate(part):
        pair = twins.find(at, shown[name])
        if pair is not None:
            found.append(pair)
        twins.add(shown[name], at)
    return tuple(found)


def leak_findings(store: Store, leaks: Leaks) -> Iterator[Finding]:
    """Say what was found; nothing where nothing was."""
    n_test = int((store.split == leaks.held_out).sum())
    if len(leaks.known_test):
        yield _known_test(store, leaks, n_test)
    if len(leaks.group_test):
        yield Finding(
            "group-on-two-sides", "leak",
            f"{_images(len(leaks.group_test), f'{leaks.held_out} image')} of a group that also stands in train",
            f"{len(leaks.group_test):,} of {n_test:,} {leaks.held_out} images belong to a named group (one photograph's crops, "
            "one film's frames) that the training part has too. What is learnt of the group helps in the test.",
            f"Keep each group in one part; {CLEAN}.",
            {"n_test": n_test, "n_images": len(leaks.group_test)},
        )  # fmt: skip
    if leaks.known_val:
        yield _known_val(store, leaks.known_val)
    if leaks.contradicting:
        yield _contradicting(store, leaks.contradicting, leaks.n_contradicting)
    if leaks.inside:
        yield _inside(store, leaks.inside)
    if leaks.alike:
        yield Finding(
            "alike-across-labels", "note", f"real and fake images look alike: {len(leaks.alike):,} times",
            f"So often a real and a fake image are nearly the same picture ({len(leaks.alike):,}): fakes made from those very "
            "photographs, or a label that is wrong.",
            "Look at the pairs. Where fakes are made from photographs, give both the same group in a manifest, so that they stay "
            "on one side of a split.",
            {"n_pairs": len(leaks.alike)}, leaks.alike[:SHOWN_PAIRS], _pictures(store, leaks.alike[:SHOWN_PAIRS]),
            caption(min(SHOWN_PAIRS, len(leaks.alike)), len(leaks.alike), "nearest first"),
        )  # fmt: skip


def _known_test(store: Store, leaks: Leaks, n_test: int) -> Finding:
    n, n_equal = len(leaks.known_test), len(leaks.known_equal)
    shown = _varied(leaks.across)
    others = "the training or validation part" if leaks.held_out == "test" else "the training part"
    by_label = {name: int((store.is_fake[leaks.known_test] == (name == "fake")).sum()) for name in ("real", "fake")}
    return Finding(
        "test-in-train", "leak", f"{_images(n, f'{leaks.held_out} image')} also in train",
        f"{n:,} of {n_test:,} {leaks.held_out} images ({100 * n / n_test:.2f} %) also stand in {others} with the same label: "
        f"{n_equal:,} with equal pixels, {n - n_equal:,} nearly equal. {by_label['real']:,} are real and {by_label['fake']:,} "
        "fake. A detector can know their answer by heart.",
        f"Measure without them, or train without their twins; {CLEAN}.",
        {"n_test": n_test, "n_images": n, "n_equal": n_equal, "n_near": n - n_equal, **by_label}, shown, _pictures(store, shown),
        caption(len(shown), n, VARIED),
    )  # fmt: skip


def _known_val(store: Store, pairs: Sequence[Pair]) -> Finding:
    shown, n_near = _varied(pairs), sum(pair.kind != EQUAL for pair in pairs)
    return Finding(
        "val-in-train", "warning", f"{_images(len(pairs), 'val image')} also in train",
        f"{len(pairs):,} validation images also stand in the training part with the same label, {n_near:,} of them nearly equal. "
        "The epoch, the threshold and the calibration that they choose flatter what was learnt by heart.",
        f"Leave them out of train; {CLEAN}.",
        {"n_images": len(pairs), "n_near": n_near}, shown, _pictures(store, shown), caption(len(shown), len(pairs), VARIED),
    )  # fmt: skip


def _contradicting(store: Store, pairs: Sequence[Pair], n: int) -> Finding:
    shown = tuple(pairs[:SHOWN_PAIRS])
    return Finding(
        "contradicting-labels", "warning", f"{_images(n, 'image')} with both labels",
        f"{n:,} images have equal pixels and are called real in one place and fake in another. One of them "
        "is wrong.",
        f"Mend the labels, or leave these images out; {CLEAN}.",
        {"n_images": n}, shown, _pictures(store, shown), caption(len(shown), len(pairs), "in the order of the data"),
    )  # fmt: skip


def _inside(store: Store, pairs: Sequence[Pair]) -> Finding:
    share = len(pairs) / len(store)
    n_near = sum(pair.kind != EQUAL for pair in pairs)
    shown = _varied(pairs)
    has_no_parts = bool((store.split == "").all())
    extra = " These data have no parts of their own: a random split may put twins on two sides." if has_no_parts else ""
    return Finding(
        "doubled", "warning" if share >= MANY_INSIDE or has_no_parts else "note",
        f"{_images(len(pairs), 'image')} more than once",
        f"{len(pairs):,} images ({100 * share:.2f} %) repeat an earlier one of the same part and label, {n_near:,} of them "
        f"nearly equal. They count more than once, in training and in a score.{extra}",
        f"Keep each picture once; {CLEAN}.",
        {"n_images": len(pairs), "n_near": n_near}, shown, _pictures(store, shown), caption(len(shown), len(pairs), VARIED),
    )  # fmt: skip


def _pictures(store: Store, pairs: Sequence[Pair]) -> tuple[bytes, ...]:
    return tuple(pair_sheet(store, (pair,)) for pair in pairs)


def _varied(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return some pairs to show: of each kind of change in turn."""
    by_change: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        by_change.setdefault((pair.kind, pair.change), []).append(pair)
    turns = [queue[turn] for turn in range(SHOWN_PAIRS) for queue in by_change.values() if turn < len(queue)]
    return tuple(turns[:SHOWN_PAIRS])


def _group_images(store: Store, held_out: str) -> Positions:
    test = np.flatnonzero((store.split == held_out) & (store.group != ""))
    known = store.group[np.isin(store.split, ("train", "val")) & (store.split != held_out) & (store.group != "")]
    known_test: Positions = test[np.isin(store.group[test], known)]
    return known_test


def _images(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"
