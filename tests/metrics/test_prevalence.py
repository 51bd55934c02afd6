"""metrics.prevalence and recalibration.prior: Bayes by hand, intervals against brute force, shares that are found again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from fauxto.errors import ScoreError
from fauxto.metrics import Confusion, at_share, precision, wilson
from fauxto.metrics.prevalence import ratio_interval
from fauxto.recalibration.prior import estimated_share, prior_shift, share_interval


def test_by_hand():
    found = at_share(Confusion(tn=95, fp=5, fn=10, tp=90), 0.1)
    assert found.ppv.value == pytest.approx(0.09 / (0.09 + 0.045))
    assert found.npv.value == pytest.approx(0.855 / (0.855 + 0.01))
    assert found.false_alarms.value == pytest.approx(10_000 * 0.9 * 0.05)
    assert found.missed.value == pytest.approx(10_000 * 0.1 * 0.1)
    rate = wilson(5, 100)
    assert found.false_alarms.low == pytest.approx(9000 * rate.low)
    assert found.false_alarms.high == pytest.approx(9000 * rate.high)


def test_at_the_images_own_share_it_is_precision():
    rng = np.random.default_rng(0)
    is_fake, p_fake = rng.random(500) < 0.3, rng.random(500)
    counts = Confusion(*np.bincount(2 * is_fake + (p_fake >= 0.5), minlength=4).tolist())
    assert at_share(counts, is_fake.mean()).ppv.value == pytest.approx(precision(is_fake, p_fake, threshold=0.5), abs=1e-9)


@pytest.mark.parametrize(("top", "bottom"), [((90, 100), (10, 100)), ((3, 10), (400, 500)), ((99, 100), (1, 200))])
def test_the_ratios_ends_are_where_the_deviation_is_that_of_the_shares(top, bottom):
    t, f = wilson(*top), wilson(*bottom)

    def deviation(ratio, t_end, f_end):
        return (t.value - ratio * f.value) ** 2 - (t.value - t_end) ** 2 - ratio**2 * (f.value - f_end) ** 2

    low, high = ratio_interval(t, f)
    assert deviation(low, t.low, f.high) == pytest.approx(0, abs=1e-9)
    assert deviation(high, t.high, f.low) == pytest.approx(0, abs=1e-9)
    assert low < t.value / f.value < high


def test_no_false_alarm_yet_bounds_the_ratio_from_below_only():
    low, high = ratio_interval(wilson(50, 100), wilson(0, 100))
    assert low > 0
    assert high == np.inf
    found = at_share(Confusion(tn=100, fp=0, fn=50, tp=50), 0.01)
    assert found.ppv.value == found.ppv.high == 1.0
    assert 0 < found.ppv.low < 0.5


@pytest.mark.parametrize("share", [0.001, 0.1, 0.9])
def test_intervals_hold_their_values_and_stay_inside(share):
    for counts in (Confusion(9, 1, 1, 9), Confusion(0, 10, 0, 10), Confusion(10, 0, 10, 0), Confusion(1, 0, 0, 1)):
        found = at_share(counts, share)
        for number, most in ((found.ppv, 1), (found.npv, 1), (found.false_alarms, 10_000), (found.missed, 10_000)):
            if number.value is None:
                assert number.reason
            else:
                assert 0 <= number.low <= number.value + 1e-12
                assert number.value <= number.high + 1e-12 <= most + 1e-9


def test_shares_of_none_and_all():
    counts = Confusion(tn=95, fp=5, fn=10, tp=90)
    assert (at_share(counts, 0.0).ppv.value, at_share(counts, 1.0).ppv.value) == (0.0, 1.0)
    assert (at_share(counts, 0.0).missed.value, at_share(counts, 1.0).false_alarms.value) == (0.0, 0.0)


@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan])
def test_impossible_shares_and_one_class_are_refused(share):
    with pytest.raises(ScoreError, match="share of fakes"):
        at_share(Confusion(1, 1, 1, 1), share)
    with pytest.raises(ScoreError, match="real and fake"):
        at_share(Confusion(0, 0, 1, 1), 0.1)


def em(p_fake, prior, n_steps=20_000):
    """Saerens, Latinne and Decaestecker's algorithm as they wrote it."""
    share = prior
    for _ in range(n_steps):
        fake, real = share / prior * p_fake, (1 - share) / (1 - prior) * (1 - p_fake)
        share = float(np.mean(fake / (fake + real)))
    return share


@pytest.mark.parametrize("prior", [0.5, 0.2])
def test_the_share_is_where_expectation_maximisation_ends(prior):
    p_fake = np.random.default_rng(1).beta(0.6, 1.4, 80)
    share = estimated_share(p_fake, prior=prior)
    assert share == pytest.approx(em(p_fake, prior), abs=1e-9)

    def loss(at):
        return -np.log(at * p_fake / prior + (1 - at) * (1 - p_fake) / (1 - prior)).sum()

    assert share == pytest.approx(optimize.minimize_scalar(loss, bounds=(0, 1), method="bounded").x, abs=1e-4)
    found = share_interval(p_fake, prior=prior)
    for end in (found.low, found.high):
        drop, limit = 2 * (loss(end) - loss(share)), stats.chi2.ppf(0.95, 1)
        assert drop == pytest.approx(limit, abs=1e-6) or (end == 0 and drop < limit)
    assert found.high < 1


def test_a_share_of_another_mixture_is_found_again():
    rng = np.random.default_rng(2)
    is_fake = rng.random(20_000) < 0.07
    p_fake = 1 / (1 + np.exp(-3 * rng.normal(np.where(is_fake, 1.5, -1.5))))  # calibrated for as many fakes as photographs
    assert estimated_share(p_fake) == pytest.approx(0.07, abs=0.01)


def test_shares_at_the_ends_and_refusals():
    assert estimated_share(np.zeros(5)) == pytest.approx(0, abs=1e-12)
    assert estimated_share(np.ones(5)) == pytest.approx(1, abs=1e-12)
    zeros = share_interval(np.zeros(5))
    assert (zeros.low, zeros.value) == (0.0, pytest.approx(0, abs=1e-12))
    assert zeros.high == pytest.approx(1 - np.exp(-stats.chi2.ppf(0.95, 1) / 10), abs=1e-6)
    nothing_said = share_interval(np.full(5, 0.5))
    assert (nothing_said.low, nothing_said.high) == (0.0, 1.0)
    for wrong in (np.array([]), np.array([np.nan]), np.array([1.5]), np.zeros((2, 2))):
        with pytest.raises(ScoreError, match="p_fake in"):
            estimated_share(wrong)
    for prior in (0.0, 1.0, np.nan):
        with pytest.raises(ScoreError, match="between 0 and 1"):
            prior_shift(prior, 0.5)
    assert prior_shift(0.2, 0.8) == pytest.approx(2 * np.log(4))
