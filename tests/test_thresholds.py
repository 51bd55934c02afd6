"""calibration: operating points and the band of unsure answers, by hand and against brute force."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fauxto.calibration import (
    needed_per_class,
    operating_points,
    to_p_fake,
    unsure_band,
)
from fauxto.errors import ScoreError
from fauxto.metrics import wilson
from fauxto.verdicts import VerdictRule

from .test_calibration import simulated

# ---------------------------------------------------------------- operating_points


def scores(real, fake):
    is_fake = np.array([False] * len(real) + [True] * len(fake))
    return is_fake, np.array([*real, *fake], float)


def best_by_brute_force(is_fake, p_fake, target):
    """Try every score, and all that lies beside it, as the threshold; the highest of those with the most fakes."""
    candidates = np.unique(np.concatenate([p_fake, np.nextafter(p_fake, 1), [0.0, 1.0]]))
    kept = [(float((p_fake[is_fake] >= at).mean()), at) for at in candidates if (p_fake[~is_fake] >= at).mean() <= target]
    most = max(found for found, _ in kept)
    return most, max(at for found, at in kept if found == most)


def test_operating_points_by_hand():
    # 100 real images at 0, 0.01 ... 0.99: one may lie at or above the first threshold, five at or above the second.
    is_fake, p_fake = scores(np.arange(100) / 100, [0.985, 0.985, 0.945, 0.2])
    points = operating_points(is_fake, p_fake)
    assert [(name, point["threshold"], point["target_fpr"]) for name, point in points.items()] == [
        ("fpr1", 0.985, 0.01), ("fpr5", 0.945, 0.05),
    ]  # fmt: skip
    assert [(point["fpr"]["value"], point["tpr"]["value"]) for point in points.values()] == [(0.01, 0.5), (0.05, 0.75)]
    expected = wilson(1, 100)
    assert points["fpr1"]["fpr"] == {"value": 0.01, "low": expected.low, "high": expected.high}
    assert json.loads(json.dumps(points)) == points


def test_a_photograph_between_the_fakes_and_the_spared_ones_does_not_lower_the_threshold():
    # 20 real images at 0, 0.05 ... 0.95: 0.95 finds both fakes with one false alarm, 0.97 finds them without any.
    is_fake, p_fake = scores(np.arange(20) / 20, [0.97, 0.98])
    point = operating_points(is_fake, p_fake)["fpr5"]
    assert (point["threshold"], point["fpr"]["value"], point["tpr"]["value"]) == (0.97, 0.0, 1.0)
    assert best_by_brute_force(is_fake, p_fake, 0.05) == (1.0, 0.97)


def test_where_no_fake_can_be_told_the_threshold_is_the_highest():
    assert operating_points(*scores(np.arange(20) / 20, [0.1]))["fpr5"]["threshold"] == 1.0


def test_operating_points_are_where_scikit_learns_roc_curve_has_them():
    from sklearn.metrics import roc_curve

    is_fake, logits = simulated(1.0, n=3000, seed=5)
    p_fake = to_p_fake(logits, temperature=1)
    fpr, tpr, thresholds = roc_curve(is_fake, p_fake, drop_intermediate=False)
    for point in operating_points(is_fake, p_fake).values():
        at = np.flatnonzero(thresholds == point["threshold"])[0]
        assert (point["fpr"]["value"], point["tpr"]["value"]) == pytest.approx((fpr[at], tpr[at]))
        assert point["tpr"]["value"] == pytest.approx(tpr[fpr <= point["target_fpr"]].max())


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(100, 260), st.integers(2, 12))
def test_operating_points_agree_with_brute_force_where_scores_tie(seed, n_real, n_levels):
    rng = np.random.default_rng(seed)
    levels = np.append(rng.random(n_levels), [0.0, 0.97])
    is_fake, p_fake = scores(rng.choice(levels, n_real), rng.choice(levels, 40))
    for point in operating_points(is_fake, p_fake).values():
        most, threshold = best_by_brute_force(is_fake, p_fake, point["target_fpr"])
        assert point["tpr"]["value"] == most
        assert point["fpr"]["value"] <= point["target_fpr"]
        if most:  # else any threshold above the real images is as good
            assert point["threshold"] == threshold


def test_a_point_is_left_out_where_the_real_images_are_too_few_for_it():
    for n_real, names in ((19, []), (20, ["fpr5"]), (99, ["fpr5"]), (100, ["fpr1", "fpr5"])):
        assert list(operating_points(*scores(np.zeros(n_real), [1.0]))) == names


def test_scores_that_are_exactly_one_do_not_break_the_promise():
    logits = np.concatenate([np.full(98, -50.0), [40.0, 700.0], np.full(50, 45.0)])  # all above 37 are 1.0 in floating point
    is_fake = np.arange(150) >= 100
    p_fake = to_p_fake(logits, temperature=1)
    assert (p_fake == 1).sum() == 52
    points = operating_points(is_fake, p_fake)
    assert list(points) == ["fpr5"]  # at 1 %, no threshold up to 1 tells the two real images from the fakes
    assert points["fpr5"]["fpr"]["value"] == 0.02


def test_the_allowed_number_of_false_alarms_is_not_lost_in_floating_point():
    # 0.01 * 2900 is 28.999999999999996
    is_fake, p_fake = scores(np.arange(2900) / 2900, [1.0, 2871 / 2900])
    assert operating_points(is_fake, p_fake)["fpr1"]["fpr"]["value"] == 0.01


@pytest.mark.parametrize(
    ("is_fake", "p_fake", "wanted"),
    [
        ([False], [0.5], "at least one fake"),
        ([True], [1.5], "must lie in"),
        ([True], [float("nan")], "must lie in"),
        ([], [], "at least one image"),
        ([True, False], [0.5], "one p_fake per is_fake"),
    ],
)
def test_operating_points_refuse(is_fake, p_fake, wanted):
    with pytest.raises(ScoreError, match=wanted):
        operating_points(np.array(is_fake, bool), np.array(p_fake, float))


def test_without_real_images_there_is_no_operating_point():
    assert operating_points(*scores([], [0.5])) == {}


# ---------------------------------------------------------------- unsure_band


def said(p_fake, low, high, threshold=0.5):
    return np.array(VerdictRule(threshold, low, high).verdicts(np.asarray(p_fake, float)))


def conformal_set(score, calibration, alpha):
    """The definition by p-values: a label is possible unless at most alpha of the scores, its own included, are as strange."""
    p_value = Fraction(1 + sum(other >= score for other in calibration), len(calibration) + 1)
    return p_value > alpha


def test_the_band_by_hand_where_the_classes_overlap():
    # n = 4, alpha = 1/4: the ceil(5 * 3/4) = 4th smallest, so the largest of the real, and the smallest of the fakes
    is_fake, p_fake = scores([0.1, 0.2, 0.3, 0.7], [0.4, 0.6, 0.8, 0.9])
    low, high = unsure_band(is_fake, p_fake, alpha=0.25)
    assert (low, high) == (0.4, np.nextafter(0.7, 1))
    assert said([0.39, 0.4, 0.5, 0.7, 0.71], low, high).tolist() == ["real", "unsure", "unsure", "unsure", "fake"]


def test_no_band_where_the_threshold_already_errs_less_than_alpha():
    is_fake, p_fake = scores([0.1, 0.2, 0.3], [0.7, 0.8, 0.9])
    low, high = unsure_band(is_fake, p_fake, alpha=0.25)
    assert (low, high) == (0.5, 0.5)
    assert said([0.49, 0.5], low, high).tolist() == ["real", "fake"]


@pytest.mark.parametrize(
    ("real", "fake", "band"),
    [
        ([0.1, 0.2, 0.6], [0.8, 0.8, 0.9], (0.5, np.nextafter(0.6, 1))),  # t_real .6 and t_fake .8 lie above the threshold
        ([0.1, 0.2, 0.2], [0.4, 0.8, 0.9], (0.4, 0.5)),  # t_real .2 and t_fake .4 lie below it
        ([0.1, 0.2, 0.5], [0.5, 0.8, 0.9], (0.5, np.nextafter(0.5, 1))),  # a tie of all three
    ],
)
def test_a_threshold_on_the_wrong_side_of_both_quantiles_is_bridged(real, fake, band):
    assert unsure_band(*scores(real, fake), alpha=0.25) == band


def test_another_threshold_moves_the_band():
    is_fake, p_fake = scores([0.1, 0.2, 0.3], [0.7, 0.8, 0.9])
    assert unsure_band(is_fake, p_fake, alpha=0.25, threshold=0.1) == (0.1, np.nextafter(0.3, 1))
    assert unsure_band(is_fake, p_fake, alpha=0.25, threshold=0.95) == (0.7, 0.95)


def test_a_class_with_too_few_images_stays_possible_everywhere():
    assert needed_per_class(0.25) == 3
    is_fake, p_fake = scores([0.1, 0.2], [0.7, 0.8, 0.9])
    low, high = unsure_band(is_fake, p_fake, alpha=0.25)
    assert low == 0.5
    assert "fake" not in said([0.0, 0.4, 0.5, 1.0], low, high)
    for real, fake in (([], [0.7, 0.8, 0.9]), ([], [0.2])):
        assert "fake" not in said([0.0, 0.5, 1.0], *unsure_band(*scores(real, fake), alpha=0.25))
    low, high = unsure_band(*scores([0.1] * 3, []), alpha=0.25)
    assert said([0.0, 0.5, 1.0], low, high).tolist() == ["unsure", "fake", "fake"]
    assert set(said([0.0, 0.5, 1.0], *unsure_band(*scores([0.5], [0.5]), alpha=0.25))) == {"unsure"}


def test_real_images_at_exactly_one_leave_no_room_for_fake():
    low, high = unsure_band(*scores([0.1, 0.2, 1.0], [1.0, 1.0, 1.0]), alpha=0.25)
    assert said([0.2, 1.0], low, high).tolist() == ["real", "unsure"]


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 60), st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.015]))
def test_the_band_agrees_with_the_definition(seed, n_real, n_fake, alpha):
    rng = np.random.default_rng(seed)
    real, fake = (rng.beta(*shape, n).round(2) for shape, n in (((2, 4), n_real), ((4, 2), n_fake)))
    low, high = unsure_band(*scores(real, fake), alpha=alpha)
    assert 0 <= low <= 0.5 <= high
    exact = Fraction(str(alpha))
    for p in np.linspace(0, 1, 101).round(2).tolist():
        real_is_possible = conformal_set(p, real, exact)
        fake_is_possible = conformal_set(-p, -fake, exact)
        # Outside of the possible labels nothing is said; where only one is possible, it or nothing.
        verdict = said([p], low, high)[0]
        if verdict == "fake":
            assert not real_is_possible
        if verdict == "real":
            assert not fake_is_possible
        if real_is_possible and fake_is_possible:
            assert verdict == "unsure"
        if verdict == "unsure":  # for a reason: the label on this side of the threshold would not be safe
            assert real_is_possible if p >= 0.5 else fake_is_possible


@pytest.mark.parametrize(("n", "alpha", "shift"), [(66, 0.015, 2.0), (200, 0.015, 4.5), (199, 0.05, 1.0), (99, 0.1, 3.0)])
def test_the_guarantee_holds_over_many_validation_sets(n, alpha, shift):
    # The share of wrong verdicts is known exactly for each band, since the scores are normal: only the bands are simulated.
    normal = NormalDist()
    rng = np.random.default_rng(7)
    n_sets = 2000
    wrong = np.empty((n_sets, 2))
    for row in wrong:
        logits = np.concatenate([rng.normal(-shift / 2, 1, n), rng.normal(shift / 2 + 0.3, 1, n)])
        low, high = unsure_band(np.arange(2 * n) >= n, to_p_fake(logits, temperature=1), alpha=alpha)
        low_logit, high_logit = (np.log(end / (1 - end)) for end in (low, high))
        row[:] = 1 - normal.cdf(high_logit + shift / 2), normal.cdf(low_logit - shift / 2 - 0.3)
    error = 4 * wrong.std(axis=0) / np.sqrt(n_sets)
    assert (wrong.mean(axis=0) <= alpha + error).all()
    if shift < 3:  # the classes overlap by more than alpha: the guarantee is used up, but for the rounding of the rank
        rank = math.ceil((n + 1) * (1 - Fraction(str(alpha))))
        np.testing.assert_allclose(wrong.mean(axis=0), 1 - rank / (n + 1), atol=float(error.max()))


def test_more_trust_asked_means_a_wider_band():
    is_fake, logits = simulated(1.0, n=4000, seed=1)
    p_fake = to_p_fake(logits, temperature=1)
    bands = [unsure_band(is_fake, p_fake, alpha=alpha) for alpha in (0.2, 0.1, 0.05, 0.015)]
    assert sorted(low for low, _ in bands)[::-1] == [low for low, _ in bands]
    assert sorted(high for _, high in bands) == [high for _, high in bands]


def test_needed_per_class_is_the_smallest_number_that_suffices():
    for alpha in (0.015, 0.05, 0.1, 0.25, 0.3, 0.5):
        n = needed_per_class(alpha)
        for size, is_enough in ((n, True), (n - 1, False)):
            _, high = unsure_band(*scores([0.2] * size, [0.9]), alpha=alpha)
            assert (high <= 1) == is_enough, (alpha, size)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_an_impossible_alpha_is_refused(alpha):
    with pytest.raises(ScoreError, match="alpha in"):
        unsure_band(*scores([0.1], [0.9]), alpha=alpha)


def test_an_impossible_threshold_or_score_is_refused():
    with pytest.raises(ScoreError, match="threshold in"):
        unsure_band(*scores([0.1], [0.9]), alpha=0.1, threshold=1.1)
    with pytest.raises(ScoreError, match="must lie in"):
        unsure_band(*scores([-3.0], [0.9]), alpha=0.1)
