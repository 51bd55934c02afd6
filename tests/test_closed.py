"""fauxto.metrics.closed: against direct sums over all pairs, the bootstrap and SciPy; and do the intervals cover?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fauxto.errors import ScoreError
from fauxto.metrics import (
    Confusion,
    Interval,
    all_metrics,
    auc_interval,
    balanced_interval,
    delong_variance,
    ece_interval,
    expected_calibration_error,
    mean_of_shares,
    paired_change,
    points,
    roc_auc,
    wilson,
)

Z = stats.norm.ppf(0.975)


def drawn(rng, n_real, n_fake, *, shift=1.2, digits=None):
    scores = np.concatenate([rng.normal(0, 1, n_real), rng.normal(shift, 1, n_fake)])
    p_fake = 1 / (1 + np.exp(-scores))
    is_fake = np.repeat([False, True], [n_real, n_fake])
    return is_fake, p_fake if digits is None else p_fake.round(digits)


def direct_variance(is_fake, p_fake):
    """DeLong et al. as it stands in the paper: the structural components of every pair, O(mn)."""
    x, y = p_fake[is_fake], p_fake[~is_fake]
    psi = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return psi.mean(axis=1).var(ddof=1) / len(x) + psi.mean(axis=0).var(ddof=1) / len(y)


@pytest.mark.parametrize("digits", [None, 1, 2])
def test_delong_is_the_sum_over_all_pairs(digits):
    rng = np.random.default_rng(1)
    for n_real, n_fake in ((2, 2), (7, 3), (40, 90), (150, 60)):
        is_fake, p_fake = drawn(rng, n_real, n_fake, digits=digits)
        counts = points.real_and_fake(points.cells_of(is_fake, p_fake), None)
        assert delong_variance(*counts) == pytest.approx(direct_variance(is_fake, p_fake), rel=1e-9, abs=1e-15)


def test_auc_interval_by_hand():
    is_fake, p_fake = np.array([False, False, True, True]), np.array([0.1, 0.6, 0.5, 0.9])
    found = auc_interval(is_fake, p_fake)  # psi = [[1, 0], [1, 1]]: variances 0.125 / 2 and 0.125 / 2
    half = Z * np.sqrt(0.125) / (0.75 * 0.25)
    assert found.value == roc_auc(is_fake, p_fake) == 0.75
    assert (found.low, found.high) == pytest.approx(
        [1 / (1 + np.exp(-(np.log(3) - half))), 1 / (1 + np.exp(-(np.log(3) + half)))]
    )


def test_auc_interval_is_that_of_the_bootstrap_on_many_images():
    is_fake, p_fake = drawn(np.random.default_rng(2), 800, 700)
    closed, drawn_again = auc_interval(is_fake, p_fake), all_metrics(is_fake, p_fake, threshold=0.5, n_resamples=600)["roc_auc"]
    assert closed.value == drawn_again.value
    assert (closed.low, closed.high) == pytest.approx((drawn_again.low, drawn_again.high), abs=0.003)


@pytest.mark.parametrize(("n_real", "n_fake", "shift"), [(40, 60, 1.0), (200, 200, 2.5)])
def test_auc_interval_covers(n_real, n_fake, shift):
    rng, truth = np.random.default_rng(3), stats.norm.cdf(shift / np.sqrt(2))
    found = [auc_interval(*drawn(rng, n_real, n_fake, shift=shift)) for _ in range(1500)]
    assert np.mean([one.low <= truth <= one.high for one in found]) <= 0.97


def test_a_perfect_order_has_an_interval_all_the_same():
    is_fake, p_fake = np.array([False] * 20 + [True] * 30), np.linspace(0, 1, 50)
    found, turned = auc_interval(is_fake, p_fake), auc_interval(~is_fake, p_fake)
    assert (found.value, found.high, turned.value, turned.low) == (1, 1, 0, 0)
    # Newcombe's method 5: the lower end is z standard errors below 1, by its own standard error.
    theta, extra = found.low, 24
    variance = theta * (1 - theta) * (1 + extra * (1 - theta) / (2 - theta) + extra * theta / (1 + theta)) / 600
    assert 1 - theta == pytest.approx(Z * np.sqrt(variance))
    assert turned.high == pytest.approx(1 - found.low)
    alone = auc_interval(np.array([False, True]), np.array([0.2, 0.7]))
    assert alone.value == alone.high == 1
    assert 0 < alone.low < 0.5


def test_auc_interval_of_ties_and_of_one_class():
    tied = auc_interval(np.array([False, True, True]), np.array([0.5, 0.5, 0.5]))
    assert tied.value == 0.5
    assert 0 < tied.low < 0.5 < tied.high < 1
    assert auc_interval(np.array([True]), np.array([0.5])).value is None
    with pytest.raises(ScoreError, match="must lie in"):
        auc_interval(np.array([True, False]), np.array([0.5, np.nan]))
    with pytest.raises(ScoreError, match="level"):
        auc_interval(np.array([True, False]), np.array([0.5, 0.4]), level=1.0)


def test_mean_of_shares_by_hand_and_without_a_class():
    first, second = wilson(8, 10), wilson(45, 50)
    found = mean_of_shares(first, second)
    assert found.value == pytest.approx(0.85)
    assert found.low == pytest.approx(0.85 - np.sqrt((0.8 - first.low) ** 2 + (0.9 - second.low) ** 2) / 2)
    assert found.high == pytest.approx(0.85 + np.sqrt((first.high - 0.8) ** 2 + (second.high - 0.9) ** 2) / 2)
    assert balanced_interval(Confusion(8, 2, 5, 45)) == found
    assert balanced_interval(Confusion(8, 2, 0, 0)).value is None
    assert mean_of_shares(Interval(None, reason="x"), first).value is None


@pytest.mark.parametrize(("n_real", "p_real", "n_fake", "p_fake"), [(50, 0.9, 80, 0.7), (400, 0.985, 100, 0.95)])
def test_balanced_interval_covers(n_real, p_real, n_fake, p_fake):
    rng, truth = np.random.default_rng(4), (p_real + p_fake) / 2
    tn, tp = rng.binomial(n_real, p_real, 4000), rng.binomial(n_fake, p_fake, 4000)
    pairs = zip(tn.tolist(), tp.tolist(), strict=True)
    found = [balanced_interval(Confusion(n, n_real - n, n_fake - t, t)) for n, t in pairs]
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.97


def test_paired_change_by_hand_and_its_cover():
    found = paired_change(3, 9, 98)  # p12 = 4/100, p21 = 10/100
    half = Z * np.sqrt((0.14 - 0.06**2) / 100)
    assert (found.value, found.low, found.high) == pytest.approx((-6 / 98, -0.06 - half, -0.06 + half))
    same = paired_change(0, 0, 10)
    assert same.value == 0
    assert same.low == pytest.approx(-same.high)
    rng = np.random.default_rng(5)
    counts = rng.multinomial(300, [0.02, 0.07, 0.91], 4000).tolist()
    inside = [paired_change(gained, lost, 300) for gained, lost, _ in counts]
    assert 0.93 <= np.mean([one.low <= -0.05 <= one.high for one in inside]) <= 0.97
    for wrong in ((1, 1, 1), (-1, 0, 5), (0, 0, 0)):
        with pytest.raises(ScoreError, match="need counts"):
            paired_change(*wrong)


def test_ece_interval_covers_an_error_that_is_there_and_one_that_is_not():
    rng, found, fair = np.random.default_rng(6), [], []
    for _ in range(400):
        p_fake = rng.beta(0.6, 0.6, 1500)
        found.append(ece_interval(rng.random(1500) < p_fake**1.6, p_fake))
        fair.append(ece_interval(rng.random(1500) < p_fake, p_fake))
    p_fake = rng.beta(0.6, 0.6, 2_000_000)
    truth = expected_calibration_error(rng.random(2_000_000) < p_fake**1.6, p_fake)
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) >= 0.93
    assert np.mean([one.low == 0 for one in fair]) > 0.9  # p_fake is right: the error that is seen is chance
    assert np.mean([one.low > 0 for one in found]) == 1


def test_ece_interval_of_answers_that_are_certain_is_a_point_or_nearly():
    is_fake = np.array([True, False, True])
    right = ece_interval(is_fake, is_fake.astype(float))
    assert (right.value, right.low, right.high) == (0, 0, 0)
    wrong = ece_interval(np.array([True]), np.array([0.25]))
    assert (wrong.value, wrong.low, wrong.high) == (0.75, 0.75, 0.75)
