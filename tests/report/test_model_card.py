"""fauxto.report.model_card: values of report and card only, what is missing said, and text that stays text."""

from __future__ import annotations

import dataclasses

import pytest

from fauxto.metrics import Confusion, Interval, wilson
from fauxto.report import numbers_of
from fauxto.report.generators import AcrossGenerators, Against, Row
from fauxto.report.model_card import MISSING, UNSAID, model_card, plain
from fauxto.report.prevalence import picture_of, prevalence_context, prevalence_of, sentence, why_none

from .conftest import make_card, make_report


def test_every_section_and_the_reports_own_numbers():
    report = make_report(command="fauxto evaluate small --data x", note="simulated data: no result")
    card = model_card(report)
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data", "Calibration and unsure",
        "Operating points", "Where fakes are rare", "Ethical considerations", "Caveats",
    ]  # fmt: skip
    accuracy = report.columns[0].metrics["accuracy"]
    assert f"| Accuracy | {100 * accuracy.value:.2f} % ({100 * accuracy.low:.2f}–{100 * accuracy.high:.2f})" in card
    assert "    fauxto evaluate small --data x" in card
    assert "> **Simulated data: no result**" in card
    assert "Training images: 1,234" in card
    assert "measured on: 4,321 validation images." in card
    assert "At most 1.5 % of each class get a wrong verdict." in card
    assert all(len(line.split("|")) == 2 + 1 + len(report.columns) for line in card.splitlines() if line.startswith("| Recall"))


def test_what_is_missing_is_said():
    card = model_card(make_report(card={"name": "small"}))
    assert f"Cameras, subjects, people: {MISSING}" in card
    assert f"Training images: {UNSAID}" in card
    assert f"Method: {UNSAID}" in card
    assert "Unsure: no range of p\\_fake" in card
    assert "Promise: none" in card


def test_the_input_names_the_tiles_where_there_are_some():
    about = {"name": "x", "preprocessing": {"size": 32}}
    assert "Input: RGB, 32 x 32 pixels\n" in model_card(make_report(card=about))
    tiled = model_card(make_report(card=about | {"tiles": {"side": 96, "most": 64}}))
    assert "Input: RGB, 32 x 32 pixels; larger images over at most 64 tiles of 96\n" in tiled


def test_a_card_from_a_stranger_ends_no_report():
    strange = {
        "name": "x",
        "scope": {"min_side": "16", "max_side": "64"},
        "trained_on": {"generators": 7, "n_train": "many", "config": []},
    }
    card = model_card(make_report(card=strange))
    assert "Sizes: 16 to 64 pixels" in card
    assert f"Generators of the fakes: {UNSAID}" in card


def test_one_class_has_no_table_of_shares():
    report = make_report(labels=[True] * 60)
    assert prevalence_of(report) == ()
    assert prevalence_context(report) == {"why_none": why_none(report)}
    assert picture_of(report) == {}
    assert numbers_of(report)["prevalence_reason"] == why_none(report)
    assert why_none(report).startswith("What a verdict is worth at other shares of fakes cannot be given: there is no photograph")
    assert f"{MISSING.capitalize()}. {plain(why_none(report))}" in model_card(report)
    photographs = make_report(labels=[False] * 60, prevalence=0.02)
    assert "at your share of 2 % fakes cannot be given: there is no fake image" in why_none(photographs)
    assert "--reals" not in why_none(photographs), "photographs of other data would not help"
    assert why_none(make_report()) == ""


def test_photographs_of_other_data_give_the_rate_of_false_alarms():
    found = {"roc_auc": wilson(9, 10), "balanced_accuracy": wilson(7, 10), "unsure": wilson(0, 10)}
    rows = [
        Against(name, n, False, {**found, "recall": wilson(tp, n), "false_alarm_rate": wilson(4, 200)}, "", False)
        for name, n, tp in (("a", 40, 30), ("b", 20, 15))
    ]
    across = AcrossGenerators((Row("small", (), 0.5, tuple(rows)),), "jpeg-75", 200, "photos", "")
    report = make_report(labels=[True] * 60, prevalence=0.02, across=across)
    (point,) = prevalence_of(report)
    assert (point.name, point.threshold, point.counts) == ("", 0.5, Confusion(tn=196, fp=4, fn=15, tp=45))
    (own,) = [item for item in point.shares if item.share == 0.02]
    assert own.ppv.value == pytest.approx(0.02 * 0.75 / (0.02 * 0.75 + 0.98 * 0.02))
    assert own.false_alarms.value == pytest.approx(196)
    assert why_none(report) == ""
    said = prevalence_context(report)
    assert said["source"] == "60 fakes (test) and 200 photographs of photos, all saved as jpeg-75 first"
    assert said["source"] in said["figure"]["caption"]
    assert "196 photographs are called fake" in said["own"][0]
    assert plain(said["source"]) in model_card(report)


def test_negative_predictive_value_stands_in_the_table():
    report = make_report()
    card = model_card(report)
    row = next(item for item in prevalence_of(report)[0].shares if item.share == 0.01)
    line = next(line for line in card.splitlines() if line.startswith("| 1 % |"))
    ppv, npv = (f"{100 * n.value:.2f} % ({100 * n.low:.2f}–{100 * n.high:.2f})" for n in (row.ppv, row.npv))
    assert line.split(" | ")[1:3] == [ppv, npv]
    assert "| of those called fake, fake | of those called real, real |" in card


def test_what_the_detectors_card_says_it_is_for():
    said = {"intended_use": ["Trying <b>it</b> out."], "not_for": ["Accusing anybody.", "Other sizes."]}
    card = model_card(make_report(card=make_card() | said))
    intended = card.split("## Intended use")[1].split("##")[0]
    assert "What it is for:\n\n- Trying \\<b\\>it\\</b\\> out.\n" in intended
    assert "What it is not for:\n\n- Accusing anybody.\n- Other sizes.\n" in intended
    assert "as one sign among others" not in intended
    for nothing in ({}, {"intended_use": 7, "not_for": "x"}):
        usual = model_card(make_report(card=make_card() | nothing))
        assert "as one sign among others" in usual
        assert "- Decisions about people by itself." in usual


def test_generators_have_a_table_with_mean_and_minimum():
    def numbers(auc):
        share = Interval(auc, auc - 0.05, auc + 0.05)
        return dict.fromkeys(("roc_auc", "recall", "balanced_accuracy", "false_alarm_rate", "unsure"), share)

    items = (
        Against("be_gan", 150, True, numbers(0.9), "PNG", False),
        Against("ddim", 99, False, numbers(0.1), "PNG", True),
        Against("dcgan", 100, False, numbers(0.7), "PNG", False),
    )
    across = AcrossGenerators((Row("small", ("be_gan",), 0.5, items),), "as-is", 200, "photos", "JPEG")
    card = model_card(make_report(across=across))
    assert "the same 200 photographs of photos, as their files have them" in card
    assert "| be\\_gan\\* | 150 | 0.9000 (0.8500–0.9500) | 90.00 % (85.00–95.00) |" in card
    assert "| ddim†‡ | 99 | 0.1000 (0.0500–0.1500) |" in card
    assert "| **mean** over 2 generators | | 0.8000 | 80.00 % | 80.00 % |" in card
    assert "| **minimum** over 2 generators | | 0.7000 (dcgan) | 70.00 % (dcgan) | 70.00 % (dcgan) |" in card
    alone = dataclasses.replace(across, rows=(Row("small", (), 0.5, items[1:2]),))
    assert "**mean**" not in model_card(make_report(across=alone))
    assert "in the table below" not in model_card(make_report())


def test_images_that_calibrated_the_detector_are_counted():
    for n, words in ((0, "0"), (12, "12"), (None, "not known")):
        assert f"Images measured here that calibrated it: {words}\n" in model_card(make_report(n_calibrating=n))


@pytest.mark.parametrize("evil", ["a](javascript:x)", "<img src=x>", "x\n# Fake heading", "a|b", "`code`", "**bold**"])
def test_text_from_cards_is_text(evil):
    card = model_card(make_report(detector=evil, data=evil, command=f"fauxto {evil}"))
    assert plain(evil) in card
    outside = "\n".join(line for line in card.splitlines() if not line.startswith("    "))
    assert evil not in outside
    assert "\n# Fake heading" not in card


def test_the_users_own_share_is_in_words_table_and_picture():
    report = make_report(prevalence=0.02)
    points = prevalence_of(report)
    assert [point.name for point in points] == ["", "fpr1", "fpr5"]
    assert [item.share for item in points[0].shares] == [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    found = prevalence_context(report)
    assert [row["is_own"] for row in found["points"][0]["rows"]].count(True) == 1
    assert sentence(points[0], report) in found["own"]
    assert "with 2 % fakes: of the images called fake, " in found["own"][0]
    assert numbers_of(report)["prevalence"][0]["shares"][2]["share"] == 0.02
    assert picture_of(report)["prevalence"][:4] == b"\x89PNG"
    assert prevalence_context(make_report())["own"] == []
