"""What a comparison holds: detectors on the same images, the pairs of them, and where they disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from fauxto.metrics import Answers, Interval, McNemar


class Disagreement(NamedTuple):
    """An image that one of a pair answers right and the other wrong.

    Attributes:
        own: The pair's first detector.
        other: Its second.
        right: Which of them is right.
        path: The image's place inside the data.
        label: "real" or "fake": what it is.
        p_own: What the first said.
        p_other: What the second said.
        image: uint8, shape (h, w, 3).
    """

    own: str
    other: str
    right: str
    path: str
    label: str
    p_own: float
    p_other: float
    image: np.ndarray


@dataclass(frozen=True)
class Contestant:
    """One detector on the common images.

    Attributes:
        name: Of the detector.
        was_run: Whether it was asked here; else its answers come from a file.
        answers: What it says, and its threshold.
        metrics: Name -> number with interval.
        ms_per_image: Time per image on this machine; None for answers from a file.
    """

    name: str
    was_run: bool
    answers: Answers
    metrics: Mapping[str, Interval]
    ms_per_image: float | None

    @property
    def called_fake(self) -> np.ndarray:
        """Bool, shape (n,)."""
        called: np.ndarray = self.answers.p_fake >= self.answers.threshold
        return called


@dataclass(frozen=True)
class Pair:
    """Two detectors, the first minus the second.

    Attributes:
        own: Name of the first.
        other: Name of the second.
        test: McNemar's.
        p_holm: Its p-value, corrected for all pairs of the comparison (Holm 1979).
        differences: Name -> first minus second, with paired interval.
    """

    own: str
    other: str
    test: McNemar
    p_holm: float
    differences: Mapping[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """Detectors on the same images.

    Attributes:
        contestants: In the order in which they were named.
        pairs: In the order in which they were made.
        disagreements: Pair by pair.
        column: What the images are called.
        n_real: Number of photographs.
        n_fake: Number of fakes.
        data: Where the images came from, in words.
        note: A sentence that must not be missed; empty otherwise.
        caveats: What else a reader should know.
        level: Coverage of the intervals.
        n_resamples: Behind the intervals that are drawn.
        seed: Of the same.
        command: What made it.
        date: In ISO 8601.
    """

    contestants: tuple[Contestant, ...]
    pairs: tuple[Pair, ...]
    disagreements: tuple[Disagreement, ...]
    column: str
    n_real: int
    n_fake: int
    data: str = ""
    note: str = ""
    caveats: tuple[str, ...] = ()
    level: float = 0.95
    n_resamples: int = 1000
    seed: int = 0
    command: str = ""
    date: str = ""

    @property
    def n(self) -> int:
        """Number of images."""
        return self.n_real + self.n_fake

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "data": self.data,
            "note": self.note,
            "images": {"which": self.column, "n_real": self.n_real, "n_fake": self.n_fake},
            "positive_class": "fake",
            "intervals": {"level": self.level, "n_resamples": self.n_resamples, "seed": self.seed},
            "detectors": [_contestant(one) for one in self.contestants],
            "pairs": [_pair(pair) for pair in self.pairs],
            "disagreements": [
                {key: value for key, value in item._asdict().items() if key != "image"} for item in self.disagreements
            ],
            "caveats": list(self.caveats),
            "command": self.command,
            "date": self.date,
        }


def _contestant(one: Contestant) -> dict[str, Any]:
    return {
        "name": one.name,
        "was_run": one.was_run,
        "threshold": one.answers.threshold,
        "ms_per_image": one.ms_per_image,
        "metrics": {name: asdict(metric) for name, metric in one.metrics.items()},
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "own": pair.own,
        "other": pair.other,
        "mcnemar": pair.test._asdict() | {"p_holm": pair.p_holm},
        "differences": {name: asdict(difference) for name, difference in pair.differences.items()},
    }
