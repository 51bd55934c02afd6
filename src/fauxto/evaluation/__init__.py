"""A detector on sets of images, measured once each: ``fauxto evaluate DETECTOR --data DATA --out FOLDER``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxto.config import TrainConfig, from_mapping
from fauxto.data.splits import Positions, Split, fingerprint, make_split
from fauxto.data.store import Store
from fauxto.errors import DataError, ImageError, ScoreError
from fauxto.evaluation.seen import may_be_seen, training_on, was_guest
from fauxto.evaluation.sets import Stored, fitting, mixed_rules
from fauxto.metrics import all_metrics, confusion_intervals, reliability_bins, wilson
from fauxto.report import Column, GeneratorRow, ImageScores, Mistake, Report, count_verdicts, measure_points
from fauxto.runs import environment_record
from fauxto.vocabulary import Prediction, Verdict

if TYPE_CHECKING:
    from fauxto.detector import Detector

MISTAKES_PER_CLASS = 12
PROGRESS_EVERY = 64
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
    prevalence: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measure a detector.

    Every image is asked about once. The metrics count the answer at the threshold for each of them, also where the verdict is
    "unsure", so that they compare with those of other tools; what the verdicts are worth stands beside them.

    Args:
        detector: Its card brings the threshold and the calibration; nothing here is fitted. ``detector.at("fpr1")`` is measured
            at that operating point.
        store: Decoded images.
        columns: Name of each set -> positions in the store; the first is the headline. ``columns_for`` makes them.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.
        level: Coverage of the intervals.
        data: Where the images came from, in words.
        note: A sentence about these images that must not be missed; what the card says of its own data, if these are they.
        command: What the user typed.
        date: When, in ISO 8601; now by default.
        prevalence: The user's own share of fakes, in [0, 1]: what a verdict is worth there is said too.
        progress: Called with (done, total) images.

    Raises:
        DataError: There is no column, or one is empty, or holds a position twice or outside of the store.
        ScoreError: The prevalence lies outside [0, 1].
    """
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise ScoreError(f"the share of fakes must lie in [0, 1], got {prevalence}: 0.01 is one in a hundred")
    members = _check_columns(columns, n_images=len(store))
    images = Stored(store, members)
    detector = fitting(detector, images)
    scores = _scores(detector, store, members, progress)
    bootstrap = {"threshold": detector.threshold, "n_resamples": n_resamples, "seed": seed, "level": level}
    measured = tuple(
        _column(detector, name, np.searchsorted(members, np.sort(at)), scores, bootstrap) for name, at in columns.items()
    )
    return Report(
        detector=str(detector.card.get("name", "unnamed")), card=detector.card, data=data,
        note=note or _note_of(detector.card, store), threshold=detector.threshold, operating_point=detector.operating_point,
        columns=measured, scores=scores, mistakes=_mistakes(store, members, scores),
        caveats=_caveats(detector.card, store, members, scores) + _broken_promises(measured[0]) + mixed_rules(detector, images),
        level=level, n_resamples=n_resamples, seed=seed, command=command, prevalence=prevalence,
        date=date or datetime.now(timezone.utc).isoformat(timespec="seconds"), environment=environment_record(),
        n_calibrating=n_calibrating(detector.card, store, members),
    )  # fmt: skip


def columns_for(card: Mapping[str, Any], store: Store) -> dict[str, Positions]:
    """Return the images of a store on which a detector may be measured.

    The data it was trained on are split again exactly as in training, and their test part is taken. Other data, and those that
    joined the training beside its main data, give their own test part, or all their images where they have none. A test part
    always comes with a second column: without the images whose pixels also occur in the data's training part.

    Raises:
        DataError: The split cannot be made, or is not the one of the training.
    """
    trained_on = training_on(card, store)
    if trained_on is None or was_guest(trained_on):
        return _columns_of_other_data(store)
    if not isinstance(trained_on.get("config"), dict):
        raise DataError("the detector's card does not say how these data were split in its training: train it again")
    split = make_split(store, from_mapping(TrainConfig, trained_on["config"]))
    _check_same_test(store, split, trained_on)
    return {TEST: split.test, UNSEEN: split.test_unseen}


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
    answers = _answers(detector, store, members, progress or (lambda done, total: None))
    p_fake = np.array([answer.p_fake for answer in answers])
    return ImageScores(
        path=tuple(store.path[members].tolist()),
        generator=tuple(store.generator[members].tolist()),
        is_fake=store.is_fake[members],
        logit=np.array([answer.logit for answer in answers]),
        p_fake=p_fake,
        called_fake=p_fake >= detector.threshold,
        verdict=np.array([answer.verdict for answer in answers]),
        reason=tuple(answer.reason for answer in answers),
        kind=tuple(answer.kind for answer in answers),
    )


def _answers(detector: Detector, store: Store, members: Positions, progress: Callable[[int, int], None]) -> list[Prediction]:
    answers: list[Prediction] = []
    for answer in detector.predict_each(store.image(at) for at in members.tolist()):
        if isinstance(answer, ImageError):  # the store is decoded: its images can be read
            raise answer
        answers.append(answer)
        if len(answers) % PROGRESS_EVERY == 0 or len(answers) == len(members):
            progress(len(answers), len(members))
    return answers


def _column(detector: Detector, name: str, members: Positions, scores: ImageScores, bootstrap: dict[str, Any]) -> Column:
    is_fake, p_fake, level = scores.is_fake[members], scores.p_fake[members], bootstrap["level"]
    kinds = [scores.kind[at] for at in members.tolist()]
    # A named operating point has no unsure range, and with the range goes what the card promises of it.
    promise = None if detector.operating_point else detector.card.get("unsure")
    return Column(
        name=name,
        members=members,
        n_real=int((~is_fake).sum()),
        n_fake=int(is_fake.sum()),
        metrics=all_metrics(is_fake, p_fake, **bootstrap),
        confusion=confusion_intervals(is_fake, p_fake, **bootstrap),
        reliability=reliability_bins(is_fake, p_fake, level=level),
        verdicts=count_verdicts(is_fake, scores.verdict[members], kinds, level=level, unsure=promise),
        generators=_generator_rows(members, scores, level),
        operating_points=measure_points(detector.card, is_fake, p_fake, level=level),
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
    return str((training_on(card, store) or {}).get("note", ""))


def _caveats(card: Mapping[str, Any], store: Store, members: Positions, scores: ImageScores) -> tuple[str, ...]:
    found = may_be_seen(card, store)
    note = card.get("trained_on", {}).get("note")
    if found and note:
        found.append(f"Of its training data the detector's card says: {note}.")
    found += calibrated_here(card, store, members)
    n_unsure = int((scores.verdict == Verdict.UNSURE.value).sum())
    if n_unsure:
        found.append(
            f"The detector's verdict is unsure on {n_unsure:,} of {len(scores.path):,} images. The metrics count its answer at "
            "the threshold there too, as other tools would give it; the verdicts stand beside them."
        )
    if store.broken:
        found.append(f"{len(store.broken):,} unreadable images were left out.")
    return tuple(found)


def n_calibrating(card: Mapping[str, Any], store: Store, members: Positions) -> int | None:
    """Return how many of the images also calibrated the detector (``fauxto calibrate``); None where its card does not tell."""
    calibration = card.get("calibration")
    sample = calibration.get("sample") if isinstance(calibration, Mapping) else None
    hashes = sample.get("pixel_hashes") if isinstance(sample, Mapping) else None
    if not isinstance(hashes, list):
        return 0
    if not hashes:
        return None
    known = np.array([each.encode("ascii", "replace") for each in hashes if isinstance(each, str)], "S16")
    return int(np.isin(store.pixel_hash[members].astype("S16"), known).sum())


def calibrated_here(card: Mapping[str, Any], store: Store, members: Positions) -> list[str]:
    """Say how many of the measured images also calibrated the detector (``fauxto calibrate``), which flatters the numbers."""
    n_known = n_calibrating(card, store, members)
    if n_known is None:
        return [
            "This detector was calibrated on more images than its card lists (fauxto calibrate): if they are among these, what "
            "is measured here is too good."
        ]
    if not n_known:
        return []
    return [
        f"{n_known:,} of the {len(members):,} images measured here also calibrated this detector (fauxto calibrate): what is "
        "measured on them is too good. Measure it on others."
    ]


def _broken_promises(column: Column) -> tuple[str, ...]:
    """Say where even the lower end of an interval lies above what the card promises."""
    alpha = column.verdicts.alpha
    if alpha is None:
        return ()
    return tuple(
        f"The card promises at most {100 * alpha:g} % wrong verdicts on {row.label} images like those it was fitted on; on these "
        f"there are {100 * (row.wrong.value or 0):.2f} %, so that they are not like those, or the promise fails."
        for row in column.verdicts.classes
        if row.wrong.low is not None and row.wrong.low > alpha
    )
