"""fauxto.metrics.paired: McNemar and Holm by other hands, differences by their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fauxto import metrics
from fauxto.errors import ScoreError
from fauxto.metrics import Answers, paired
from fauxto.metrics.rankings import auc_covariance, placements


def two(seed, n=900):
    rng = np.random.default_rng(seed)
    is_fake, common = rng.random(n) < 0.4, rng.normal(size=n)
    logits = [1.3 * (2 * is_fake - 1) + common, 0.9 * (2 * is_fake - 1) + 0.7 * common + 0.7 * rng.normal(size=n)]
    return is_fake, *(1 / (1 + np.exp(-2 * logit)) for logit in logits)


def rights(n_own, n_other, n_both=3):
    own = np.repeat([True, False, True, False], [n_own, n_other, n_both, n_both])
    other = np.repeat([False, True, True, False], [n_own, n_other, n_both, n_both])
    return own, other


@pytest.mark.parametrize(("n_own", "n_other"), [(0, 0), (1, 0), (5, 0), (3, 3), (7, 2), (12, 30), (400, 520), (0, 60)])
def test_mcnemar_is_the_exact_binomial_test(n_own, n_other):
    found = metrics.mcnemar(*rights(n_own, n_other))
    assert found[:2] == (n_own, n_other)
    expected = stats.binomtest(n_own, n_own + n_other).pvalue if n_own + n_other else 1.0
    assert found.p_value == pytest.approx(expected, abs=1e-9)
    assert found.method == "exact"


def test_mcnemar_with_many_images_is_chi_squared_with_continuity_correction(monkeypatch):
    exact = metrics.mcnemar(*rights(400, 520)).p_value
    monkeypatch.setattr(paired, "MAX_EXACT", 900)
    found = metrics.mcnemar(*rights(400, 520))
    assert found.p_value == pytest.approx(stats.chi2.sf((120 - 1) ** 2 / 920, 1), abs=1e-9)
    assert found.p_value == pytest.approx(exact, rel=0.03)
    assert found.method.startswith("chi-squared")


def test_mcnemar_of_a_huge_difference_is_a_small_number_and_no_error():
    assert 0 <= metrics.mcnemar(*rights(15_000, 1)).p_value < 1e-300


def test_mcnemar_refuses_what_does_not_fit():
    with pytest.raises(ScoreError, match="bool"):
        metrics.mcnemar(np.array([1, 0]), np.array([1, 0]))
    with pytest.raises(ScoreError, match="one length"):
        metrics.mcnemar(np.array([True]), np.array([True, False]))


def test_holm_by_hand_and_by_its_definition():
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([]) == []
    assert metrics.holm([0.7, 0.8]) == [1.0, 1.0]
    values = np.random.default_rng(0).random(9) ** 3
    adjusted = metrics.holm(values.tolist())
    order = np.argsort(values)
    stepped = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(9, 0, -1)))
    np.testing.assert_allclose(np.array(adjusted)[order], stepped, atol=1e-12)


def test_every_difference_is_the_difference_of_the_plain_numbers():
    is_fake, own, other = two(0)
    found = metrics.differences(is_fake, Answers(own, 0.5), Answers(other, 0.4), n_draws=50)
    plain = {
        "accuracy": metrics.accuracy(is_fake, own, threshold=0.5) - metrics.accuracy(is_fake, other, threshold=0.4),
        "balanced_accuracy": metrics.balanced_accuracy(is_fake, own, threshold=0.5)
        - metrics.balanced_accuracy(is_fake, other, threshold=0.4),
        "roc_auc": metrics.roc_auc(is_fake, own) - metrics.roc_auc(is_fake, other),
        "tpr_at_fpr1": metrics.tpr_at_fpr(is_fake, own, fpr=0.01) - metrics.tpr_at_fpr(is_fake, other, fpr=0.01),
        "expected_calibration_error": metrics.expected_calibration_error(is_fake, own)
        - metrics.expected_calibration_error(is_fake, other),
        "brier_score": metrics.brier_score(is_fake, own) - metrics.brier_score(is_fake, other),
    }
    assert {name: number.value for name, number in found.items()} == pytest.approx(plain, abs=1e-9)
    for name, number in found.items():
        assert (number.low is None) == (name == "expected_calibration_error")
        assert number.low is None or number.low < number.value < number.high
    turned = metrics.differences(is_fake, Answers(other, 0.4), Answers(own, 0.5), n_draws=50)
    for name, number in found.items():
        assert turned[name].value == pytest.approx(-number.value)
        if number.low is not None:
            assert (turned[name].low, turned[name].high) == pytest.approx((-number.high, -number.low))


def test_intervals_by_their_formulas():
    is_fake, own, other = two(1)
    found = metrics.differences(is_fake, Answers(own, 0.5), Answers(other, 0.5), n_draws=10)
    right = [(p_fake >= 0.5) == is_fake for p_fake in (own, other)]
    a, b = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    p, q, z = (a + 1) / 902, (b + 1) / 902, stats.norm.ppf(0.975)  # Bonett and Price 2012
    half = z * np.sqrt((p + q - (p - q) ** 2) / 902)
    assert (found["accuracy"].low, found["accuracy"].high) == pytest.approx((p - q - half, p - q + half), abs=1e-9)
    squares = (own - is_fake) ** 2 - (other - is_fake) ** 2
    half = z * stats.sem(squares)
    assert found["brier_score"].high == pytest.approx(squares.mean() + half, abs=1e-9)
    covariance = auc_covariance([placements(is_fake, p_fake) for p_fake in (own, other)])
    error = np.sqrt(np.array([1, -1]) @ covariance @ np.array([1, -1]))
    width = found["roc_auc"].high - found["roc_auc"].low
    assert width == pytest.approx(2 * stats.t.ppf(0.975, is_fake.sum() - 1) * error, rel=1e-4)


def test_equal_detectors_differ_by_nothing():
    is_fake, own, _ = two(2)
    found = metrics.differences(is_fake, Answers(own, 0.5), Answers(own, 0.5), n_draws=20)
    assert all(number.value == 0 for number in found.values())
    assert found["roc_auc"].low == found["roc_auc"].high == found["tpr_at_fpr1"].low == 0
    assert found["accuracy"].low < 0 < found["accuracy"].high  # that they never differ is not known


def test_one_class_and_few_images():
    one = metrics.differences(np.array([True, True]), Answers(np.array([0.2, 0.9]), 0.5), Answers(np.array([0.9, 0.9]), 0.5))
    assert one["accuracy"].value == -0.5
    assert one["roc_auc"].value is one["balanced_accuracy"].value is one["tpr_at_fpr1"].value is None
    single = metrics.differences(np.array([True]), Answers(np.array([0.2]), 0.5), Answers(np.array([0.9]), 0.5))
    assert single["brier_score"].low is None
    few = metrics.differences(np.array([True, False]), Answers(np.array([0.2, 0.1]), 0.5), Answers(np.array([0.9, 0.1]), 0.5))
    assert few["roc_auc"].low is few["tpr_at_fpr1"].low is None
    with pytest.raises(ScoreError, match="threshold"):
        metrics.differences(np.array([True]), Answers(np.array([0.2]), 2.0), Answers(np.array([0.9]), 0.5))


def test_two_perfect_orders_and_a_single_fake_have_no_empty_interval():
    rng = np.random.default_rng(0)
    is_fake = np.repeat([False, True], [400, 60])
    own, other = (Answers(np.where(is_fake, middle, 0.1) + rng.uniform(-0.05, 0.05, 460), 0.5) for middle in (0.9, 0.8))
    for name in ("roc_auc", "tpr_at_fpr1"):
        found = metrics.differences(is_fake, own, other)[name]
        assert (found.value, found.low, found.high) == (0.0, None, None)
        assert "no interval" in found.reason
    one = np.arange(401) >= 400
    found = metrics.differences(one, Answers(own.p_fake[:401], 0.5), Answers(1 - other.p_fake[:401], 0.5))["tpr_at_fpr1"]
    assert (found.low, found.high, found.reason) == (None, None, paired.TOO_FEW)
