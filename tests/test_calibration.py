"""calibration: p_fake and the temperature, by hand and beside other definitions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fauxto.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    fit_temperature,
    log_loss,
    log_odds,
    to_p_fake,
)
from fauxto.errors import ScoreError


def simulated(temperature: float, *, n: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels were drawn with p = sigmoid(logit / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, n).astype(np.float32)
    return rng.random(n) < 1 / (1 + np.exp(-logits / temperature)), logits


# ---------------------------------------------------------------- to_p_fake


def test_p_fake_by_hand():
    # sigmoid(ln 3) = 3/4
    assert to_p_fake(np.array([np.log(3), 2 * np.log(3)]), temperature=1).tolist() == pytest.approx([0.75, 0.9])
    assert to_p_fake(np.array([2 * np.log(3)]), temperature=2).tolist() == pytest.approx([0.75])


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.05, 20))
def test_p_fake_is_scipys_sigmoid(logits, temperature):
    from scipy.special import expit

    found = to_p_fake(np.array(logits), temperature=temperature)
    np.testing.assert_allclose(found, expit(np.array(logits) / temperature), rtol=1e-12, atol=0)


def test_p_fake_of_the_edges_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = to_p_fake(np.array([-np.inf, -1e300, 0, 1e300, np.inf]), temperature=0.05)
    assert found.tolist() == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_p_fake_keeps_the_shape(shape):
    found = to_p_fake(np.zeros(shape, np.float32), temperature=1)
    assert (found.shape, found.dtype) == (shape, np.float64)


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_an_impossible_temperature_is_refused(temperature):
    with pytest.raises(ScoreError, match="must be above 0"):
        to_p_fake(np.zeros(1), temperature=temperature)


def test_a_logit_that_is_no_number_is_refused():
    with pytest.raises(ScoreError, match="not a number"):
        to_p_fake(np.array([0, np.nan]), temperature=1)


def test_temperature_never_moves_a_tie_nor_the_order():
    logits = np.linspace(-5, 5, 101)
    for temperature in (MIN_TEMPERATURE, 1, MAX_TEMPERATURE):
        p_fake = to_p_fake(logits, temperature=temperature)
        assert p_fake[50] == 0.5
        assert (np.diff(p_fake) >= 0).all()


# ---------------------------------------------------------------- log_loss


def test_log_loss_by_hand():
    # p of the true label: 3/4 and 1/4 -> -(ln 3/4 + ln 1/4) / 2
    expected = -(np.log(0.75) + np.log(0.25)) / 2
    assert log_loss(np.array([True, False]), np.log([3.0, 3.0])) == pytest.approx(expected)


def test_log_loss_agrees_with_scikit_learn():
    from sklearn.metrics import log_loss as theirs

    is_fake, logits = simulated(1.5, n=500)
    assert log_loss(is_fake, logits) == pytest.approx(theirs(is_fake, to_p_fake(logits, temperature=1)), rel=1e-9)


def test_log_loss_does_not_overflow():
    assert log_loss(np.array([True, False]), np.array([-1e5, -1e5])) == pytest.approx(5e4)


# ---------------------------------------------------------------- fit_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5, 6.0])
def test_it_recovers_the_temperature_that_made_the_answers(temperature):
    is_fake, logits = simulated(temperature)
    assert fit_temperature(is_fake, logits) == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_scipy(seed):
    from scipy.optimize import minimize_scalar

    is_fake, logits = simulated(1.7, n=300, seed=seed)
    best = minimize_scalar(lambda t: log_loss(is_fake, logits / t), bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(is_fake, logits) == pytest.approx(best.x, rel=1e-4)


def test_by_hand_where_all_logits_are_equal():
    # 9 of 10 are fake: the best p is 0.9, so 2 / temperature = ln 9
    is_fake = np.arange(10) > 0
    assert fit_temperature(is_fake, np.full(10, 2.0)) == pytest.approx(2 / np.log(9), rel=1e-6)


def test_answers_without_an_error_or_without_a_right_one_stop_at_the_bounds():
    is_fake = np.array([True, False] * 10)
    logits = np.where(is_fake, 1.0, -1.0)
    assert fit_temperature(is_fake, logits) == pytest.approx(MIN_TEMPERATURE, rel=1e-6)
    assert fit_temperature(is_fake, -logits) == pytest.approx(MAX_TEMPERATURE, rel=1e-6)


def test_the_log_loss_never_gets_worse():
    is_fake, logits = simulated(4, n=200, seed=3)
    assert log_loss(is_fake, logits / fit_temperature(is_fake, logits)) <= log_loss(is_fake, logits)


def test_the_type_of_the_logits_does_not_matter():
    is_fake, logits = simulated(2, n=200)
    assert fit_temperature(is_fake, logits) == fit_temperature(is_fake, logits.astype(np.float64))
    assert fit_temperature(is_fake, np.full(200, 1e38, np.float32)) > 0  # 20 times it overflows float32


@pytest.mark.parametrize(
    ("is_fake", "logits", "wanted"),
    [
        ([], [], "need fake and real"),
        ([True, False], [1.0], "one logit per label"),
        ([[True, False]], [[1.0, 2.0]], "one logit per label"),
        ([True, False], [1.0, float("nan")], "not a finite number"),
        ([True, False], [1.0, float("inf")], "not a finite number"),
        ([True, True], [1.0, 2.0], "2 fake of 2"),
        ([False, False], [1.0, 2.0], "0 fake of 2"),
    ],
)
def test_what_cannot_be_fitted_is_refused(is_fake, logits, wanted):
    with pytest.raises(ScoreError, match=wanted):
        fit_temperature(np.array(is_fake, bool), np.array(logits))


def test_log_odds_by_hand_and_at_the_ends():
    found = log_odds(np.array([0.0, 0.2, 0.5, 1.0]))
    np.testing.assert_allclose(found[1:3], [np.log(0.25), 0], atol=1e-12)
    assert np.isfinite(found).all()
    assert found[0] < -600
    assert found[3] > 36
