"""What a detector said once it may also say "unsure", and what its card's operating points did on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fauxto.metrics import Interval, confusion, share_or, wilson
from fauxto.verdicts import points_of
from fauxto.vocabulary import Kind, Verdict

# What a kind of reason means, for a reader.
KINDS: dict[str, str] = {
    Kind.SIZE.value: "size out of scope",
    Kind.UNFAMILIAR.value: "unlike the training images",
    Kind.UNSTABLE.value: "verdict flips when re-encoded",
    Kind.EVIDENCE.value: "p_fake in the unsure range",
}


@dataclass(frozen=True)
class ClassVerdicts:
    """What was said of one class of images.

    Attributes:
        label: "real" or "fake": what they are.
        real: Number of images called real.
        fake: Number of images called fake.
        unsure: Number of images left open.
        wrong: Share of all images of the class that got the wrong answer, with Wilson's interval; "unsure" is not wrong.
    """

    label: str
    real: int
    fake: int
    unsure: int
    wrong: Interval

    @property
    def n(self) -> int:
        """Number of images of the class."""
        return self.real + self.fake + self.unsure


@dataclass(frozen=True)
class ReasonRow:
    """How often one kind of reason made the answer "unsure".

    Attributes:
        kind: As in ``Prediction``; ``KINDS`` says it in words.
        real: Number of photographs.
        fake: Number of AI-generated images.
        share: Of all images, with Wilson's interval.
    """

    kind: str
    real: int
    fake: int
    share: Interval


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on one set of images.

    Attributes:
        classes: Photographs, then AI-generated images.
        abstained: Share of all images that was left open, with Wilson's interval.
        reasons: Why, the most frequent first; each image has one reason.
        selective_accuracy: Share of right answers among the images that were answered, with Wilson's interval.
        alpha: Share of either class that the card promises not to exceed with wrong verdicts; None where it promises nothing.
        guarantee: The card's promise in words; empty where there is none.
    """

    classes: tuple[ClassVerdicts, ClassVerdicts]
    abstained: Interval
    reasons: tuple[ReasonRow, ...]
    selective_accuracy: Interval
    alpha: float | None = None
    guarantee: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; "real" and "fake" say what the images are."""
        return {row.label: {"n": row.n} | asdict(row) for row in self.classes} | {
            "abstained": asdict(self.abstained),
            "reasons": [asdict(row) for row in self.reasons],
            "selective_accuracy": asdict(self.selective_accuracy),
            "alpha": self.alpha,
            "guarantee": self.guarantee,
        }


@dataclass(frozen=True)
class PointRow:
    """One operating point of the card, and what its threshold did on one set of images.

    Attributes:
        name: Such as "fpr1".
        threshold: From the card.
        target_fpr: Share of false alarms that the threshold was chosen for.
        card_fpr: Share of false alarms that the card reports, on validation images.
        card_tpr: Share of fakes found that the card reports, on validation images.
        fpr: Share of false alarms on these images, with Wilson's interval.
        tpr: Share of fakes found on these images, with Wilson's interval.
    """

    name: str
    threshold: float
    target_fpr: float
    card_fpr: Interval
    card_tpr: Interval
    fpr: Interval
    tpr: Interval


def count_verdicts(
    is_fake: np.ndarray,
    verdict: np.ndarray,
    kinds: Sequence[str],
    *,
    level: float = 0.95,
    unsure: Mapping[str, Any] | None = None,
) -> Verdicts:
    """Count what was said of photographs and of fakes.

    Args:
        is_fake: Bool, shape (n,), n above 0.
        verdict: Str, shape (n,): "real", "fake" or "unsure".
        kinds: Which rule said so, one per image as in ``Prediction``; read where the verdict is "unsure".
        level: Coverage of the intervals.
        unsure: The card's entry of that name; its promise stands beside what was found.

    Example:
        >>> found = count_verdicts(np.array([True, True, False]), np.array(["fake", "unsure", "fake"]), ["", "size", ""])
        >>> found.abstained.value, found.selective_accuracy.value, found.classes[0].wrong.value
        (0.3333333333333333, 0.5, 1.0)
    """
    is_open = verdict == Verdict.UNSURE.value
    n_right = int(((verdict == Verdict.FAKE.value) & is_fake).sum() + ((verdict == Verdict.REAL.value) & ~is_fake).sum())
    return Verdicts(
        classes=(_class(verdict[~is_fake], Verdict.REAL, level), _class(verdict[is_fake], Verdict.FAKE, level)),
        abstained=wilson(int(is_open.sum()), is_open.size, level=level),
        reasons=_reasons(np.array(kinds)[is_open], is_fake[is_open], is_open.size, level),
        selective_accuracy=share_or(n_right, int((~is_open).sum()), reason="no image was answered", level=level),
        alpha=None if not unsure else float(unsure["alpha"]),
        guarantee="" if not unsure else str(unsure.get("guarantee", "")),
    )


def measure_points(
    card: Mapping[str, Any], is_fake: np.ndarray, p_fake: np.ndarray, *, level: float = 0.95
) -> tuple[PointRow, ...]:
    """Return what the thresholds of a card's operating points do on these images; nothing is fitted to them.

    Args:
        card: A detector's; its "operating_points" may be missing.
        is_fake: Bool, shape (n,).
        p_fake: Float, shape (n,), in [0, 1].
        level: Coverage of the intervals of what is measured here; the card's intervals stay as they are.

    Raises:
        DetectorError: An operating point lacks a value.
        ScoreError: See ``fauxto.metrics.confusion``.
    """
    rows = []
    for name, point in points_of(card).items():
        tn, fp, fn, tp = confusion(is_fake, p_fake, threshold=float(point["threshold"]))
        rows.append(
            PointRow(
                name=name,
                threshold=float(point["threshold"]),
                target_fpr=float(point["target_fpr"]),
                card_fpr=_said(point["fpr"]),
                card_tpr=_said(point["tpr"]),
                fpr=share_or(fp, tn + fp, reason="no image is real", level=level),
                tpr=share_or(tp, fn + tp, reason="no image is fake", level=level),
            )
        )
    return tuple(rows)


def _class(verdict: np.ndarray, label: Verdict, level: float) -> ClassVerdicts:
    n_real, n_fake, n_unsure = (int((verdict == said.value).sum()) for said in (Verdict.REAL, Verdict.FAKE, Verdict.UNSURE))
    n_wrong = n_fake if label is Verdict.REAL else n_real
    wrong = share_or(n_wrong, verdict.size, reason=f"no image is {label.value}", level=level)
    return ClassVerdicts(label.value, n_real, n_fake, n_unsure, wrong)


def _reasons(kinds: np.ndarray, is_fake: np.ndarray, n: int, level: float) -> tuple[ReasonRow, ...]:
    rows = []
    for kind in np.unique(kinds).tolist():
        n_fake, n_kind = int(is_fake[kinds == kind].sum()), int((kinds == kind).sum())
        rows.append(ReasonRow(kind, n_kind - n_fake, n_fake, wilson(n_kind, n, level=level)))
    return tuple(sorted(rows, key=lambda row: -(row.real + row.fake)))


def _said(rate: Mapping[str, Any]) -> Interval:
    return Interval(float(rate["value"]), float(rate["low"]), float(rate["high"]))
