"""fauxto.metrics: values by hand, agreement with scikit-learn, refusals, and intervals that cover what they claim to."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.exceptions import UndefinedMetricWarning

from fauxto import metrics
from fauxto.calibration import log_loss
from fauxto.errors import ScoreError
from fauxto.metrics import Confusion, Interval
from fauxto.metrics.intervals import _resampled_ap, _resamples
from fauxto.metrics.points import cells_of

IS_FAKE = np.array([False, False, False, True, True])
P_FAKE = np.array([0.1, 0.5, 0.2, 0.9, 0.3])
THRESHOLD_METRICS = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
}


def plain(name):
    """Return the plain function behind a name of all_metrics, at the threshold 0.5."""
    if name == "tpr_at_fpr1":
        return partial(metrics.tpr_at_fpr, fpr=0.01)
    needs_threshold = name in THRESHOLD_METRICS or name == "false_alarm_rate"
    return partial(getattr(metrics, name), threshold=0.5) if needs_threshold else getattr(metrics, name)


def scores(seed, n=400, *, ties=False):
    rng = np.random.default_rng(seed)
    is_fake = rng.random(n) < 0.3
    p_fake = np.clip(rng.normal(0.4 + 0.25 * is_fake, 0.2), 0, 1)
    return is_fake, np.round(p_fake * 5) / 5 if ties else p_fake


@pytest.mark.parametrize(
    ("name", "expected"),
    [("accuracy", 3 / 5), ("balanced_accuracy", (2 / 3 + 1 / 2) / 2), ("precision", 1 / 2), ("recall", 1 / 2), ("f1", 1 / 2),
     ("false_alarm_rate", 1 / 3)],
)  # fmt: skip
def test_by_hand_and_a_tie_at_the_threshold_is_fake(name, expected):
    assert getattr(metrics, name)(IS_FAKE, P_FAKE, threshold=0.5) == pytest.approx(expected, abs=1e-15)


def test_confusion_by_hand():
    assert metrics.confusion(IS_FAKE, P_FAKE, threshold=0.5) == Confusion(tn=2, fp=1, fn=1, tp=1)
    assert metrics.confusion(IS_FAKE, P_FAKE, threshold=0.0) == Confusion(tn=0, fp=3, fn=0, tp=2)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed, ties):
    is_fake, p_fake = scores(seed, ties=ties)
    for threshold in (0.2, 0.4, 0.6):
        called = p_fake >= threshold
        assert metrics.confusion(is_fake, p_fake, threshold=threshold) == tuple(sk.confusion_matrix(is_fake, called).ravel())
        for name, theirs in THRESHOLD_METRICS.items():
            assert getattr(metrics, name)(is_fake, p_fake, threshold=threshold) == pytest.approx(
                theirs(is_fake, called), abs=1e-9
            )
        ours = metrics.false_alarm_rate(is_fake, p_fake, threshold=threshold)
        assert ours == pytest.approx(1 - sk.recall_score(~is_fake, ~called), abs=1e-9)
    assert metrics.roc_auc(is_fake, p_fake) == pytest.approx(sk.roc_auc_score(is_fake, p_fake), abs=1e-9)
    assert metrics.average_precision(is_fake, p_fake) == pytest.approx(sk.average_precision_score(is_fake, p_fake), abs=1e-9)
    alarms, found, _ = sk.roc_curve(is_fake, p_fake, drop_intermediate=False)
    for fpr in (0.0, 0.01, 0.05, 1.0):
        ours = metrics.tpr_at_fpr(is_fake, p_fake, fpr=fpr)
        assert ours == pytest.approx(found[alarms <= fpr].max(), abs=1e-9)


def test_tpr_at_fpr_by_hand_splits_no_tie():
    is_fake = np.repeat([False, True], [100, 4])
    p_fake = np.r_[np.full(98, 0.1), 0.6, 0.8, 0.9, 0.8, 0.7, 0.5]
    # One of 100 real images may be called fake, which is the one at 0.8; the next one stands at 0.6.
    assert metrics.tpr_at_fpr(is_fake, p_fake, fpr=0.01) == 3 / 4
    assert metrics.tpr_at_fpr(is_fake, p_fake, fpr=0.0099) == 1 / 4  # the fake at 0.8 cannot be found without the real one there
    assert metrics.tpr_at_fpr(is_fake[::-1], p_fake[::-1], fpr=0.02) == 1
    assert metrics.tpr_at_fpr(np.array([True, False]), np.array([0.4, 0.5]), fpr=0.01) == 0


@pytest.mark.parametrize("fpr", [-0.01, 1.01, np.nan])
def test_an_impossible_share_of_false_alarms_is_refused(fpr):
    with pytest.raises(ScoreError, match="share of false alarms must lie in"):
        metrics.tpr_at_fpr(IS_FAKE, P_FAKE, fpr=fpr)


@pytest.mark.parametrize("ties", [False, True])
def test_reliability_agrees_with_scikit_learn(ties):
    is_fake, p_fake = scores(7, n=3000, ties=ties)
    share, said = calibration_curve(is_fake, p_fake, n_bins=15)
    bins = metrics.reliability_bins(is_fake, p_fake)
    np.testing.assert_allclose([item.share_fake.value for item in bins], share, atol=1e-12)
    np.testing.assert_allclose([item.mean_p_fake for item in bins], said, atol=1e-12)
    assert sum(item.n for item in bins) == 3000
    assert all(item.low <= item.mean_p_fake <= item.high for item in bins)
    gaps = sum(item.n * abs(item.mean_p_fake - item.share_fake.value) for item in bins) / 3000
    assert metrics.expected_calibration_error(is_fake, p_fake) == pytest.approx(gaps, abs=1e-12)


def test_cumulative_counts_agree_with_scikit_learn():
    is_fake, p_fake = scores(3, ties=True)
    false_alarms, found, _ = sk.roc_curve(is_fake, p_fake, drop_intermediate=False)
    n_real, n_fake = metrics.cumulative_counts(is_fake, p_fake)
    np.testing.assert_allclose(np.r_[0, n_real / n_real[-1]], false_alarms)
    np.testing.assert_allclose(np.r_[0, n_fake / n_fake[-1]], found)


def test_wilson_agrees_with_scipy():
    from scipy.stats import binomtest

    for n_hits, n in ((0, 7), (7, 7), (3, 11), (400, 1000)):
        theirs = binomtest(n_hits, n).proportion_ci(0.9, method="wilson")
        ours = metrics.wilson(n_hits, n, level=0.9)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    with pytest.raises(ScoreError, match="n >= 1"):
        metrics.wilson(0, 0)


@pytest.mark.parametrize(
    ("is_fake", "p_fake", "said"),
    [
        (np.array([True]), np.array([1.5]), "not logits"),
        (np.array([True]), np.array([-0.1]), "not logits"),
        (np.array([True, False]), np.array([0.5, np.nan]), "got nan"),
        (np.array([True, False]), np.array([0.5]), "shapes"),
        (np.array([[True]]), np.array([[0.5]]), "flat"),
        (np.array([1, 0]), np.array([0.5, 0.5]), "bool"),
        (np.array([True, False]), np.array([1, 0]), "float"),
        (np.array([], bool), np.array([], float), "at least one"),
    ],
)
def test_scores_that_do_not_fit_are_refused_everywhere(is_fake, p_fake, said):
    with pytest.raises(ScoreError, match=said):
        metrics.check_scores(is_fake, p_fake)
    for name in (*THRESHOLD_METRICS, "false_alarm_rate", "all_metrics", "confusion_intervals"):
        with pytest.raises(ScoreError, match=said):
            getattr(metrics, name)(is_fake, p_fake, threshold=0.5)
    for name in ("roc_auc", "average_precision", "expected_calibration_error", "reliability_bins", "cumulative_counts"):
        with pytest.raises(ScoreError, match=said):
            getattr(metrics, name)(is_fake, p_fake)
    with pytest.raises(ScoreError, match=said):
        metrics.tpr_at_fpr(is_fake, p_fake, fpr=0.01)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, np.nan])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ScoreError, match="threshold must lie"):
        metrics.accuracy(IS_FAKE, P_FAKE, threshold=threshold)


@pytest.mark.parametrize(("n_resamples", "level"), [(0, 0.95), (10, 0.0), (10, 1.0)])
def test_impossible_intervals_are_refused(n_resamples, level):
    with pytest.raises(ScoreError, match="n_resamples"):
        metrics.all_metrics(IS_FAKE, P_FAKE, threshold=0.5, n_resamples=n_resamples, level=level)


@pytest.mark.parametrize(
    ("is_fake", "p_fake", "undefined"),
    [
        ([True, True], [0.9, 0.2], {"balanced_accuracy", "false_alarm_rate", "roc_auc", "average_precision", "tpr_at_fpr1"}),
        ([False, False], [0.9, 0.2], {"balanced_accuracy", "recall", "roc_auc", "average_precision", "tpr_at_fpr1"}),
        ([False, True], [0.1, 0.2], {"precision"}),
        ([False], [0.1], {"balanced_accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "tpr_at_fpr1"}),
    ],
)
def test_what_cannot_be_given_is_none_with_a_reason_and_never_zero(is_fake, p_fake, undefined):
    is_fake, p_fake = np.array(is_fake), np.array(p_fake)
    found = metrics.all_metrics(is_fake, p_fake, threshold=0.5)
    assert {name for name, metric in found.items() if metric.value is None} == undefined
    for name in undefined:
        assert found[name].reason
        assert found[name].low is found[name].high is None
        with pytest.raises(ScoreError, match="cannot be"):
            plain(name)(is_fake, p_fake)


def test_too_few_images_give_a_value_without_an_interval():
    found = metrics.all_metrics(np.array([False, True, True]), np.array([0.1, 0.2, 0.9]), threshold=0.5)
    assert (found["precision"].low, found["precision"].high) == (metrics.wilson(1, 1).low, 1.0)
    for name, said in (("roc_auc", "50 of each"), ("tpr_at_fpr1", "368"), ("average_precision", "too few")):
        assert found[name].value is not None
        assert found[name].low is found[name].high is None
        assert said in found[name].reason


def test_every_value_is_the_plain_function_and_lies_in_its_interval():
    is_fake, p_fake = scores(1, n=800)
    found = metrics.all_metrics(is_fake, p_fake, threshold=0.5, n_resamples=200)
    for name, metric in found.items():
        assert metric.value == plain(name)(is_fake, p_fake)
        if name != "expected_calibration_error":
            assert metric.low < metric.value < metric.high
            assert not metric.reason
    assert found["expected_calibration_error"].low is None
    assert "resampling" in found["expected_calibration_error"].reason


def test_same_seed_same_intervals():
    is_fake, p_fake = scores(2)
    first, again, other = (metrics.all_metrics(is_fake, p_fake, threshold=0.5, n_resamples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_resampled_average_precision_is_scikit_learns_with_sample_weights():
    is_fake, p_fake = scores(4, n=60, ties=True)
    for value, drawn in zip(_resampled_ap(cells_of(is_fake, p_fake), 40, 9), _resamples(60, 40, 9), strict=True):
        weights = np.bincount(drawn, minlength=60)
        assert value == pytest.approx(sk.average_precision_score(is_fake, p_fake, sample_weight=weights), abs=1e-9)


def test_a_resample_of_one_class_only_counts_as_undefined():
    values = _resampled_ap(cells_of(np.array([False, True]), np.array([0.1, 0.9])), 200, 0)
    assert 60 < np.isnan(values).sum() < 140  # two draws from two images hit the same one half of the time
    assert (values[~np.isnan(values)] == 1).all()


def test_threshold_intervals_are_nearly_those_of_a_naive_bootstrap():
    is_fake, p_fake = scores(5, n=1000)
    called, n_resamples = p_fake >= 0.5, 1000
    rng = np.random.default_rng(0)
    naive = {name: [] for name in ("accuracy", "precision", "recall", "f1", "balanced_accuracy")}
    for _ in range(n_resamples):
        weights = np.bincount(rng.integers(1000, size=1000), minlength=1000)
        tp, fp, fn, tn = (
            weights[mask].sum() for mask in (is_fake & called, ~is_fake & called, is_fake & ~called, ~is_fake & ~called)
        )
        naive["accuracy"].append((tp + tn) / 1000)
        naive["precision"].append(tp / (tp + fp))
        naive["recall"].append(tp / (tp + fn))
        naive["f1"].append(2 * tp / (2 * tp + fp + fn))
        naive["balanced_accuracy"].append((tp / (tp + fn) + tn / (tn + fp)) / 2)
    ours = metrics.all_metrics(is_fake, p_fake, threshold=0.5, n_resamples=10)
    for name, values in naive.items():
        width = ours[name].high - ours[name].low
        assert (ours[name].low, ours[name].high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.1 * width)


def test_confusion_intervals_hold_the_counts():
    is_fake, p_fake = scores(6)
    counts = metrics.confusion_intervals(is_fake, p_fake, threshold=0.5)
    assert {name: count.value for name, count in counts.items()} == metrics.confusion(is_fake, p_fake, threshold=0.5)._asdict()
    for count in counts.values():
        share = count.value / 400
        expected = count.value + 1.96 * np.sqrt(400 * share * (1 - share)) * np.array([-1, 1])
        assert (count.low, count.high) == pytest.approx(expected, abs=4)


EDGES = {
    "one of each": ([False, True], [0.3, 0.7]),
    "all one score": ([False, True, True, False, True], [0.5] * 5),
    "every answer wrong": ([True, True, False], [0.0, 0.1, 1.0]),
    "zeros and ones": ([False, True] * 6, [0.0, 1.0] * 5 + [1.0, 0.0]),
    "one fake in a thousand": ([True] + [False] * 999, [0.6, *np.linspace(0, 1, 999)]),
    "one real in a thousand": ([False] + [True] * 999, [0.6, *np.linspace(0, 1, 999)]),
}


@pytest.mark.parametrize("name", EDGES)
def test_agrees_with_scikit_learn_at_the_edges(name):
    is_fake, p_fake = (np.array(values) for values in EDGES[name])
    for threshold in (0.0, 0.5, 1.0):
        called = p_fake >= threshold
        assert metrics.confusion(is_fake, p_fake, threshold=threshold) == tuple(sk.confusion_matrix(is_fake, called).ravel())
        for metric, theirs in THRESHOLD_METRICS.items():
            if metric != "precision" or called.any():
                ours = getattr(metrics, metric)(is_fake, p_fake, threshold=threshold)
                assert ours == pytest.approx(theirs(is_fake, called), abs=1e-9)
    assert metrics.roc_auc(is_fake, p_fake) == pytest.approx(sk.roc_auc_score(is_fake, p_fake), abs=1e-9)
    assert metrics.average_precision(is_fake, p_fake) == pytest.approx(sk.average_precision_score(is_fake, p_fake), abs=1e-9)
    alarms, found, _ = sk.roc_curve(is_fake, p_fake, drop_intermediate=False)
    assert metrics.tpr_at_fpr(is_fake, p_fake, fpr=0.01) == pytest.approx(found[alarms <= 0.01].max(), abs=1e-9)
    assert metrics.brier_score(is_fake, p_fake) == pytest.approx(sk.brier_score_loss(is_fake, p_fake), abs=1e-9)
    shares, said = calibration_curve(is_fake, p_fake, n_bins=15)
    bins = metrics.reliability_bins(is_fake, p_fake)
    np.testing.assert_allclose([item.share_fake.value for item in bins], shares, atol=1e-9)
    np.testing.assert_allclose([item.mean_p_fake for item in bins], said, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_log_loss_and_brier_score_agree_with_scikit_learn(seed):
    is_fake, p_fake = scores(seed, ties=seed == 2)
    assert metrics.brier_score(is_fake, p_fake) == pytest.approx(sk.brier_score_loss(is_fake, p_fake), abs=1e-9)
    inside = np.clip(p_fake, 0.01, 0.99)
    assert log_loss(is_fake, np.log(inside / (1 - inside))) == pytest.approx(sk.log_loss(is_fake, inside), abs=1e-9)


def test_scikit_learn_says_zero_where_we_say_none():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        assert sk.precision_score([0, 1], [0, 0]) == 0
    found = metrics.all_metrics(np.array([False, True]), np.array([0.1, 0.2]), threshold=0.5)["precision"]
    assert found == Interval(None, reason="no image was called fake")
