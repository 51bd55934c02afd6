"""fauxto.metrics.closed: by hand, and do the intervals cover?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fauxto.errors import ScoreError
from fauxto.metrics import ece_interval, expected_calibration_error, paired_change

Z = stats.norm.ppf(0.975)


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
