"""A detector on images that were changed on their way: ``fauxto evaluate DETECTOR --data D --out F --perturb standard``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.errors import DataError, UsageError
from fauxto.evaluation.answering import Answers, Progress, answers
from fauxto.evaluation.sets import Stored, fitting
from fauxto.metrics import (
    Interval,
    auc_interval,
    confusion,
    ece_interval,
    paired_change,
    ratio_interval_of,
    share_or,
    wilson,
)
from fauxto.report import Report
from fauxto.report.robustness import CLEAN, VERDICTS, Changed, Condition, Robustness, Transition
from fauxto.vocabulary import Verdict


def measure_robustness(
    detector: Detector,
    store: Store,
    columns: Mapping[str, np.ndarray],
    report: Report,
    names: Sequence[str],
    *,
    seed: int = 0,
    n_workers: int = 1,
    progress: Progress | None = None,
) -> Robustness:
    """Measure a detector on the images of a report once more, changed by each of several perturbations.

    Threshold, calibration and the rules of "unsure" are the card's. Every interval is in closed form, so that no resampling is
    needed for some thirty sets of images.

    Args:
        detector: The report's.
        store: The report's.
        columns: The report's: name of each set -> positions in the store.
        report: What the detector said of the images as they came.
        names: Perturbations, as for ``perturb.perturbed``; ``suites.perturbations`` reads them from words.
        seed: Of the perturbations. What happens to an image depends on its place among all of the report's images, too.
        n_workers: As for ``answering.answers``.
        progress: Called with (done, total) answers.

    Raises:
        UsageError: No perturbation is named.
        DataError: The columns are not those of the report.
        FauxtoError: See ``answering.answers``.
    """
    if not names:
        raise UsageError("no perturbation is named: give at least one, such as 'jpeg-40'")
    members = np.unique(np.concatenate(list(columns.values())))
    if tuple(store.path[members].tolist()) != report.scores.path:
        raise DataError("these columns are not the images of the report: give those that it was made of")
    images = Stored(store, members)
    detector = fitting(detector, images)
    found = answers(detector, images, names, seed=seed, n_workers=n_workers, progress=progress)
    scores = report.scores
    clean = Answers(scores.logit, scores.p_fake, scores.called_fake, np.array(scores.kind), scores.verdict)
    return Robustness(
        columns=tuple(
            changed(column.name, scores.is_fake[column.members], _some(clean, column.members),
                    {name: _some(found[name], column.members) for name in names}, detector.threshold, report.level)
            for column in report.columns
        ),
        seed=seed,
        level=report.level,
    )  # fmt: skip


def changed(
    name: str, is_fake: np.ndarray, clean: Answers, found: Mapping[str, Answers], threshold: float, level: float = 0.95
) -> Changed:
    """Return one set of images under all perturbations.

    Args:
        name: Of the set.
        is_fake: Bool, shape (n,), n above 0.
        clean: What was said of the images as they came.
        found: Name of each perturbation -> what was said of the changed images.
        threshold: The card's.
        level: Coverage of the intervals.
    """
    conditions = tuple(condition(each, is_fake, clean, now, threshold, level) for each, now in found.items())
    n_fake = int(is_fake.sum())
    return Changed(name, is_fake.size - n_fake, n_fake, condition(CLEAN, is_fake, clean, clean, threshold, level), conditions)


def condition(name: str, is_fake: np.ndarray, clean: Answers, now: Answers, threshold: float, level: float = 0.95) -> Condition:
    """Return one perturbation's numbers, and how they differ from those of the images as they came; see ``changed``."""
    n = is_fake.size
    was_right, is_right = clean.called_fake == is_fake, now.called_fake == is_fake
    gained, lost = int((~was_right & is_right).sum()), int((was_right & ~is_right).sum())
    flips = {
        "to_fake": int((~clean.called_fake & now.called_fake).sum()),
        "to_real": int((clean.called_fake & ~now.called_fake).sum()),
        "lost": lost,
        "gained": gained,
    }
    return Condition(
        perturbation=name,
        metrics=numbers(is_fake, now, threshold=threshold, level=level),
        change=paired_change(gained, lost, n, level=level),
        flips={flip: wilson(count, n, level=level) for flip, count in flips.items()},
        transitions=_transitions(clean.verdict, now.verdict, level),
    )


def numbers(is_fake: np.ndarray, said: Answers, *, threshold: float, level: float = 0.95) -> dict[str, Interval]:
    """Return every number of ``report.robustness.NUMBERS`` with its interval.

    Args:
        is_fake: Bool, shape (n,), n above 0.
        said: What the detector said of the same images.
        threshold: The card's.
        level: Coverage of the intervals.
    """
    counts = confusion(is_fake, said.p_fake, threshold=threshold)
    tn, fp, fn, tp = counts
    answered = said.verdict != Verdict.UNSURE.value
    n_right = int((said.called_fake == is_fake)[answered].sum())
    return {
        "accuracy": wilson(tn + tp, is_fake.size, level=level),
        "balanced_accuracy": ratio_interval_of("balanced_accuracy", counts, level=level),
        "recall": share_or(tp, fn + tp, reason="no image is fake", level=level),
        "false_alarm_rate": share_or(fp, tn + fp, reason="no image is real", level=level),
        "roc_auc": auc_interval(is_fake, said.p_fake, level=level),
        "expected_calibration_error": ece_interval(is_fake, said.p_fake, level=level),
        "unsure": wilson(int((~answered).sum()), is_fake.size, level=level),
        "selective_accuracy": share_or(n_right, int(answered.sum()), reason="no image was answered", level=level),
    }


def _transitions(before: np.ndarray, after: np.ndarray, level: float) -> tuple[Transition, ...]:
    found = []
    for first in VERDICTS:
        for then in VERDICTS:
            n = int(((before == first) & (after == then)).sum())
            found.append(Transition(first, then, n, wilson(n, before.size, level=level)))
    return tuple(found)


def _some(said: Answers, at: np.ndarray) -> Answers:
    return Answers(said.logit[at], said.p_fake[at], said.called_fake[at], said.kind[at], said.verdict[at])
