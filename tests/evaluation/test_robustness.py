"""fauxto.evaluation.robustness: numbers, flips and transitions by hand, and the images of the report under each perturbation."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from sklearn import metrics as sk

from fauxto import metrics
from fauxto.detector import Detector
from fauxto.errors import DataError, UsageError
from fauxto.evaluation import columns_for, evaluate
from fauxto.evaluation.answering import Answers
from fauxto.evaluation.robustness import changed, measure_robustness, numbers
from fauxto.metrics import wilson
from fauxto.perturb import perturbed
from fauxto.report.robustness import CLEAN, FLIPS, NUMBERS


def said(p_fake, *, unsure=()):
    p_fake = np.array(p_fake, float)
    called = p_fake >= 0.5
    kind = np.where(np.isin(np.arange(p_fake.size), unsure), "evidence", "")
    return Answers(p_fake, p_fake, called, kind, np.where(kind != "", "unsure", np.where(called, "fake", "real")))


IS_FAKE = np.array([False, False, False, True, True, True, True, True])
BEFORE = said([0.1, 0.7, 0.2, 0.9, 0.8, 0.4, 0.6, 0.5], unsure=[6])
AFTER = said([0.6, 0.2, 0.1, 0.3, 0.8, 0.7, 0.1, 0.5], unsure=[2, 4])


def test_flips_and_transitions_by_hand():
    found = changed("some", IS_FAKE, BEFORE, {"jpeg-40": AFTER}, 0.5)
    (now,) = found.conditions
    assert (found.name, found.n_real, found.n_fake, now.perturbation) == ("some", 3, 5, "jpeg-40")
    # Image 0 and 5 turn to fake; 1, 3 and 6 to real. 0, 3 and 6 become wrong; 1 and 5 right.
    expected = {"to_fake": 2, "to_real": 3, "lost": 3, "gained": 2}
    assert now.flips == {name: wilson(n, 8) for name, n in expected.items()}
    assert list(now.flips) == list(FLIPS)
    assert now.change == metrics.paired_change(2, 3, 8)
    counts = {(one.before, one.after): one.n for one in now.transitions}
    assert counts == {
        ("real", "real"): 0, ("real", "fake"): 2, ("real", "unsure"): 1,
        ("fake", "real"): 2, ("fake", "fake"): 1, ("fake", "unsure"): 1,
        ("unsure", "real"): 1, ("unsure", "fake"): 0, ("unsure", "unsure"): 0,
    }  # fmt: skip
    assert sum(counts.values()) == 8
    assert now.transitions[1].share == wilson(2, 8)


def test_the_images_as_they_came_have_no_flips():
    clean = changed("some", IS_FAKE, BEFORE, {}, 0.5).clean
    assert (clean.perturbation, clean.change.value) == (CLEAN, 0)
    assert all(share.value == 0 for share in clean.flips.values())
    assert sum(one.n for one in clean.transitions if one.before != one.after) == 0


def test_numbers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    is_fake = rng.random(500) < 0.3
    some = said(np.clip(rng.normal(0.35 + 0.3 * is_fake, 0.2), 0, 1).round(2), unsure=range(0, 500, 9))
    found = numbers(is_fake, some, threshold=0.5)
    answered = some.verdict != "unsure"
    expected = {
        "accuracy": sk.accuracy_score(is_fake, some.called_fake),
        "balanced_accuracy": sk.balanced_accuracy_score(is_fake, some.called_fake),
        "recall": sk.recall_score(is_fake, some.called_fake),
        "false_alarm_rate": 1 - sk.recall_score(~is_fake, ~some.called_fake),
        "roc_auc": sk.roc_auc_score(is_fake, some.p_fake),
        "expected_calibration_error": metrics.expected_calibration_error(is_fake, some.p_fake),
        "unsure": 1 - answered.mean(),
        "selective_accuracy": sk.accuracy_score(is_fake[answered], some.called_fake[answered]),
    }
    assert list(found) == list(NUMBERS) == list(expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-9)
        assert found[name].low < value < found[name].high


def test_one_class_and_no_answer_give_reasons():
    found = numbers(np.array([True]), said([0.7], unsure=[0]), threshold=0.5)
    assert found["recall"].value == 1
    for name, reason in (
        ("false_alarm_rate", "no image is real"), ("roc_auc", metrics.points.ONE_CLASS),
        ("balanced_accuracy", metrics.points.ONE_CLASS), ("selective_accuracy", "no image was answered"),
    ):  # fmt: skip
        assert (found[name].value, found[name].reason) == (None, reason)


@pytest.fixture(scope="module")
def measured(store, run_folder, tmp_path_factory):
    detector = Detector.load(run_folder)
    columns = columns_for(detector.card, store)
    columns["first half"] = columns["test"][::2]
    report = evaluate(detector, store, columns, n_resamples=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAUXTO_CACHE", str(tmp_path_factory.mktemp("cache")))
        found = measure_robustness(detector, store, columns, report, ["jpeg-40", "noise-0.1"], seed=3)
    return detector, columns, report, found


def test_every_column_is_measured_on_its_own_images(store, measured):
    detector, columns, report, found = measured
    assert [column.name for column in found.columns] == list(columns)
    for column, at in zip(found.columns, columns.values(), strict=True):
        inside = np.searchsorted(columns["test"], at)
        for item, name in zip(column.conditions, ("jpeg-40", "noise-0.1"), strict=True):
            pixels = perturbed(store.batch(columns["test"]), name, seed=3)[inside]
            p_fake = np.array([one.p_fake for one in detector.predict(pixels)])
            assert item.metrics["roc_auc"].value == pytest.approx(metrics.roc_auc(store.is_fake[at], p_fake))
            right = np.mean((p_fake >= detector.threshold) == store.is_fake[at])
            assert item.metrics["accuracy"].value == pytest.approx(right)
    for column, plain in zip(found.columns, report.columns, strict=True):
        for name in ("accuracy", "recall", "roc_auc"):
            assert column.clean.metrics[name].value == pytest.approx(plain.metrics[name].value)
        assert column.clean.metrics["unsure"] == plain.verdicts.abstained


def test_json_and_csv_hold_every_number(measured):
    found = measured[3]
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert len(rows) == 3 * 3
    assert [row["perturbation"] for row in rows[:3]] == [CLEAN, "jpeg-40", "noise-0.1"]
    row, item = rows[1], plain["columns"][0]["perturbed"][0]
    assert float(row["accuracy_low"]) == item["metrics"]["accuracy"]["low"]
    assert float(row["accuracy_change"]) == item["accuracy_change"]["value"]
    assert float(row["to_fake_high"]) == item["flips"]["to_fake"]["high"]
    assert [int(row[f"{one['before']} to {one['after']}"]) for one in item["verdicts"]] == [one["n"] for one in item["verdicts"]]
    assert plain["seed"] == 3


def test_refusals(store, measured):
    detector, columns, report, _ = measured
    with pytest.raises(UsageError, match="no perturbation is named"):
        measure_robustness(detector, store, columns, report, [])
    with pytest.raises(DataError, match="not the images of the report"):
        measure_robustness(detector, store, {"other": columns["test"][1:]}, report, ["jpeg-40"])
