"""The whole audit of a faulty set: findings, their order, and the detector read against them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.audit import Answers, AuditReport, audit
from fauxto.audit.against import read_against
from fauxto.audit.duplicates import find_duplicates
from fauxto.audit.findings import SEVERITIES, Finding, at_least, worst_first
from fauxto.audit.leaks import find_leaks, known_outside
from fauxto.audit.samples import draw_sample
from fauxto.audit.twins import Twins
from fauxto.data.sources import Source, source_of
from fauxto.data.store import Store, load_data


def test_what_is_wrong_is_found_the_worst_first(report: AuditReport) -> None:
    kinds = [finding.kind for finding in report.findings]
    assert kinds[0] == "test-in-train"
    assert {"stamp", "encoder-tables", "shortcut-format-and-tables", "contradicting-labels", "few-images"} <= set(kinds)
    order = [SEVERITIES.index(finding.severity) for finding in report.findings]
    assert order == sorted(order)
    assert report.counts["leak"] == 1


def test_the_leak_by_hand(report: AuditReport) -> None:
    leak = report.findings[0]
    assert leak.numbers == {"n_test": 120, "n_images": 3, "n_equal": 3, "n_near": 0, "real": 3, "fake": 0}
    assert len(leak.pairs) == len(leak.pictures) == 3
    assert "2.50 %" in leak.what


def test_the_stamp_has_its_place(report: AuditReport) -> None:
    stamp = next(finding for finding in report.findings if finding.kind == "stamp")
    assert (stamp.numbers["left"], stamp.numbers["top"]) == (0, 0)
    assert stamp.numbers["right"] <= 8  # JPEG spreads it over its block, not further
    assert len(stamp.pictures) == 1


def test_the_detector_against_them(report: AuditReport) -> None:
    found = report.detector
    assert found is not None
    assert (found.whole.n, found.n_leaked) == (120, 3)
    assert found.whole.accuracy.value == pytest.approx(117 / 120)
    assert found.without_leaks is not None
    assert found.without_leaks.n == 117
    assert found.points_above == pytest.approx(100 * (found.sample.accuracy.value - 1.0))
    assert found.points_above < 0
    assert [margin.shortcut for margin in found.margins] == [shortcut.name for shortcut in report.shortcuts]
    for margin, shortcut in zip(found.margins, report.shortcuts, strict=True):
        assert margin.points_above == 100 * (found.sample.accuracy.value - shortcut.headline.accuracy.value)
        assert margin.auc_above == found.sample.roc_auc.value - shortcut.headline.roc_auc.value
    assert found.points_above == min(margin.points_above for margin in found.margins if "alike" not in margin.shortcut)


def test_every_pair_is_listed_and_the_effect_told(report: AuditReport) -> None:
    equal = [pair for pair in report.repeats.listed if pair.kind == "equal"]
    assert len(equal) == report.repeats.n_pairs["equal"] == 4
    by_name = {effect.left_out: effect for effect in report.repeats.effects}
    assert list(by_name) == ["equal", "equal or near"]
    assert by_name["equal"].n_left_out == 3
    assert by_name["equal"].metrics["accuracy"].difference.low is not None
    told = report.to_dict()
    assert told["duplicates"]["effects"][0]["metrics"]["roc_auc"]["difference"]["value"] is not None
    assert told["duplicates"]["summary"]["equal"]["across parts"] == {"same label": 3, "other label": 0}


def test_colour_modes_are_told_where_the_classes_agree(report: AuditReport) -> None:
    assert report.files["colour mode"] == {"RGB": {"real": 123, "fake": 121}}
    assert report.to_dict()["files"]["colour mode"]["RGB"]["real"] == 123


def test_pictures_say_how_they_were_made(report: AuditReport) -> None:
    for finding in report.findings:
        assert bool(finding.caption) == bool(finding.pictures)
    by_kind = {finding.kind: finding for finding in report.findings}
    assert "121 real and of 121 fake images, the picture on a grid of 32 x 32" in by_kind["stamp"].caption
    assert "3 of 3 pairs. Each picture shows both" in by_kind["test-in-train"].caption


def test_a_detector_without_leaks_or_table(faulty: Store, report: AuditReport) -> None:
    test = np.flatnonzero(faulty.split == "test")
    twins = Twins(faulty, find_duplicates(faulty).pairs)
    known = find_leaks(faulty, twins).known_test
    assert known_outside(faulty, twins, test)["equal"].tolist() == known.tolist()
    clean = np.setdiff1d(test, known)
    answers = Answers("x", 0.5, clean, faulty.is_fake[clean].astype(float))
    sample = draw_sample(faulty, test=clean)
    found = read_against(faulty, answers, known, sample, report.shortcuts)
    assert found is not None
    assert (found.without_leaks, found.n_leaked) == (None, 0)
    assert read_against(faulty, answers, known, sample, ()) is None


def test_a_detector_is_not_read_against_other_images(faulty: Store, report: AuditReport) -> None:
    test = np.flatnonzero(faulty.split == "test")[:30]  # too few to test a shortcut on, which is then cross-validated on all
    answers = Answers("x", 0.5, test, faulty.is_fake[test].astype(float))
    sample = draw_sample(faulty, test=test)
    assert not sample.has_test
    assert read_against(faulty, answers, np.array([], np.int64), sample, report.shortcuts) is None


def test_known_outside_are_groups_outside_of_the_part_that_was_asked(faulty: Store) -> None:
    group = np.full(len(faulty), "", "U9")
    at, other = np.flatnonzero(faulty.split == "train")[5], np.flatnonzero(faulty.split == "test")[9]
    group[[at, other]] = "one film"
    grouped, alone = replace(faulty, group=group), np.array([other])
    found = known_outside(grouped, Twins(grouped, ()), alone)
    assert {words: at.tolist() for words, at in found.items()} == {
        "equal": [], "equal or near": [], "equal, near or of one group": [other],
    }  # fmt: skip
    both = np.sort(np.array([at, other]))
    assert not any(len(at) for at in known_outside(grouped, Twins(grouped, ()), both).values())


def test_it_is_json(report: AuditReport) -> None:
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert again["counts"] == report.counts
    assert again["findings"][0]["pairs"][0]["kind"] == "equal"
    assert again["detector"]["n_leaked"] == 3


def test_one_class_and_few_images_are_told(tmp_path: Path) -> None:
    (tmp_path / "data/fake/gan").mkdir(parents=True)
    Image.new("RGB", (1, 1)).save(tmp_path / "data/fake/gan/1.png")
    store = load_data(tmp_path / "data", cache=tmp_path / "cache")
    answers = Answers("x", 0.5, np.arange(1), np.ones(1))
    found = audit(source_of(tmp_path / "data", store.records), store, answers=answers)
    assert [finding.kind for finding in found.findings] == ["one-class", "no-parts"]
    assert (found.shortcuts, found.detector) == ((), None)


def test_levels() -> None:
    found = worst_first(Finding(severity, severity, "", "", "") for severity in reversed(SEVERITIES))
    assert [finding.kind for finding in found] == list(SEVERITIES)
    assert len(at_least(found, "leak")) == 1
    assert len(at_least(found, "note")) == 4


def test_the_same_seed_gives_the_same_report(faulty: Store, report: AuditReport) -> None:
    again = audit(
        Source(faulty.folder, "folder", faulty.records), faulty, data=report.data, command=report.command, date=report.date
    )
    assert replace(report, detector=None).to_dict()["shortcuts"] == again.to_dict()["shortcuts"]
