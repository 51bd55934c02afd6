"""fauxto.report.model_card: values of report and card only, what is missing said, and text that stays text."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from fauxto.report.model_card import MISSING, UNSAID, model_card, plain
from fauxto.report.prevalence import picture_of, prevalence_context, prevalence_of, sentence

SPEC = importlib.util.spec_from_file_location("reports", Path(__file__).with_name("test_report.py"))
assert SPEC is not None
assert SPEC.loader is not None
reports = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reports)


def test_every_section_and_the_reports_own_numbers():
    report = reports.make_report(command="fauxto evaluate small --data x", note="simulated data: no result")
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
    card = model_card(reports.make_report(card={"name": "small"}))
    assert f"Cameras, subjects, people: {MISSING}" in card
    assert f"Training images: {UNSAID}" in card
    assert f"Method: {UNSAID}" in card
    assert "Unsure: no range of p\\_fake" in card
    assert "Promise: none" in card


def test_a_card_from_a_stranger_ends_no_report():
    strange = {
        "name": "x",
        "scope": {"min_side": "16", "max_side": "64"},
        "trained_on": {"generators": 7, "n_train": "many", "config": []},
    }
    card = model_card(reports.make_report(card=strange))
    assert "Sizes: 16 to 64 pixels" in card
    assert f"Generators of the fakes: {UNSAID}" in card


def test_one_class_has_no_table_of_shares():
    report = reports.make_report(labels=[True] * 60)
    assert prevalence_of(report) == ()
    assert prevalence_context(report) is None
    assert picture_of(report) == {}
    assert f"{MISSING.capitalize()}: it takes photographs and fakes." in model_card(report)


@pytest.mark.parametrize("evil", ["a](javascript:x)", "<img src=x>", "x\n# Fake heading", "a|b", "`code`", "**bold**"])
def test_text_from_cards_is_text(evil):
    card = model_card(reports.make_report(detector=evil, data=evil, command=f"fauxto {evil}"))
    assert plain(evil) in card
    outside = "\n".join(line for line in card.splitlines() if not line.startswith("    "))
    assert evil not in outside
    assert "\n# Fake heading" not in card


def test_the_users_own_share_is_in_words_table_and_picture():
    report = reports.make_report(prevalence=0.02)
    points = prevalence_of(report)
    assert [point.name for point in points] == ["", "fpr1", "fpr5"]
    assert [item.share for item in points[0].shares] == [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    found = prevalence_context(report)
    assert [row["is_own"] for row in found["points"][0]["rows"]].count(True) == 1
    assert sentence(points[0], report) in found["own"]
    assert "with 2 % fakes: of the images called fake, " in found["own"][0]
    assert report.to_dict()["prevalence"][0]["shares"][2]["share"] == 0.02
    assert picture_of(report)["prevalence"][:4] == b"\x89PNG"
    assert prevalence_context(reports.make_report())["own"] == []
