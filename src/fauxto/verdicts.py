"""VerdictRule: from a probability to "real", "fake" or "unsure", as a detector's card says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fauxto.errors import DetectorError, UsageError
from fauxto.vocabulary import OVER_ONE, Kind, Reason, Verdict

MEASURED_ON = "measured_on"  # a text beside the points
MAX_POINTS = 16  # a card from a stranger must not make us work without end


@dataclass(frozen=True)
class VerdictRule:
    """How a probability becomes a verdict: unsure in [low, high), else fake from the threshold on.

    Attributes:
        threshold: An image is called fake when ``p_fake >= threshold``.
        low: Where "unsure" begins.
        high: Where it ends; equal to ``low`` for a rule that is never unsure.
    """

    threshold: float
    low: float
    high: float

    @staticmethod
    def from_card(card: Mapping[str, Any], operating_point: str = "") -> VerdictRule:
        """Read a card's own rule, or the one of a named operating point, which is never unsure about a probability.

        Raises:
            UsageError: The card has no such operating point.
            DetectorError: A value is missing or impossible.

        Example:
            >>> VerdictRule.from_card({"threshold": 0.5})
            VerdictRule(threshold=0.5, low=0.5, high=0.5)
        """
        if operating_point:
            threshold = float(_point_of(card, operating_point)["threshold"])
            return VerdictRule(threshold, threshold, threshold)
        try:
            rule, is_sound = _own_rule(card)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DetectorError(f"the card lacks a threshold or unsure range ({error!r}): export the detector again") from error
        if not is_sound:
            raise DetectorError(
                f"the card's threshold or unsure range is impossible ({rule}): expected 0 <= low <= threshold <= high <= 1 and "
                "alpha between 0 and 1, export the detector again"
            )
        return rule

    @property
    def unsure_reason(self) -> Reason | None:
        """Why a probability in [low, high) is unsure; None where there is no such range."""
        if self.low == self.high:
            return None
        ends = f"from {short(self.low)} to {short(self.high)}"
        return Reason(Kind.EVIDENCE, f"p_fake lies in the range {ends}, in which this detector errs too often")

    def verdicts(self, p_fake: np.ndarray) -> list[str]:
        """Return "real", "fake" or "unsure" for each of the probabilities, shape (n,).

        Example:
            >>> VerdictRule(0.5, 0.25, 0.75).verdicts(np.array([0.2, 0.25, 0.5, 0.75]))
            ['real', 'unsure', 'unsure', 'fake']
        """
        # >= as in metrics: a tie at the threshold is "fake" in both places.
        sure = np.where(p_fake >= self.threshold, Verdict.FAKE.value, Verdict.REAL.value)
        found: list[str] = np.where((self.low <= p_fake) & (p_fake < self.high), Verdict.UNSURE.value, sure).tolist()
        return found


def short(probability: float) -> str:
    """Return a probability with 4 digits, or with more where it would read as 0 or 1 without being so.

    Example:
        >>> short(0.123456), short(0.99999876), short(1.0)
        ('0.1235', '0.999999', '1')
    """
    for n_digits in range(4, 17):
        text = f"{probability:.{n_digits}g}"
        if (float(text) < 1) == (probability < 1):
            break
    return text


def points_of(card: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a card's operating points by their names; none, if it has no such key.

    Raises:
        DetectorError: A value is missing or impossible.

    Example:
        >>> points_of({})
        {}
    """
    try:
        points = {name: point for name, point in card.get("operating_points", {}).items() if name != MEASURED_ON}
        is_sound = len(points) <= MAX_POINTS and all(0 <= number <= 1 for at in points.values() for number in _numbers_of(at))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DetectorError(f"the card's operating points lack a value ({error!r}): export the detector again") from error
    if not is_sound:
        raise DetectorError("the card's operating points hold an impossible value: export the detector again")
    return points


def _own_rule(card: Mapping[str, Any]) -> tuple[VerdictRule, bool]:
    threshold = float(card["threshold"])
    band = card.get("unsure", {"low": threshold, "high": threshold, "alpha": 0.5})
    rule = VerdictRule(threshold, float(band["low"]), float(band["high"]))
    in_order = 0 <= rule.low <= threshold <= rule.high <= OVER_ONE and threshold <= 1
    return rule, in_order and 0 < float(band["alpha"]) < 1


def _numbers_of(point: Mapping[str, Any]) -> list[float]:
    rates = [point[rate][key] for rate in ("fpr", "tpr") for key in ("value", "low", "high")]
    return [float(number) for number in (point["threshold"], point["target_fpr"], *rates)]


def _point_of(card: Mapping[str, Any], name: str) -> dict[str, Any]:
    points = points_of(card)
    if name in points:
        return points[name]
    there = f"its card has {', '.join(points)}" if points else "its card has none"
    raise UsageError(
        f"this detector has no operating point {name!r}, {there}: choose one that is there, or go without. Training writes a "
        "point for 1 % false alarms from 100 real validation images on, one for 5 % from 20 on"
    )
