"""What changed images did to a detector: its numbers under each perturbation, and how many of its answers turned round."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fauxto.metrics import Interval

CLEAN = "as they came"
CHAINED = "+"  # joins the steps of a longer way
VERDICTS = ("real", "fake", "unsure")
# name -> label, meaning; all are shares but the AUC
NUMBERS: dict[str, tuple[str, str]] = {
    "accuracy": ("accuracy", "share of right answers at the card's threshold"),
    "balanced_accuracy": ("balanced accuracy", "the same, both classes counting equally"),
    "recall": ("fakes found", "of the fakes, the share called fake"),
    "false_alarm_rate": ("false alarms", "of the photographs, the share called fake"),
    "roc_auc": ("ROC AUC", "chance that a fake scores above a photograph"),
    "expected_calibration_error": ("calibration error", "how far p_fake lies from the truth on average"),
    "unsure": ("unsure", "share of all images"),
    "selective_accuracy": ("right if answered", "accuracy on the images that were called real or fake"),
}
FLIPS: dict[str, tuple[str, str]] = {
    "to_fake": ("real → fake", "of all images, those called real as they came and fake now"),
    "to_real": ("fake → real", "of all images, those called fake as they came and real now"),
    "lost": ("right → wrong", "of all images, those answered right as they came and wrong now"),
    "gained": ("wrong → right", "of all images, those answered wrong as they came and right now"),
}


@dataclass(frozen=True)
class Transition:
    """How often one verdict became another.

    Attributes:
        before: "real", "fake" or "unsure", of the image as it came.
        after: The same, of the changed image.
        n: Number of images.
        share: Of all images, with Wilson's interval.
    """

    before: str
    after: str
    n: int
    share: Interval


@dataclass(frozen=True)
class Condition:
    """One set of images under one perturbation.

    Attributes:
        perturbation: Its name; ``CLEAN`` for none.
        metrics: A number with its interval for each of ``NUMBERS``.
        change: Accuracy less that of the same images as they came, with the interval of Bonett and Price (2012).
        flips: A share of all images with Wilson's interval for each of ``FLIPS``: answers at the threshold that turned round.
        transitions: All nine, in the order of ``VERDICTS``.
    """

    perturbation: str
    metrics: Mapping[str, Interval]
    change: Interval
    flips: Mapping[str, Interval]
    transitions: tuple[Transition, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "perturbation": self.perturbation,
            "metrics": {name: asdict(number) for name, number in self.metrics.items()},
            "accuracy_change": asdict(self.change),
            "flips": {name: asdict(share) for name, share in self.flips.items()},
            "verdicts": [asdict(transition) for transition in self.transitions],
        }


@dataclass(frozen=True)
class Changed:
    """One column of the report under all perturbations.

    Attributes:
        name: Of the column.
        n_real: Number of photographs.
        n_fake: Number of AI-generated images.
        clean: The images as they came.
        conditions: One per perturbation, in the order that was asked for.
    """

    name: str
    n_real: int
    n_fake: int
    clean: Condition
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Robustness:
    """What changed images did to a detector.

    Attributes:
        columns: As in the report; the first is the headline.
        seed: Of the perturbations.
        level: Coverage of the intervals.
    """

    columns: tuple[Changed, ...]
    seed: int
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "seed": self.seed,
            "intervals": {"level": self.level, "method": METHOD},
            "columns": [
                {"name": column.name, "n_real": column.n_real, "n_fake": column.n_fake}
                | {"clean": column.clean.to_dict(), "perturbed": [item.to_dict() for item in column.conditions]}
                for column in self.columns
            ],
        }

    def to_csv(self) -> str:
        """Return one line per column and perturbation, the images as they came first."""
        rows = [_line(column, item) for column in self.columns for item in (column.clean, *column.conditions)]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


METHOD = (
    "shares: Wilson (1927); balanced accuracy: MOVER of both (Zou and Donner 2008); ROC AUC: DeLong et al. (1988) on the "
    "log-odds; calibration error: delta method, lengthened downwards by what chance adds; change of accuracy: Bonett and Price "
    "(2012)"
)


def _line(column: Changed, item: Condition) -> dict[str, Any]:
    line: dict[str, Any] = {"column": column.name, "perturbation": item.perturbation}
    line |= {"n_real": column.n_real, "n_fake": column.n_fake}
    for name, number in (*item.metrics.items(), ("accuracy_change", item.change), *item.flips.items()):
        line |= {name: number.value, f"{name}_low": number.low, f"{name}_high": number.high}
    return line | {f"{one.before} to {one.after}": one.n for one in item.transitions}
