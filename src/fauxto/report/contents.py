"""What a report holds: numbers with intervals, every image's score, the worst mistakes, and where all of it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fauxto.metrics import Interval, ReliabilityBin
from fauxto.report.answers import PointRow, Verdicts
from fauxto.report.generators import AcrossGenerators
from fauxto.report.robustness import Robustness


class Mistake(NamedTuple):
    """An image that was answered wrongly.

    Attributes:
        path: Its place inside the data.
        label: "real" or "fake": what it is.
        p_fake: What the detector said.
        image: uint8, shape (h, w, 3).
    """

    path: str
    label: str
    p_fake: float
    image: np.ndarray


@dataclass(frozen=True)
class ImageScores:
    """What the detector said of every image; all arrays have one entry per image.

    Attributes:
        path: Each image's place inside the data.
        generator: What made it; empty for photographs and where it is unknown.
        is_fake: Bool, shape (n,).
        logit: Float, shape (n,); before calibration.
        p_fake: Float, shape (n,), in [0, 1].
        called_fake: Bool, shape (n,); ``p_fake >= threshold``, whatever the verdict: the answer that the metrics count.
        verdict: Str, shape (n,); "real", "fake" or "unsure", as ``Detector.predict`` says.
        reason: Why a verdict is "unsure", as a sentence; empty otherwise.
        kind: Which rule said so, as in ``Prediction``; empty otherwise.
    """

    path: tuple[str, ...]
    generator: tuple[str, ...]
    is_fake: np.ndarray
    logit: np.ndarray
    p_fake: np.ndarray
    called_fake: np.ndarray
    verdict: np.ndarray
    reason: tuple[str, ...]
    kind: tuple[str, ...]


@dataclass(frozen=True)
class GeneratorRow:
    """How many of one generator's images were found.

    Attributes:
        generator: Its name.
        n: Number of its images.
        found: Share that was called fake, with Wilson's interval.
    """

    generator: str
    n: int
    found: Interval


@dataclass(frozen=True)
class Column:
    """One set of images and the numbers on it.

    Attributes:
        name: Such as "test, unseen in train".
        members: int64, positions in the report's ``ImageScores``.
        metrics: Name in ``fauxto.metrics`` -> number with interval.
        confusion: tn, fp, fn and tp with intervals; positive = fake.
        reliability: What was said and what was true, bin by bin.
        verdicts: What the detector said, "unsure" included.
        generators: One row per generator; empty where all fakes come from one.
        operating_points: What the card's operating points did on these images; empty where the card has none.
    """

    name: str
    members: np.ndarray
    n_real: int
    n_fake: int
    metrics: Mapping[str, Interval]
    confusion: Mapping[str, Interval]
    reliability: tuple[ReliabilityBin, ...]
    verdicts: Verdicts
    generators: tuple[GeneratorRow, ...] = ()
    operating_points: tuple[PointRow, ...] = ()

    @property
    def n(self) -> int:
        """Number of images."""
        return self.n_real + self.n_fake


@dataclass(frozen=True)
class Report:
    """One detector on one set of data.

    Attributes:
        detector: Its name.
        card: Its whole card.
        data: Where the images came from, in words.
        note: A sentence that must not be missed, such as that the data are simulated; empty otherwise.
        threshold: From the card; never from these images.
        operating_point: Name on the card of the point that the threshold belongs to; empty for the card's own threshold.
        columns: At least one; the first is the headline.
        scores: Every image that is in a column, once.
        mistakes: The most confident wrong answers, worst first.
        caveats: What else a reader should know of these numbers.
        level: Coverage of the intervals.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.
        command: What made this report.
        date: When, in ISO 8601.
        environment: Versions and hardware.
        prevalence: The user's own share of fakes, in [0, 1]; None where it was not given.
        robustness: The same images, changed on their way; None where that was not asked for.
        across: Generator by generator against the same photographs; likewise.
        n_calibrating: Number of these images that also calibrated the detector (``fauxto calibrate``); None where it was
            calibrated on more than its card lists.
    """

    detector: str
    card: Mapping[str, Any]
    data: str
    note: str
    threshold: float
    columns: tuple[Column, ...]
    scores: ImageScores
    mistakes: tuple[Mistake, ...] = ()
    caveats: tuple[str, ...] = ()
    operating_point: str = ""
    level: float = 0.95
    n_resamples: int = 1000
    seed: int = 0
    command: str = ""
    date: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    prevalence: float | None = None
    robustness: Robustness | None = None
    across: AcrossGenerators | None = None
    n_calibrating: int | None = 0
