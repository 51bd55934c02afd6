"""vocabulary: FAKE is 1, said once; a prediction becomes plain values."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fauxto.vocabulary import Kind, Label, Prediction, Verdict


def test_fake_is_one_and_real_is_zero():
    assert (Label.REAL, Label.FAKE) == (0, 1)
    assert np.array([Label.FAKE, Label.REAL]).astype(bool).tolist() == [True, False]


def test_label_refuses_anything_else():
    with pytest.raises(ValueError, match="2 is not a valid Label"):
        Label(2)


def test_verdicts_are_the_three_words():
    assert [verdict.value for verdict in Verdict] == ["real", "fake", "unsure"]
    assert Verdict.FAKE == "fake"
    assert json.dumps(Verdict.UNSURE) == '"unsure"'


def test_the_kinds_of_reasons_are_these_four_in_the_order_of_the_rules():
    assert [kind.value for kind in Kind] == ["size", "unfamiliar", "unstable", "evidence"]


def test_prediction_to_dict_is_ready_for_json():
    prediction = Prediction(p_fake=0.75, logit=1.5, verdict="fake")
    expected = {"p_fake": 0.75, "logit": 1.5, "verdict": "fake", "reason": "", "kind": ""}
    assert prediction.to_dict() == expected
    assert json.loads(json.dumps(prediction.to_dict())) == expected


def test_a_prediction_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Prediction(0.5, 0.0, "fake").p_fake = 0.1  # type: ignore[misc]
