"""A detector on sets of images, measured once each: ``fauxto evaluate DETECTOR --data DATA --out FOLDER``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxto.config import TrainConfig, from_mapping
from fauxto.data.splits import Positions, Split, fingerprint, make_split
from fauxto.data.store import Store
from fauxto.errors import DataError
from fauxto.metrics import all_metrics, confusion_intervals, reliability_bins, wilson
from fauxto.report import Column, GeneratorRow, ImageScores, Mistake, Report
from fauxto.runs import environment_record

if TYPE_CHECKING:
    from fauxto.detector import Detector

MISTAKES_PER_CLASS = 12
TEST, UNSEEN, EVERYTHING = "test", "test, unseen in train", "all images"


def evaluate(
    detector: Detector,
    store: Store,
    columns: Mapping[str, Positions],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    data: str = "",
    note: str = "",
    command: str = "",
    date: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measure a detector.

    Args:
        detector: Its card brings the threshold and the calibration; nothing here is fitted.
        store: Decoded images.
        columns: Name of each set -> positions in the store; the first is the headline. ``columns_for`` makes them.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.
        level: Coverage of the intervals.
        data: Where the images came from, in words.
        note: A sentence about these images that must not be missed; what the card says of its own data, if these are they.
        command: What the user typed.
        date: When, in ISO 8601; now by default.
        progress: Called with (done, total) images.

    Raises:
        DataError: There is no column, or one is empty, or holds a position twice or outside of the store.
    """
    members = _check_columns(columns, n_images=len(store))
    scores = _scores(detector, store, members, progress)
    bootstrap = {"threshold": detector.threshold, "n_resamples": n_resamples, "seed": seed, "level": level}
    return Report(
        detector=str(detector.card.get("name", "unnamed")), card=detector.card, data=data,
        note=note or _note_of(detector.card, store), threshold=detector.threshold,
        columns=tuple(_column(name, np.searchsorted(members, np.sort(at)), scores, bootstrap) for name, at in columns.items()),
        scores=scores, mistakes=_mistakes(store, members, scores), caveats=_caveats(detector.card, store, members),
        level=level, n_resamples=n_resamples, seed=seed, command=command,
        date=date or datetime.now(timezone.utc).isoformat(timespec="seconds"), environment=environment_record(),
    )  # fmt: skip


def columns_for(card: Mapping[str, Any], store: Store) -> dict[str, Positions]:
    """Return the images of a store on which a detector may be measured.

    The data it was trained on are split again exactly as in training, and their test part is taken. Other data give their own
    test part, or all their images where they have none. A test part always comes with a second column: without the images
    whose pixels also occur in the data's training part.

    Raises:
        DataError: The split cannot be made, or is not the one of the training.
    """
    if not _is_trained_on(card, store):
        return _columns_of_other_data(store)
    trained_on = card["trained_on"]
    split = make_split(store, from_mapping(TrainConfig, trained_on["config"]))
    _check_same_test(store, split, trained_on)
    return {TEST: split.test, UNSEEN: split.test_unseen}


def _is_trained_on(card: Mapping[str, Any], store: Store) -> bool:
    """Tell whether the images are those of the training, whatever they are packed in: a folder, an archive, a copy."""
    about = card.get("trained_on", {})
    return bool(about.get("store") == store.folder.name or about.get("pixels") == fingerprint(store, np.arange(len(store))))


def _columns_of_other_data(store: Store) -> dict[str, Positions]:
    test = np.flatnonzero(store.split == "test")
    own = store.pixel_hash[np.isin(store.split, ("train", "val"))]
    if not len(test) or not len(own):
        return {EVERYTHING: np.arange(len(store))}
    unseen = test[~np.isin(store.pixel_hash[test], own)]
    return {TEST: test} | ({UNSEEN: unseen} if len(unseen) else {})


def _check_same_test(store: Store, split: Split, trained_on: Mapping[str, Any]) -> None:
    """A drawn test part holds training images if another version of fauxto, which draws otherwise, trained the detector."""
    if trained_on.get("test_part") != fingerprint(store, split.test):
        raise DataError(
            "the test part that is drawn from these data now is not the one that was kept apart in training, so that it may "
            "hold training images: evaluate with the version of fauxto that trained the detector, or train again"
        )


def _check_columns(columns: Mapping[str, Positions], *, n_images: int) -> Positions:
    """Return every position that is in a column, once, sorted."""
    if not columns:
        raise DataError("there is nothing to evaluate: give at least one column of images")
    for name, at in columns.items():
        if not len(at):
            raise DataError(f"the column {name!r} holds no image: leave it out or give other data")
        if at.min() < 0 or at.max() >= n_images or len(np.unique(at)) != len(at):
            raise DataError(f"the column {name!r} must hold positions from 0 to {n_images - 1}, each at most once")
    return np.unique(np.concatenate(list(columns.values())))


def _scores(detector: Detector, store: Store, members: Positions, progress: Callable[[int, int], None] | None) -> ImageScores:
    images = [store.image(at) for at in members.tolist()]
    shown = None if progress is None else lambda done: progress(done, len(images))
    logit = detector.logits(images, progress=shown)
    p_fake = detector.p_fake(logit)
    return ImageScores(
        path=tuple(store.path[members].tolist()),
        generator=tuple(store.generator[members].tolist()),
        is_fake=store.is_fake[members],
        logit=logit,
        p_fake=p_fake,
        called_fake=p_fake >= detector.threshold,
    )


def _column(name: str, members: Positions, scores: ImageScores, bootstrap: dict[str, Any]) -> Column:
    is_fake, p_fake = scores.is_fake[members], scores.p_fake[members]
    return Column(
        name=name,
        members=members,
        n_real=int((~is_fake).sum()),
        n_fake=int(is_fake.sum()),
        metrics=all_metrics(is_fake, p_fake, **bootstrap),
        confusion=confusion_intervals(is_fake, p_fake, **bootstrap),
        reliability=reliability_bins(is_fake, p_fake, level=bootstrap["level"]),
        generators=_generator_rows(members, scores, bootstrap["level"]),
    )


def _generator_rows(members: Positions, scores: ImageScores, level: float) -> tuple[GeneratorRow, ...]:
    fakes = members[scores.is_fake[members]]
    names = np.array([scores.generator[at] or "unknown" for at in fakes.tolist()])
    if len(np.unique(names)) < 2:
        return ()
    rows = []
    for name in np.unique(names).tolist():
        found = scores.called_fake[fakes[names == name]]
        rows.append(GeneratorRow(name, found.size, wilson(int(found.sum()), found.size, level=level)))
    return tuple(rows)


def _mistakes(store: Store, members: Positions, scores: ImageScores) -> tuple[Mistake, ...]:
    """Return the wrong answers of either kind that were given with the most confidence, worst first."""
    found = []
    # Ordered by the logit: many a p_fake is exactly 1.0 in floating point.
    for label, confidence in (("real", scores.logit), ("fake", -scores.logit)):
        wrong = np.flatnonzero((scores.called_fake != scores.is_fake) & (scores.is_fake == (label == "fake")))
        worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES_PER_CLASS]
        found += [
            Mistake(scores.path[at], label, float(scores.p_fake[at]), store.image(int(members[at]))) for at in worst.tolist()
        ]
    return tuple(found)


def _note_of(card: Mapping[str, Any], store: Store) -> str:
    """Return what the card says of the data it was trained on, which holds here only if they are measured again."""
    return str(card["trained_on"].get("note", "")) if _is_trained_on(card, store) else ""


def _caveats(card: Mapping[str, Any], store: Store, members: Positions) -> tuple[str, ...]:
    found = []
    trained_on = card.get("trained_on", {})
    if not _is_trained_on(card, store):
        found.append(
            "These are not the data that the detector was trained on, as far as their content key tells. "
            "If they hold images of its training set all the same, these numbers are too good."
        )
        if trained_on.get("note"):
            found.append(f"Of its training data the detector's card says: {trained_on['note']}.")
    scope = card.get("scope", {})
    sides = np.stack([store.height[members], store.width[members]])
    outside = (sides.min(axis=0) < scope.get("min_side", 1)) | (sides.max(axis=0) > scope.get("max_side", np.inf))
    if outside.any():
        found.append(
            f"{int(outside.sum()):,} of {outside.size:,} images have a size outside of the detector's scope. fauxto check would "
            "answer unsure; here the answer at the threshold counts."
        )
    if store.broken:
        found.append(f"{len(store.broken):,} unreadable images were left out.")
    return tuple(found)
