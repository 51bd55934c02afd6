"""verdicts: the card's rule, its operating points, and cards that make no sense."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fauxto.errors import DetectorError, UsageError
from fauxto.verdicts import MAX_POINTS, VerdictRule, points_of, short
from fauxto.vocabulary import Kind

RATE = {"value": 0.01, "low": 0.0, "high": 0.02}
POINT = {"threshold": 0.9, "target_fpr": 0.01, "fpr": RATE, "tpr": RATE}
BAND = {"method": "conformal", "alpha": 0.015, "low": 0.4, "high": 0.7, "guarantee": "..."}
CARD = {"threshold": 0.5, "unsure": BAND, "operating_points": {"fpr1": POINT, "measured_on": "validation"}}


def test_a_card_without_a_range_decides_at_its_threshold_alone():
    rule = VerdictRule.from_card({"threshold": 0.3})
    assert rule.verdicts(np.array([0.0, 0.29, 0.3, 1.0])) == ["real", "real", "fake", "fake"]
    assert rule.unsure_reason is None


def test_the_range_is_half_open():
    rule = VerdictRule.from_card(CARD)
    assert rule.verdicts(np.array([0.39, 0.4, 0.5, 0.69, 0.7])) == ["real", "unsure", "unsure", "unsure", "fake"]
    assert rule.unsure_reason.kind is Kind.EVIDENCE
    assert rule.unsure_reason.text == "p_fake lies in the range from 0.4 to 0.7, in which this detector errs too often"


def test_a_range_may_take_in_one():
    high = math.nextafter(1.0, 2.0)
    rule = VerdictRule.from_card({**CARD, "unsure": {**BAND, "high": high}})
    assert rule.verdicts(np.array([0.3, 1.0])) == ["real", "unsure"]
    assert "to 1," in rule.unsure_reason.text


def test_an_operating_point_decides_without_a_range():
    rule = VerdictRule.from_card(CARD, "fpr1")
    assert (rule.threshold, rule.unsure_reason) == (0.9, None)
    assert rule.verdicts(np.array([0.5, 0.89, 0.9])) == ["real", "real", "fake"]
    assert points_of(CARD) == {"fpr1": POINT}


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        (CARD, r"no operating point 'fpr5', its card has fpr1: .*at least|from 100 real"),
        ({"threshold": 0.5}, "its card has none"),
    ],
)
def test_an_operating_point_that_is_not_there_is_named_with_those_that_are(card, wanted):
    with pytest.raises(UsageError, match=wanted):
        VerdictRule.from_card(card, "fpr5")


def test_the_text_beside_the_points_is_no_point():
    with pytest.raises(UsageError, match="no operating point 'measured_on'"):
        VerdictRule.from_card(CARD, "measured_on")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"threshold": 2}, "impossible"),
        ({"threshold": float("nan")}, "impossible"),
        ({"threshold": None}, "lacks"),
        ({"threshold": 10**400}, "lacks"),
        ({"threshold": 0.8}, "low <= threshold <= high"),  # the range no longer holds what it promises
        ({"threshold": 0.3}, "low <= threshold <= high"),
        ({"unsure": {**BAND, "low": 0.8}}, "impossible"),
        ({"unsure": {**BAND, "low": -0.1}}, "impossible"),
        ({"unsure": {**BAND, "high": 1.1}}, "impossible"),
        ({"unsure": {**BAND, "high": float("nan")}}, "impossible"),
        ({"unsure": {**BAND, "alpha": 1}}, "impossible"),
        ({"unsure": {"low": 0.4, "high": 0.7}}, "lacks"),
        ({"unsure": []}, "lacks"),
        ({"unsure": None}, "lacks"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(changes, wanted):
    with pytest.raises(DetectorError, match=wanted):
        VerdictRule.from_card({**CARD, **changes})


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ([], "lack"),
        (None, "lack"),
        ({"fpr1": 0.9}, "lack"),
        ({"fpr1": {**POINT, "threshold": None}}, "lack"),
        ({"fpr1": {**POINT, "threshold": 1.5}}, "impossible"),
        ({"fpr1": {**POINT, "threshold": float("nan")}}, "impossible"),
        ({"fpr1": {**POINT, "target_fpr": -1}}, "impossible"),
        ({"fpr1": {**POINT, "fpr": 0.01}}, "lack"),
        ({"fpr1": {**POINT, "tpr": {**RATE, "low": float("inf")}}}, "impossible"),
        ({f"p{at}": POINT for at in range(MAX_POINTS + 1)}, "impossible"),
    ],
)
def test_operating_points_that_make_no_sense_are_refused(points, wanted):
    with pytest.raises(DetectorError, match=wanted):
        points_of({"operating_points": points})


def test_a_card_without_the_key_has_no_operating_points():
    assert points_of({"threshold": 0.5}) == {}


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.5, "0.5"), (0.0, "0"), (1.0, "1"), (0.99996, "0.99996"), (1 - 1e-13, "0.9999999999999")]
)
def test_a_short_number_never_reads_as_one_without_being_it(value, wanted):
    assert short(value) == wanted
