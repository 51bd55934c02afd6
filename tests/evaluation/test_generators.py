"""fauxto.evaluation.generators: each generator against the same photographs, saved alike; what is too small is told."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from fauxto import metrics
from fauxto.detector import Detector
from fauxto.errors import DataError
from fauxto.evaluation.generators import Files, both_classes, files_of, generators_of, measure_generators
from fauxto.perturb import perturbed
from fauxto.report.generators import MIN_FAKES, Against, Row


@pytest.fixture(scope="module")
def named(store):
    """The store with two generators and some fakes without a name."""
    names = np.where(store.is_fake, np.array(["a", "b", ""])[np.arange(len(store)) % 3], "")
    return dataclasses.replace(store, generator=names)


@pytest.fixture(scope="module")
def detector(run_folder):
    found = Detector.load(run_folder)
    return dataclasses.replace(found, card=found.card | {"trained_on": found.card["trained_on"] | {"generators": ["b"]}})


@pytest.mark.parametrize("encode", ["as-is", "jpeg-50"])
def test_numbers_against_the_same_photographs(named, detector, encode):
    members = np.arange(10, len(named))
    across = measure_generators([detector], named, members, encode=encode)
    reals, fakes = members[~named.is_fake[members]], members[named.is_fake[members]]

    def p_of(at):
        pixels = named.batch(at) if encode == "as-is" else perturbed(named.batch(at), encode)
        return np.array([one.p_fake for one in detector.predict(pixels)])

    p_real, p_fake, (row,) = p_of(reals), p_of(fakes), across.rows
    assert [item.generator for item in row.generators] == ["a", "b", "unknown"]
    assert [item.is_known for item in row.generators] == [False, True, False]
    for item in row.generators:
        own = p_fake[named.generator[fakes] == ("" if item.generator == "unknown" else item.generator)]
        is_fake = np.repeat([False, True], [p_real.size, own.size])
        both = np.concatenate([p_real, own])
        assert item.n == own.size
        assert item.metrics["roc_auc"].value == pytest.approx(metrics.roc_auc(is_fake, both), abs=1e-9)
        counts = metrics.confusion(is_fake, both, threshold=detector.threshold)
        assert item.metrics["recall"] == metrics.wilson(counts.tp, own.size)
        assert item.metrics["false_alarm_rate"] == metrics.wilson(counts.fp, p_real.size)
        assert item.metrics["balanced_accuracy"] == metrics.ratio_interval_of("balanced_accuracy", counts)
    assert (across.n_real, across.encode) == (reals.size, encode)
    assert any("counts as 'unknown'" in caveat for caveat in across.caveats)
    assert any(f"Fewer than {MIN_FAKES} images: a, b, unknown" in caveat for caveat in across.caveats)


def test_photographs_of_other_data(named, detector, store):
    fakes_only = np.flatnonzero(named.is_fake)
    at = np.arange(len(store))[::2]
    across = measure_generators([detector], named, fakes_only, reals=(store, at), reals_from="other.tar")
    assert across.n_real == (~store.is_fake[at]).sum()
    assert across.reals == "other.tar"
    with pytest.raises(DataError, match="there is no photograph"):
        measure_generators([detector], named, fakes_only)
    with pytest.raises(DataError, match="there is no fake image"):
        measure_generators([detector], named, np.flatnonzero(~named.is_fake))


def test_both_classes_by_hand(named, store):
    fakes, reals = np.flatnonzero(named.is_fake)[:3], np.flatnonzero(~named.is_fake)[:2]
    for found in (both_classes(named, np.append(reals, fakes)), both_classes(named, fakes, (store, np.append(fakes, reals)))):
        np.testing.assert_array_equal(found[0], reals)
        np.testing.assert_array_equal(found[1], fakes)
    with pytest.raises(DataError, match="--reals hold none"):
        both_classes(named, np.append(reals, fakes), (store, fakes))


def against(name, n, auc):
    share = metrics.Interval(auc, 0.0, 1.0)
    return Against(
        name, n, False, dict.fromkeys(("roc_auc", "recall", "balanced_accuracy", "false_alarm_rate"), share), "", False
    )


def test_small_generators_count_neither_in_mean_nor_minimum():
    row = Row("d", (), 0.5, (against("a", 100, 0.9), against("b", 99, 0.1), against("c", 5000, 0.6)))
    assert row.n_counted == 2
    assert row.overall("roc_auc") == (0.75, 0.6, "c")
    assert Row("d", (), 0.5, (against("b", 99, 0.1),)).overall("roc_auc") == (None, None, "")


def test_files_that_differ_are_told(named, detector):
    unlike = dataclasses.replace(named, file_format=np.where(named.generator == "a", "PNG", named.file_format))
    for encode, words in (("as-is", "Give --encode"), ("jpeg-75", "does not undo")):
        across = measure_generators([detector], unlike, np.arange(len(named)), encode=encode)
        assert across.rows[0].generators[0].is_unlike
        assert any("files of a" in caveat and words in caveat for caveat in across.caveats)
    assert "PNG" in across.rows[0].generators[0].files


def test_files_by_hand(named):
    same = Files((("JPEG", 1.0),), 0.8, 1024)
    assert not same.is_unlike(Files((("JPEG", 1.0),), 0.9, 1024))
    assert same.is_unlike(Files((("PNG", 1.0),), 0.8, 1024))
    assert same.is_unlike(Files((("JPEG", 1.0),), 1.1, 1024))
    assert same.is_unlike(Files((("JPEG", 1.0),), 0.8, 2048))
    mixed = Files((("JPEG", 0.7), ("PNG", 0.3)), 0.8, 1024)
    assert same.is_unlike(mixed)
    assert not mixed.is_unlike(Files((("JPEG", 0.9), ("PNG", 0.1)), 0.8, 1024))
    found = files_of(named, np.array([0, 1]))
    assert found.formats == (("JPEG", 1.0),)
    assert found.bytes_per_pixel == np.mean(named.file_bytes[:2]) / 1024
    assert str(Files((("JPEG", 0.75), ("PNG", 0.25)), 0.5, 2048)) == "75 % JPEG and 25 % PNG, 0.50 bytes a pixel, 2,048 pixels"


def test_several_detectors_each_at_its_own_threshold(named, detector):
    other = dataclasses.replace(
        detector, card=detector.card | {"name": "other", "threshold": 1.0, "unsure": {"low": 1, "high": 1, "alpha": 0.5}}
    )
    across = measure_generators([detector, other], named, np.arange(len(named)))
    first, second = across.rows
    assert (first.threshold, second.threshold, second.detector) == (detector.threshold, 1.0, "other")
    for one, two in zip(first.generators, second.generators, strict=True):
        assert one.metrics["roc_auc"] == two.metrics["roc_auc"]
        assert two.metrics["recall"].value == 0
    plain = json.loads(json.dumps(across.to_dict(), allow_nan=False))
    rows = list(csv.DictReader(io.StringIO(across.to_csv())))
    assert [row["detector"] for row in rows] == [first.detector] * 3 + ["other"] * 3
    assert float(rows[4]["roc_auc"]) == plain["detectors"][1]["generators"][1]["metrics"]["roc_auc"]["value"]
    assert (rows[1]["in_training"], rows[0]["too_small"]) == ("1", "1")


def test_images_that_calibrated_a_further_detector_are_told(named, detector):
    fake = int(np.flatnonzero(named.is_fake)[0])
    sample = {"pixel_hashes": [named.pixel_hash[fake].decode()[:16]]}
    other = dataclasses.replace(detector, card=detector.card | {"calibration": detector.card["calibration"] | {"sample": sample}})
    members = np.append(np.flatnonzero(~named.is_fake)[:5], fake)
    (told,) = [line for line in measure_generators([detector, other], named, members).caveats if "calibrated" in line]
    assert told.startswith("About small #2: 1 of the 1 images")


def test_two_detectors_of_one_name_are_told_apart(named, detector):
    rows = measure_generators([detector, detector, detector], named, np.arange(len(named))).rows
    assert [row.detector for row in rows] == ["small", "small #2", "small #3"]


def test_generators_of_a_card():
    assert generators_of({"trained_on": {"generators": ["x", "y"]}}) == ("x", "y")
    assert generators_of({}) == generators_of({"trained_on": {"generators": "x"}}) == ()
