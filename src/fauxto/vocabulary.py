"""The words of the house: what is fake, what a verdict is, what a prediction holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

# The upper end of a half-open range of probabilities that takes in 1.
OVER_ONE = math.nextafter(1.0, 2.0)


class Label(IntEnum):
    """What an image is; FAKE = 1 is the positive class everywhere."""

    REAL = 0
    FAKE = 1


class Verdict(str, Enum):
    """What fauxto says of an image."""

    REAL = "real"
    FAKE = "fake"
    UNSURE = "unsure"


class Kind(str, Enum):
    """Which rule made a verdict "unsure", in the order in which a detector asks them."""

    SIZE = "size"  # the image is too small or too large
    UNFAMILIAR = "unfamiliar"  # its statistics are unlike those of the training images
    UNSTABLE = "unstable"  # the verdict turns round when the image is saved again
    EVIDENCE = "evidence"  # p_fake lies where the detector errs too often


class Reason(NamedTuple):
    """Why a verdict is "unsure": the rule for programs, a sentence for people."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Prediction:
    """One image's answer.

    Attributes:
        p_fake: Calibrated probability in [0, 1] that the image is AI-generated.
        logit: The network's raw answer before calibration; larger is more fake.
        verdict: "fake" when ``p_fake >= threshold`` of the card, else "real"; "unsure" outside the card's scope and within the
            card's range of unsure probabilities.
        reason: Why the verdict is "unsure", as a sentence; empty otherwise.
        kind: Which rule said so: "size", "unfamiliar", "unstable" or "evidence" (``Kind``); empty otherwise.
    """

    p_fake: float
    logit: float
    verdict: str
    reason: str = ""
    kind: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        return asdict(self)
