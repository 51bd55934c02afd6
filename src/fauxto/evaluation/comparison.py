"""Detectors on the same images: ``fauxto compare A B NAME=scores.csv --data DATA --out FOLDER``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np

from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.errors import DataError, ImageError, UsageError
from fauxto.evaluation import calibrated_here, columns_for
from fauxto.evaluation.scores import ScoresFile, check_labels, read_scores
from fauxto.evaluation.seen import may_be_seen
from fauxto.evaluation.sets import Stored, fitting
from fauxto.metrics import Answers, Interval, all_metrics, brier_score, differences, holm, mcnemar
from fauxto.report.versus import Comparison, Contestant, Disagreement, Pair

__all__ = ["ScoresFile", "common_images", "compare", "read_scores"]

MAX_CONTESTANTS = 64
SHOWN_PER_SIDE = 6
SHOWN_PAIRS = 5
PROGRESS_EVERY = 64
Progress = Callable[[int, int], None]


def compare(
    contestants: Sequence[Detector | ScoresFile],
    store: Store,
    *,
    names: Sequence[str] = (),
    all_pairs: bool = False,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    data: str = "",
    note: str = "",
    command: str = "",
    date: str = "",
    progress: Progress | None = None,
) -> Comparison:
    """Measure detectors on the same images, and pair by pair what sets them apart.

    The images are the test part that is common to all detectors, so that none is measured on what it was trained on, as far as
    the cards tell; with scores alone, the data's own test part, or all images where there is none. Nothing is fitted.

    Args:
        contestants: At least two; the first is set against each of the others.
        store: Decoded images.
        names: One for each; by default those on the cards and of the files.
        all_pairs: Set everybody against everybody.
        n_resamples: Behind the intervals that are drawn.
        seed: Of the same.
        level: Coverage of the intervals.
        data: Where the images came from, in words.
        note: A sentence that must not be missed.
        command: What the user typed.
        date: In ISO 8601.
        progress: Called with (done, total) answers of detectors.

    Raises:
        UsageError: Fewer than two, too many, or two of one name.
        DataError: No image is common to all, one class is missing, or a file lacks scores or has other labels than the data.
    """
    called = tuple(names) or tuple(_name_of(one) for one in contestants)
    _check_names(called)
    for one in contestants:
        if isinstance(one, ScoresFile):
            check_labels(one, store)
    column, members = common_images(contestants, store)
    contestants = [fitting(one, Stored(store, members)) if isinstance(one, Detector) else one for one in contestants]
    drawn: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed, "level": level}
    is_fake, paths = store.is_fake[members], store.path[members].tolist()
    counting = _Counting(progress, sum(isinstance(one, Detector) for one in contestants) * len(members))
    measured = []
    for name, one in zip(called, contestants, strict=True):
        answers, cost = _answers(one, store, members, paths, counting)
        metrics = all_metrics(is_fake, answers.p_fake, threshold=answers.threshold, **drawn)
        metrics["brier_score"] = Interval(brier_score(is_fake, answers.p_fake))
        measured.append(Contestant(name, isinstance(one, Detector), answers, metrics, cost))
    pairs = _pairs(measured, is_fake, all_pairs=all_pairs, n_draws=n_resamples, seed=seed, level=level)
    return Comparison(
        contestants=tuple(measured), pairs=pairs, disagreements=_disagreements(measured, pairs, is_fake, store, members),
        column=column, n_real=int((~is_fake).sum()), n_fake=int(is_fake.sum()), data=data, note=note,
        caveats=_caveats(contestants, called, store, members), level=level, n_resamples=n_resamples, seed=seed,
        command=command, date=date,
    )  # fmt: skip


def common_images(contestants: Sequence[Detector | ScoresFile], store: Store) -> tuple[str, Positions]:
    """Return the images on which all of them may be measured, and what to call these.

    Raises:
        DataError: There are none, or of one class only.
    """
    detectors = [one for one in contestants if isinstance(one, Detector)]
    columns = [columns_for(one.card, store) for one in detectors] or [columns_for({}, store)]
    heads = [next(iter(column.items())) for column in columns]
    members = reduce(np.intersect1d, (at for _, at in heads))
    if not len(members) or store.is_fake[members].all() or not store.is_fake[members].any():
        raise DataError(
            f"the test parts of these detectors have {len(members)} images of {'one kind' if len(members) else 'no kind'} in "
            "common, photographs and fakes are needed: compare detectors that were trained on the same split, or give other data"
        )
    name = heads[0][0] if len({name for name, _ in heads}) == 1 else "images that are test images of all"
    return name, members


def _name_of(one: Detector | ScoresFile) -> str:
    return one.name if isinstance(one, ScoresFile) else str(one.card["name"])


def _check_names(names: Sequence[str]) -> None:
    if not 2 <= len(names) <= MAX_CONTESTANTS:
        raise UsageError(f"give 2 to {MAX_CONTESTANTS} detectors to compare, got {len(names)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two detectors are called {twice[0]!r}: give one of them another name, as in NAME=FOLDER")


class _Counting:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress or (lambda done, total: None), total, 0

    def one_more(self) -> None:
        self._done += 1
        if self._done % PROGRESS_EVERY == 0 or self._done == self._total:
            self._progress(self._done, self._total)


def _answers(
    one: Detector | ScoresFile, store: Store, members: Positions, paths: list[str], counting: _Counting
) -> tuple[Answers, float | None]:
    """Return what one says, and how long it took per image, in ms; None for a file."""
    if isinstance(one, ScoresFile):
        missing = [path for path in paths if path not in one.p_fake]
        if missing:
            raise DataError(
                f"the scores of {one.name} lack {len(missing):,} of {len(paths):,} images, the first is {missing[0]!r}: the "
                f"paths must be those inside the data; its own first is {next(iter(one.p_fake))!r}"
            )
        return Answers(np.array([one.p_fake[path] for path in paths]), one.threshold), None
    one.logits([store.image(int(members[0]))])  # the first answer reads the model: no part of the cost
    p_fake, began = np.empty(len(members)), time.perf_counter()
    for at, answer in enumerate(one.predict_each(store.image(position) for position in members.tolist())):
        if isinstance(answer, ImageError):  # the store is decoded: its images can be read
            raise answer
        p_fake[at] = answer.p_fake
        counting.one_more()
    return Answers(p_fake, one.threshold), 1000 * (time.perf_counter() - began) / len(members)


def _pairs(
    measured: Sequence[Contestant], is_fake: np.ndarray, *, all_pairs: bool, n_draws: int, seed: int, level: float
) -> tuple[Pair, ...]:
    chosen = list(combinations(measured, 2)) if all_pairs else [(measured[0], other) for other in measured[1:]]
    right = {one.name: one.called_fake == is_fake for one in measured}
    tests = [mcnemar(right[own.name], right[other.name]) for own, other in chosen]
    adjusted = holm([test.p_value for test in tests])
    return tuple(
        Pair(
            own.name, other.name, test, p_holm,
            differences(is_fake, own.answers, other.answers, n_draws=n_draws, seed=seed, level=level),
        )
        for (own, other), test, p_holm in zip(chosen, tests, adjusted, strict=True)
    )  # fmt: skip


def _disagreements(
    measured: Sequence[Contestant], pairs: Sequence[Pair], is_fake: np.ndarray, store: Store, members: Positions
) -> tuple[Disagreement, ...]:
    """Return the images that one alone of the first pairs answers right, the largest distance between both answers first."""
    by_name, found = {one.name: one for one in measured}, []
    for pair in pairs[:SHOWN_PAIRS]:
        own, other = by_name[pair.own], by_name[pair.other]
        gap = np.abs(own.answers.p_fake - other.answers.p_fake)
        for right, wrong in ((own, other), (other, own)):
            alone = np.flatnonzero((right.called_fake == is_fake) & (wrong.called_fake != is_fake))
            for at in alone[np.argsort(-gap[alone], kind="stable")][:SHOWN_PER_SIDE].tolist():
                said = float(own.answers.p_fake[at]), float(other.answers.p_fake[at])
                label = "fake" if is_fake[at] else "real"
                image = store.image(int(members[at]))
                found.append(Disagreement(pair.own, pair.other, right.name, str(store.path[members[at]]), label, *said, image))
    return tuple(found)


def _caveats(
    contestants: Sequence[Detector | ScoresFile], names: Sequence[str], store: Store, members: Positions
) -> tuple[str, ...]:
    by_file = [name for name, one in zip(names, contestants, strict=True) if isinstance(one, ScoresFile)]
    found = []
    if by_file:
        found.append(
            f"What {', '.join(by_file)} {'was' if len(by_file) == 1 else 'were'} trained on is not known here: if these "
            "images were among it, or chose an epoch or a threshold, the numbers are too good."
        )
    detectors = [(name, one.card) for name, one in zip(names, contestants, strict=True) if isinstance(one, Detector)]
    strangers = [name for name, card in detectors if may_be_seen(card, store)]
    if strangers:
        found += [f"About {', '.join(strangers)}: {line[0].lower()}{line[1:]}" for line in may_be_seen({}, store)]
    return (*found, *(f"About {name}: {line}" for name, card in detectors for line in calibrated_here(card, store, members)))
