"""fauxto.recalibration.platt: against scikit-learn and scipy, and held where there is little to see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from fauxto.errors import ScoreError
from fauxto.recalibration.platt import BIAS_SD, NEEDED_FOR_SLOPE, SLOPE_SD, Platt, fit_platt


def drawn(n_real, n_fake, *, slope=1.0, bias=0.0, seed=0):
    """Log-odds which, times slope and plus bias, are right for as many fakes as photographs."""
    rng = np.random.default_rng(seed)
    is_fake = np.repeat([False, True], [n_real, n_fake])
    right = rng.normal(np.where(is_fake, 2.0, -2.0), 2.0)  # log-odds of normals 4 apart with variance 4: the value itself
    return is_fake, (right - bias) / slope


@pytest.mark.parametrize("with_slope", [False, True])
@pytest.mark.parametrize(("n_real", "n_fake"), [(40, 30), (5, 90)])
def test_it_is_the_highest_posterior_probability(n_real, n_fake, with_slope):
    is_fake, log_odds = drawn(n_real, n_fake, slope=0.6, bias=-1)
    found = fit_platt(is_fake, log_odds, with_slope=with_slope)

    def loss(at):
        slope, bias = (at[0], at[1]) if with_slope else (1.0, at[0])
        said = slope * log_odds + bias + np.log(n_fake / n_real)
        prior = ((slope - 1) / SLOPE_SD) ** 2 / 2 + (bias / BIAS_SD) ** 2 / 2
        return np.logaddexp(0, np.where(is_fake, -said, said)).sum() + prior

    expected = optimize.minimize(loss, [1.0, 0.0] if with_slope else [0.0], tol=1e-12).x
    assert list(found if with_slope else found[1:]) == pytest.approx(expected, abs=1e-4)


def test_with_many_images_the_prior_is_nothing_and_it_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    is_fake, log_odds = drawn(6000, 3000, slope=0.5, bias=0.7)
    found = fit_platt(is_fake, log_odds)
    theirs = LogisticRegression(C=1e9).fit(log_odds[:, None], is_fake)
    assert found.slope == pytest.approx(theirs.coef_[0, 0], rel=0.01)
    assert found.bias == pytest.approx(theirs.intercept_[0] - np.log(3000 / 6000), abs=0.02)
    assert found == pytest.approx((0.5, 0.7), abs=0.1)


def test_the_samples_own_share_of_fakes_is_taken_out():
    is_fake, log_odds = drawn(3000, 3000)
    few = np.r_[0:3000, 3000:3300]  # a tenth of the fakes
    assert fit_platt(is_fake[few], log_odds[few]) == pytest.approx(fit_platt(is_fake, log_odds), abs=0.15)


def test_few_images_get_a_bias_only_and_do_no_harm():
    is_fake, log_odds = drawn(10, 10, seed=3)
    found = fit_platt(is_fake, log_odds)
    assert found.slope == 1
    assert abs(found.bias) < 0.7
    assert fit_platt(*drawn(NEEDED_FOR_SLOPE - 1, 99)).slope == 1
    assert fit_platt(*drawn(NEEDED_FOR_SLOPE, 99)).slope != 1


def test_in_repeated_small_samples_the_new_calibration_is_hardly_worse_than_a_right_one():
    test_fake, test_odds = drawn(4000, 4000, seed=99)

    def loss(platt):
        said = platt.slope * test_odds + platt.bias
        return np.logaddexp(0, np.where(test_fake, -said, said)).mean()

    losses = [loss(fit_platt(*drawn(10, 10, seed=seed))) for seed in range(60)]
    assert np.mean(losses) < 1.15 * loss(Platt(1, 0))


def test_classes_that_are_apart_and_turned_round_end_without_overflow():
    is_fake = np.repeat([False, True], 50)
    apart = fit_platt(is_fake, np.where(is_fake, 300.0, -300.0))
    assert apart == pytest.approx((1, 0), abs=1e-6)
    turned = fit_platt(is_fake, np.where(is_fake, -300.0, 300.0) + np.linspace(-1, 1, 100))
    assert turned.slope == 0.05


@pytest.mark.parametrize(
    ("is_fake", "log_odds", "said"),
    [
        (np.array([True, True]), np.zeros(2), "both kinds"),
        (np.array([], bool), np.zeros(0), "both kinds"),
        (np.array([True, False]), np.zeros(3), "shapes"),
        (np.array([True, False]), np.array([0, np.nan]), "finite"),
        (np.array([True, False]), np.array([0, np.inf]), "finite"),
    ],
)
def test_refusals(is_fake, log_odds, said):
    with pytest.raises(ScoreError, match=said):
        fit_platt(is_fake, log_odds)
