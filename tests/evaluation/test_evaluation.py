"""fauxto.evaluation: every image scored once, the card's threshold, and what the report says of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fauxto import metrics
from fauxto.calibration import to_p_fake
from fauxto.config import TrainConfig, to_dict
from fauxto.data.splits import fingerprint, make_split
from fauxto.detector import Detector
from fauxto.errors import DataError, ImageError
from fauxto.evaluation import MISTAKES_PER_CLASS, columns_for, evaluate
from fauxto.report import numbers_of
from fauxto.vocabulary import Prediction


class FakeDetector:
    """Says fake where neighbouring pixels differ much, unsure of sizes out of scope and in a range; counts what it was asked."""

    tiles = None

    def __init__(self, card=None, *, threshold=0.5, unsure=(0.5, 0.5), operating_point=""):
        self.card = {"name": "fake detector", "threshold": threshold, **(card or {})}
        self.threshold, self.unsure, self.operating_point = threshold, unsure, operating_point
        self.n_asked = 0

    def logits(self, images):
        return np.array([np.abs(np.diff(image.astype(float), axis=1)).mean() / 10 - 2 for image in images], np.float32)

    def p_fake(self, logits):
        return to_p_fake(logits, temperature=1.5)

    def predict_each(self, images):
        images = list(images)
        self.n_asked += len(images)
        for image, logit in zip(images, self.logits(images).tolist(), strict=True):
            p_fake = float(self.p_fake(np.array(logit)))
            verdict, reason, kind = "fake" if p_fake >= self.threshold else "real", "", ""
            if self.unsure[0] <= p_fake < self.unsure[1]:
                verdict, reason, kind = "unsure", f"p_fake lies in the range from {self.unsure[0]} on", "evidence"
            if min(image.shape[:2]) < self.card.get("scope", {}).get("min_side", 1):
                verdict, reason, kind = "unsure", f"the image has {image.shape[1]} x {image.shape[0]} pixels", "size"
            yield Prediction(p_fake, logit, verdict, reason, kind)


def card_of(store, **config):
    made = TrainConfig(**config)
    about = {"store": store.folder.name, "config": to_dict(made), "test_part": fingerprint(store, make_split(store, made).test)}
    return {"trained_on": about}


def test_scores_metrics_and_columns_are_those_of_the_images(store):
    detector = FakeDetector(threshold=0.4)
    first, second = np.array([5, 70, 2, 80, 40]), np.array([80, 2, 81])
    report = evaluate(
        detector, store, {"some": first, "others": second}, n_resamples=20, command="fauxto evaluate x", date="2024-01-01"
    )
    union = np.unique(np.concatenate([first, second]))
    assert detector.n_asked == len(union)
    assert report.scores.path == tuple(store.path[union])
    np.testing.assert_array_equal(report.scores.is_fake, store.is_fake[union])
    expected = detector.p_fake(detector.logits([store.image(at) for at in union]))
    np.testing.assert_array_equal(report.scores.p_fake, expected)
    np.testing.assert_array_equal(report.scores.called_fake, expected >= 0.4)
    for column, at in zip(report.columns, (first, second), strict=True):
        np.testing.assert_array_equal(union[column.members], np.sort(at))
        p_fake = detector.p_fake(detector.logits([store.image(position) for position in np.sort(at)]))
        is_fake = store.is_fake[np.sort(at)]
        assert (column.n_real, column.n_fake, column.n) == ((~is_fake).sum(), is_fake.sum(), len(at))
        assert column.metrics == metrics.all_metrics(is_fake, p_fake, threshold=0.4, n_resamples=20)
        assert column.confusion == metrics.confusion_intervals(is_fake, p_fake, threshold=0.4, n_resamples=20)
    assert (report.threshold, report.command, report.date, report.detector) == (
        0.4,
        "fauxto evaluate x",
        "2024-01-01",
        "fake detector",
    )
    assert report.environment["packages"]["numpy"] == np.__version__


def test_a_tie_at_the_threshold_is_fake(store):
    detector = FakeDetector()
    detector.logits = lambda images: np.zeros(len(images), np.float32)
    report = evaluate(detector, store, {"all": np.arange(len(store))}, n_resamples=2)
    assert report.scores.called_fake.all()
    assert report.columns[0].metrics["recall"].value == 1


def test_progress_reaches_the_total(store):
    seen = []
    evaluate(FakeDetector(), store, {"all": np.arange(7)}, n_resamples=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (7, 7)


def test_the_metrics_count_every_image_and_the_verdicts_only_what_was_answered(store):
    every = {"all": np.arange(len(store))}
    forced = evaluate(FakeDetector(), store, every, n_resamples=2)
    low, high = np.quantile(forced.scores.p_fake, [0.3, 0.8])
    detector = FakeDetector({"unsure": {"alpha": 0.1, "guarantee": "a promise"}}, unsure=(low, high))
    report = evaluate(detector, store, every, n_resamples=2)
    assert report.columns[0].metrics == forced.columns[0].metrics
    np.testing.assert_array_equal(report.scores.called_fake, forced.scores.called_fake)
    is_open = (report.scores.p_fake >= low) & (report.scores.p_fake < high)
    assert 0 < is_open.sum() < len(store)
    expected = np.where(is_open, "unsure", np.where(report.scores.called_fake, "fake", "real"))
    np.testing.assert_array_equal(report.scores.verdict, expected)
    assert {bool(reason) == verdict for reason, verdict in zip(report.scores.reason, is_open, strict=True)} == {True}
    verdicts = report.columns[0].verdicts
    assert verdicts.abstained == metrics.wilson(int(is_open.sum()), len(store))
    is_right = (expected == "fake") == store.is_fake
    n_answered = int((~is_open).sum())
    assert verdicts.selective_accuracy == metrics.wilson(int(is_right[~is_open].sum()), n_answered)
    assert [(row.kind, row.real + row.fake) for row in verdicts.reasons] == [("evidence", is_open.sum())]
    assert (verdicts.alpha, verdicts.guarantee) == (0.1, "a promise")
    assert detector.n_asked == len(store)


def test_each_column_counts_its_own_verdicts(store):
    reals, fakes = np.flatnonzero(~store.is_fake), np.flatnonzero(store.is_fake)
    detector = FakeDetector({"scope": {"min_side": 64}})
    first, second = evaluate(detector, store, {"reals": reals, "fakes": fakes}, n_resamples=2).columns
    assert [row.n for row in first.verdicts.classes] == [len(reals), 0]
    assert [row.n for row in second.verdicts.classes] == [0, len(fakes)]
    assert first.verdicts.classes[0].unsure == len(reals)
    assert first.verdicts.selective_accuracy.value is None
    assert first.verdicts.reasons[0].kind == "size"


def test_a_promise_that_these_images_break_is_a_caveat(store):
    every = {"all": np.arange(len(store))}
    card = card_of(store) | {"unsure": {"alpha": 0.25}}
    assert evaluate(FakeDetector(card), store, every, n_resamples=2).caveats == ()
    (broken,) = evaluate(FakeDetector(card, threshold=1.0), store, every, n_resamples=2).caveats  # nothing is called fake
    assert broken.startswith("The card promises at most 25 % wrong verdicts on fake images like those it was fitted on; on ")
    assert "there are 100.00 %" in broken


def test_a_named_operating_point_promises_nothing_and_is_named(store):
    card = {"unsure": {"alpha": 0.1, "guarantee": "a promise"}}
    report = evaluate(FakeDetector(card, threshold=0.4, operating_point="fpr1"), store, {"all": np.arange(9)}, n_resamples=2)
    assert (report.operating_point, report.threshold) == ("fpr1", 0.4)
    assert report.columns[0].verdicts.alpha is None
    assert numbers_of(report)["operating_point"] == "fpr1"


def test_the_cards_operating_points_are_measured_and_not_fitted(store):
    p_fake = evaluate(FakeDetector(), store, {"all": np.arange(len(store))}, n_resamples=2).scores.p_fake
    threshold = float(np.quantile(p_fake, 0.3))
    said = {"value": 0.01, "low": 0.0, "high": 0.02}
    card = {"operating_points": {"fpr1": {"threshold": threshold, "target_fpr": 0.01, "fpr": said, "tpr": said}}}
    report = evaluate(FakeDetector(card), store, {"all": np.arange(len(store))}, n_resamples=2)
    (point,) = report.columns[0].operating_points
    n_fp, n_tp = (int((report.scores.p_fake[store.is_fake == label] >= threshold).sum()) for label in (False, True))
    n_fake = int(store.is_fake.sum())
    assert (point.name, point.threshold, point.target_fpr) == ("fpr1", threshold, 0.01)
    assert 0 < n_fp < n_tp
    assert (point.fpr, point.tpr) == (metrics.wilson(n_fp, len(store) - n_fake), metrics.wilson(n_tp, n_fake))
    assert point.card_fpr == metrics.Interval(0.01, 0.0, 0.02)


def test_an_image_that_cannot_be_read_is_no_silent_gap(store):
    detector = FakeDetector()
    detector.predict_each = lambda images: iter([ImageError("damaged")])
    with pytest.raises(ImageError, match="damaged"):
        evaluate(detector, store, {"all": np.arange(3)})


def test_mistakes_are_the_most_confident_wrong_answers(store):
    detector = FakeDetector()
    detector.logits = lambda images: np.where(store.is_fake, -1.0, 1.0) * np.arange(1, len(store) + 1)
    report = evaluate(detector, store, {"all": np.arange(len(store))}, n_resamples=2)
    for label in ("real", "fake"):
        worst = np.flatnonzero(store.is_fake == (label == "fake"))[::-1][:MISTAKES_PER_CLASS]
        shown = [mistake for mistake in report.mistakes if mistake.label == label]
        assert [mistake.path for mistake in shown] == store.path[worst].tolist()
        np.testing.assert_array_equal(shown[0].image, store.image(int(worst[0])))


def test_a_perfect_detector_has_no_mistakes(store):
    detector = FakeDetector()
    detector.logits = lambda images: np.where(store.is_fake, 3.0, -3.0)
    assert evaluate(detector, store, {"all": np.arange(len(store))}, n_resamples=2).mistakes == ()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "at least one column"),
        ({"none": np.array([], np.int64)}, "'none' holds no image"),
        ({"twice": np.array([1, 1])}, "at most once"),
        ({"outside": np.array([0, 10_000])}, "positions from 0"),
        ({"negative": np.array([-1])}, "positions from 0"),
    ],
)
def test_columns_that_make_no_sense_are_refused(store, columns, said):
    detector = FakeDetector()
    with pytest.raises(DataError, match=said):
        evaluate(detector, store, columns)
    assert detector.n_asked == 0


def test_the_cards_note_is_the_reports_only_where_the_same_data_are_measured(store):
    columns = {"all": np.arange(4)}
    card = card_of(store)
    card["trained_on"]["note"] = "simulated data"
    assert evaluate(FakeDetector(card), store, columns, n_resamples=2).note == "simulated data"
    assert evaluate(FakeDetector(card), store, columns, n_resamples=2, note="other").note == "other"
    elsewhere = evaluate(FakeDetector({"trained_on": {"store": "x", "note": "simulated data"}}), store, columns, n_resamples=2)
    assert elsewhere.note == ""
    assert elsewhere.caveats[-1] == "Of its training data the detector's card says: simulated data."


def test_generators_get_a_row_each_once_there_are_two(store):
    names = np.where(store.is_fake, np.where(np.arange(len(store)) % 3 == 0, "b", "a"), "")
    several = dataclasses.replace(store, generator=names)
    report = evaluate(FakeDetector(), several, {"all": np.arange(len(store))}, n_resamples=2)
    rows = report.columns[0].generators
    assert [row.generator for row in rows] == ["a", "b"]
    for row in rows:
        called = report.scores.called_fake[names == row.generator]
        assert (row.n, row.found) == (len(called), metrics.wilson(int(called.sum()), len(called)))
    assert evaluate(FakeDetector(), store, {"all": np.arange(len(store))}, n_resamples=2).columns[0].generators == ()


def test_caveats_name_foreign_data_unsure_verdicts_and_broken_images(store):
    columns = {"all": np.arange(10)}
    assert evaluate(FakeDetector(card_of(store)), store, columns, n_resamples=2).caveats == ()
    (foreign,) = evaluate(FakeDetector(), store, columns, n_resamples=2).caveats
    assert "not the data that the detector was trained on" in foreign
    (scope,) = evaluate(FakeDetector({**card_of(store), "scope": {"min_side": 64}}), store, columns, n_resamples=2).caveats
    assert scope.startswith("The detector's verdict is unsure on 10 of 10 images. The metrics count its answer at the threshold")
    broken = dataclasses.replace(store, broken=(("x.jpg", "damaged"),))
    (left_out,) = evaluate(FakeDetector(card_of(store)), broken, columns, n_resamples=2).caveats
    assert left_out == "1 unreadable images were left out."


def test_images_that_calibrated_the_detector_are_counted(store):
    def calibrated_on(hashes):
        return FakeDetector({**card_of(store), "calibration": {"sample": {"pixel_hashes": hashes}}})

    hashes = [store.pixel_hash[at].decode()[:16] for at in (2, 5, 40)]
    for card_hashes, expected in ((hashes, 2), ([], None), (["0" * 16], 0)):
        report = evaluate(calibrated_on(card_hashes), store, {"all": np.arange(10)}, n_resamples=2)
        assert report.n_calibrating == expected
        assert any("calibrated" in caveat for caveat in report.caveats) == (expected != 0)
    assert evaluate(FakeDetector(card_of(store)), store, {"all": np.arange(10)}, n_resamples=2).n_calibrating == 0


def test_a_trained_detector_is_measured_by_the_verdicts_that_it_gives(store, run_folder):
    detector = Detector.load(run_folder)
    columns = columns_for(detector.card, store)
    assert list(columns) == ["test", "test, unseen in train"]
    report = evaluate(detector, store, columns, n_resamples=2)
    predictions = detector.predict(store.image(at) for at in columns["test"])
    assert report.scores.verdict.tolist() == [item.verdict for item in predictions]
    assert report.scores.reason == tuple(item.reason for item in predictions)
    assert report.scores.kind == tuple(item.kind for item in predictions)
    np.testing.assert_allclose(report.scores.p_fake, [item.p_fake for item in predictions], atol=1e-6)
    assert len(report.caveats) == ("unsure" in report.scores.verdict)  # the training data, whole, and no promise to break
