"""fauxto.metrics.rankings: DeLong by hand and against scipy, Newcombe's equation, draws that know their distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fauxto.errors import ScoreError
from fauxto.metrics import confusion, roc_auc, tpr_at_fpr, tpr_interval
from fauxto.metrics.intervals import ratio_interval_of
from fauxto.metrics.rankings import auc_covariance, auc_interval, needed_real, placements, tpr_draws
from fauxto.metrics.shares import mean_of_two, on_log_odds, t_of, wilson, z_of


def scores(seed, n=300, share=0.4, gap=0.2):
    rng = np.random.default_rng(seed)
    is_fake = rng.random(n) < share
    return is_fake, np.clip(rng.normal(0.4 + gap * is_fake, 0.2), 0, 1)


@pytest.mark.parametrize("ties", [False, True])
def test_placements_are_those_of_all_pairs(ties):
    is_fake, p_fake = scores(0)
    p_fake = np.round(p_fake, 1) if ties else p_fake
    wins = np.sign(p_fake[is_fake][:, None] - p_fake[~is_fake][None]) / 2 + 0.5
    found = placements(is_fake, p_fake)
    np.testing.assert_allclose(found.fake, wins.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(found.real, wins.mean(axis=0), atol=1e-12)
    expected = np.var(wins.mean(axis=1), ddof=1) / is_fake.sum() + np.var(wins.mean(axis=0), ddof=1) / (~is_fake).sum()
    assert auc_covariance([found])[0, 0] == pytest.approx(expected, abs=1e-12)
    mann_whitney = stats.mannwhitneyu(p_fake[is_fake], p_fake[~is_fake]).statistic
    assert roc_auc(is_fake, p_fake) == pytest.approx(mann_whitney / is_fake.sum() / (~is_fake).sum(), abs=1e-9)


def test_the_covariance_of_a_detector_with_itself_is_its_variance():
    is_fake, p_fake = scores(1)
    found = auc_covariance([placements(is_fake, p_fake)] * 2)
    np.testing.assert_allclose(found, found[0, 0])
    assert np.isnan(auc_covariance([placements(np.array([True, False]), np.array([0.2, 0.1]))])).all()


def test_auc_interval_by_the_formula():
    is_fake, p_fake = scores(2)
    found, auc = auc_interval(is_fake, p_fake), roc_auc(is_fake, p_fake)
    n_fewer = min(is_fake.sum(), (~is_fake).sum())
    half = stats.t.ppf(0.975, n_fewer - 1) * np.sqrt(auc_covariance([placements(is_fake, p_fake)])[0, 0]) / (auc * (1 - auc))
    log_odds = np.log(auc / (1 - auc))
    expected = 1 / (1 + np.exp(-(log_odds + half * np.array([-1, 1]))))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("digits", [1, 2, 17])
def test_delong_is_the_sum_over_all_pairs(digits):
    """As it stands in the paper: the structural components of every pair, O(mn)."""
    rng = np.random.default_rng(1)
    for n_real, n_fake in ((2, 2), (7, 3), (150, 60)):
        p_fake = (1 / (1 + np.exp(-rng.normal(np.repeat([0, 1.2], [n_real, n_fake]))))).round(digits)
        x, y = p_fake[n_real:], p_fake[:n_real]
        psi = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
        expected = psi.mean(axis=1).var(ddof=1) / len(x) + psi.mean(axis=0).var(ddof=1) / len(y)
        found = auc_covariance([placements(np.repeat([False, True], [n_real, n_fake]), p_fake)])[0, 0]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_few_images_have_no_auc_interval_and_one_class_no_auc():
    is_fake = np.repeat([False, True], [49, 400])
    assert auc_interval(is_fake, np.linspace(0, 1, 449)).low is None
    alone = auc_interval(np.array([True, True]), np.array([0.1, 0.2]))
    assert (alone.value, alone.low) == (None, None)
    assert "only one kind" in alone.reason
    with pytest.raises(ScoreError, match="must lie in"):
        auc_interval(np.array([True, False]), np.array([0.5, np.nan]))


@pytest.mark.parametrize("is_turned", [False, True])
def test_where_every_pair_is_in_order_newcombes_equation_holds(is_turned):
    is_fake = np.repeat([is_turned, not is_turned], 50)
    found = auc_interval(is_fake, np.linspace(0, 1, 100))
    auc = found.low if not is_turned else found.high
    variance = auc * (1 - auc) * (1 + 49 * ((1 - auc) / (2 - auc) + auc / (1 + auc))) / 2500
    assert abs(found.value - auc) == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(variance), abs=1e-9)
    assert found.value == (0.0 if is_turned else 1.0)
    assert (found.low if is_turned else found.high) == found.value


def test_needed_real_is_where_all_photographs_may_lie_below():
    assert 0.99**367 > 0.025 > 0.99**368
    assert needed_real(0.01) == 368


def test_draws_of_recall_spread_as_beta_where_the_threshold_hardly_matters():
    # 30 of 40 fakes lie above every photograph and the rest below: recall is Beta(30.5, 10.5) whatever the threshold.
    is_fake = np.repeat([False, True], [2000, 40])
    p_fake = np.concatenate([np.linspace(0.3, 0.6, 2000), np.full(30, 0.9), np.full(10, 0.1)])
    draws = tpr_draws(is_fake, [p_fake], fpr=0.01, n_draws=2000)[0]
    assert stats.kstest(draws, stats.beta(30.5, 10.5).cdf).pvalue > 0.01


def test_draws_of_the_place_spread_as_beta():
    # A fake above each photograph's place: recall tells the place of the threshold among the photographs, times a beta.
    n = 1000
    is_fake = np.repeat([False, True], n)
    p_fake = np.concatenate([np.linspace(0, 1, n), np.linspace(0, 1, n)])
    draws = tpr_draws(is_fake, [p_fake, p_fake], fpr=0.05, n_draws=500)
    assert np.array_equal(draws[0], draws[1])  # paired
    assert draws[0].mean() == pytest.approx(0.05, abs=0.002)
    expected = np.sqrt(2 * 0.05 * 0.95 / n)  # of the place, and of the fakes above it
    assert draws[0].std() == pytest.approx(expected, rel=0.1)


def test_tpr_interval_needs_photographs_and_holds_its_value():
    is_fake, p_fake = scores(3, n=1200)
    found = tpr_interval(is_fake, p_fake, fpr=0.01, n_draws=200)
    assert found.low <= found.value == tpr_at_fpr(is_fake, p_fake, fpr=0.01) <= found.high
    assert tpr_interval(is_fake, p_fake, fpr=0.01, n_draws=200) == found
    few = tpr_interval(is_fake[:300], p_fake[:300], fpr=0.01)
    assert few.low is None
    assert "368" in few.reason
    tied = tpr_interval(np.repeat([False, True], 400), np.full(800, 0.5), fpr=0.01, n_draws=50)
    assert (tied.value, tied.low) == (0.0, 0.0)


def test_levels_and_small_samples():
    assert z_of(0.9) == pytest.approx(stats.norm.ppf(0.95), abs=1e-9)
    for n_free in (5, 19, 49, 1000):
        assert t_of(0.95, n_free) == pytest.approx(stats.t.ppf(0.975, n_free), rel=0.01)
    for level in (0, 1, np.nan):
        with pytest.raises(ScoreError, match="level"):
            z_of(level)


def test_mean_of_two_by_hand_and_log_odds_stay_inside():
    found = mean_of_two(wilson(5, 10), wilson(10, 10))
    (a, b), (c, _) = [(interval.low, interval.high) for interval in (wilson(5, 10), wilson(10, 10))]
    assert found.low == pytest.approx(0.75 - np.hypot(0.5 - a, 1 - c) / 2)
    assert found.high == pytest.approx(0.75 + (b - 0.5) / 2)
    assert 0 < on_log_odds(0.999, 0.5).low < on_log_odds(0.999, 0.5).high <= 1


def test_intervals_cover_the_truth_about_as_often_as_they_claim():
    n_data_sets, rng, hits = 250, np.random.default_rng(0), np.zeros(3)
    for _ in range(n_data_sets):
        is_fake = rng.random(240) < 0.5
        p_fake = stats.norm.cdf(rng.normal(np.where(is_fake, 0.75, -0.75)))
        counts = confusion(is_fake, p_fake, threshold=0.5)
        right = stats.norm.cdf(0.75)
        truths = (stats.norm.cdf(1.5 / np.sqrt(2)), right, right)  # of equal errors in both classes, F1 is their accuracy
        found = [auc_interval(is_fake, p_fake), *(ratio_interval_of(name, counts) for name in ("f1", "balanced_accuracy"))]
        hits += [interval.low <= truth <= interval.high for interval, truth in zip(found, truths, strict=True)]
    assert (hits / n_data_sets >= 0.91).all()
    assert (hits / n_data_sets <= 0.985).all()
