"""A detector, or several, on each generator's images against the same photographs, saved alike."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from typing import Any

from fauxto.metrics import Confusion, Interval

AS_IS = "as-is"
MIN_FAKES = 100  # there a share's 95 % interval is up to 19 points wide
# name -> label, meaning
NUMBERS: dict[str, tuple[str, str]] = {
    "roc_auc": ("ROC AUC", "chance that a fake scores above a photograph"),
    "recall": ("fakes found", "share called fake at the card's threshold"),
    "false_alarm_rate": ("false alarms", "share of the photographs called fake"),
    "balanced_accuracy": ("balanced accuracy", "mean of fakes found and photographs spared"),
    "unsure": ("unsure", "share of the fakes left open"),
}


@dataclass(frozen=True)
class Against:
    """One generator's images against the photographs, for one detector.

    Attributes:
        generator: Its name.
        n: Number of its images.
        is_known: Whether the detector's card names it among the generators of its training.
        metrics: A number with its interval for each of ``NUMBERS``.
        files: How its files were saved; the photographs' own stand in ``AcrossGenerators.real_files``.
        is_unlike: Whether format, bytes per pixel or size tell its files from the photographs'.
    """

    generator: str
    n: int
    is_known: bool
    metrics: dict[str, Interval]
    files: str
    is_unlike: bool

    @property
    def is_small(self) -> bool:
        """Whether it has too few images to count in mean and minimum."""
        return self.n < MIN_FAKES


@dataclass(frozen=True)
class Row:
    """One detector on all generators.

    Attributes:
        detector: Its name.
        trained_on: The generators of its training as its card names them; empty where it names none.
        threshold: From its card.
        generators: One entry each, by name.
    """

    detector: str
    trained_on: tuple[str, ...]
    threshold: float
    generators: tuple[Against, ...]

    def overall(self, name: str) -> tuple[float | None, float | None, str]:
        """Return mean and minimum of a number over the generators that have enough images, and whose the minimum is.

        Both are None where no generator has enough. Every generator counts alike, whatever its number of images.
        """
        counted = [item for item in self.generators if not item.is_small and item.metrics[name].value is not None]
        if not counted:
            return None, None, ""
        values = [float(item.metrics[name].value or 0.0) for item in counted]
        worst = min(range(len(values)), key=values.__getitem__)
        return sum(values) / len(values), values[worst], counted[worst].generator

    def counts(self, n_real: int) -> Confusion:
        """Return how often each answer was given to all generators' images and to the photographs, of which there are n_real.

        Example:
            >>> rates = {"recall": Interval(0.5), "false_alarm_rate": Interval(0.1)}
            >>> Row("d", (), 0.5, (Against("a", 4, False, rates, "", False), Against("b", 2, False, rates, "", False))).counts(10)
            Confusion(tn=9, fp=1, fn=3, tp=3)
        """
        tp = sum(round((item.metrics["recall"].value or 0.0) * item.n) for item in self.generators)
        fp = round((self.generators[0].metrics["false_alarm_rate"].value or 0.0) * n_real)
        return Confusion(n_real - fp, fp, sum(item.n for item in self.generators) - tp, tp)

    @property
    def n_counted(self) -> int:
        """Number of generators in mean and minimum."""
        return sum(not item.is_small for item in self.generators)


@dataclass(frozen=True)
class AcrossGenerators:
    """Every generator's images against the same photographs.

    Attributes:
        rows: One per detector; the first is the report's own.
        encode: What was done to fakes and photographs alike before they were scored, as in ``perturb``; "as-is" for nothing.
        n_real: Number of photographs.
        reals: Where they came from, in words.
        real_files: How their files were saved.
        caveats: What a reader should know of these numbers.
        level: Coverage of the intervals.
    """

    rows: tuple[Row, ...]
    encode: str
    n_real: int
    reals: str
    real_files: str
    caveats: tuple[str, ...] = ()
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        about = {"encode": self.encode, "n_real": self.n_real, "reals": self.reals, "real_files": self.real_files}
        return about | {
            "min_fakes": MIN_FAKES,
            "caveats": list(self.caveats),
            "intervals": {
                "level": self.level,
                "method": "Wilson; DeLong on the log-odds for the AUC; MOVER for balanced accuracy",
            },
            "detectors": [_row_dict(row) for row in self.rows],
        }

    def to_csv(self) -> str:
        """Return one line per detector and generator."""
        lines = [_line(self, row, item) for row in self.rows for item in row.generators]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()


def _row_dict(row: Row) -> dict[str, Any]:
    overall = {}
    for name in ("roc_auc", "recall", "balanced_accuracy"):
        mean, least, whose = row.overall(name)
        overall[name] = {"mean": mean, "minimum": least, "minimum_of": whose}
    return {
        "detector": row.detector,
        "trained_on": list(row.trained_on),
        "threshold": row.threshold,
        "generators": [asdict(item) | {"is_small": item.is_small} for item in row.generators],
        "n_counted": row.n_counted,
        "overall": overall,
    }


def _line(across: AcrossGenerators, row: Row, item: Against) -> dict[str, Any]:
    line: dict[str, Any] = {
        "detector": row.detector, "trained_on": " ".join(row.trained_on), "threshold": row.threshold, "encode": across.encode,
        "generator": item.generator, "n_fake": item.n, "n_real": across.n_real, "in_training": int(item.is_known),
        "too_small": int(item.is_small), "files": item.files, "saved_otherwise": int(item.is_unlike),
    }  # fmt: skip
    for name, number in item.metrics.items():
        line |= {name: number.value, f"{name}_low": number.low, f"{name}_high": number.high}
    return line
