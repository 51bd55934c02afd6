"""The page's sections on changed images and on generators: numbers by hand, figures, marks, and text that stays text."""

from __future__ import annotations

import dataclasses
import re

import jinja2
import numpy as np
import pytest

from fauxto.evaluation.answering import Answers
from fauxto.evaluation.robustness import changed
from fauxto.metrics import Interval
from fauxto.perturb.suites import perturbations
from fauxto.report import curves
from fauxto.report.generators import AcrossGenerators, Against, Row
from fauxto.report.parts import across_context, robustness_context
from fauxto.report.robustness import Robustness

EVIL = "<script>$x</script>"


def said(p_fake):
    called = p_fake >= 0.5
    kind = np.where(np.abs(p_fake - 0.5) < 0.05, "evidence", "")
    return Answers(p_fake, p_fake, called, kind, np.where(kind != "", "unsure", np.where(called, "fake", "real")))


def make_robustness(names=("jpeg-95", "jpeg-40", "blur-0.6", "resize-0.5+jpeg-70"), n=200, labels=None, name="test"):
    rng = np.random.default_rng(0)
    is_fake = np.arange(n) % 2 == 0 if labels is None else np.array(labels)

    def answers(strength):
        return said(1 / (1 + np.exp(-rng.normal(np.where(is_fake, strength, -strength), 1.0))))

    found = {each: answers(1.5 / (1 + at)) for at, each in enumerate(names)}
    return Robustness((changed(name, is_fake, answers(3.0), found, 0.5),), seed=7)


def against(name, n, auc, **changes):
    def number(value):
        return Interval(value, max(0.0, value - 0.05), min(1.0, value + 0.05))

    metrics = {"roc_auc": number(auc), "recall": number(0.4), "false_alarm_rate": number(0.0123),
               "balanced_accuracy": number(0.7), "unsure": number(0.01)}  # fmt: skip
    return Against(name, n, **({"is_known": False, "metrics": metrics, "files": "PNG", "is_unlike": False} | changes))


def make_across(n_detectors=1, **changes):
    items = (against("began", 150, 0.91), against("ddim", 99, 0.55, is_known=True), against("dcgan", 300, 0.81, is_unlike=True))
    rows = tuple(Row(f"detector {at}", ("ddim",), 0.5, items) for at in range(n_detectors))
    return dataclasses.replace(AcrossGenerators(rows, "jpeg-75", 1234, "cifake.tar", "JPEG", ("A caveat.",)), **changes)


def page_of(robustness=None, across=None, operating_point=""):
    loader = jinja2.PackageLoader("fauxto", "templates")
    jinja = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, loader=loader)
    macro = "{% macro figure_of(f) %}<figure>{{ f.svg }}<figcaption>{{ f.caption }}</figcaption></figure>{% endmacro %}"
    text = macro + '{% include "_generators.html" %}{% include "_robustness.html" %}'
    context = {"robust": robustness_context(robustness), "across": across_context(across)}
    return jinja.from_string(text).render(report={"command": "fauxto evaluate x", "operating_point": operating_point}, **context)


@pytest.fixture(scope="module")
def changed_page():
    return page_of(make_robustness())


def test_nothing_was_asked_for_and_nothing_stands_there():
    assert page_of().strip() == ""
    assert curves.pictures_of(None, None) == {}


def test_every_change_has_a_line_with_its_numbers(changed_page):
    column = make_robustness().columns[0]
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", changed_page, re.DOTALL)
    assert len(rows) == 5 + 4  # all numbers, and verdicts that moved
    for item, row in zip(column.conditions, rows[1:5], strict=True):
        assert row.startswith(item.perturbation)
        accuracy = item.metrics["accuracy"]
        assert f"<b>{100 * accuracy.value:.2f} %</b><small>{100 * accuracy.low:.2f}–{100 * accuracy.high:.2f}</small>" in row
        assert f"<b>{curves.signed(100 * item.change.value)}</b>" in row
        assert f"<b>{item.metrics['roc_auc'].value:.4f}</b>" in row


def test_the_worst_is_said_first(changed_page):
    conditions = make_robustness().columns[0].conditions
    worst = min(conditions, key=lambda item: item.metrics["accuracy"].value)
    n = sum(item.change.value < -0.05 for item in conditions)
    assert f"at worst {100 * worst.metrics['accuracy'].value:.1f} %, under {worst.perturbation}." in changed_page
    assert f"{n} of 4 changes cost more than 5 points of accuracy." in changed_page


def test_figures_and_how_they_were_made(changed_page):
    assert changed_page.count("<figure") == 3  # the map, and a curve for JPEG and blur; a longer way has no severity
    assert all(
        "200 images (100 real, 100 fake; test)" in text for text in re.findall(r"<figcaption>(.*?)</figcaption>", changed_page)
    )
    assert changed_page.count("fauxto evaluate x") == 1
    assert "seed 7" in changed_page
    assert not re.findall(r"(?:fill|stroke): #", changed_page)  # every colour is the page's own
    ids = re.findall(r'\bid="([^"]+)"', changed_page)
    assert len(ids) == len(set(ids))


def test_families_by_severity_with_the_clean_images_where_nothing_changes():
    column = make_robustness(("blur-1.0", "resize-2", "jpeg-40", "jpeg-95", "resize-0.5", "blur-0.4+jpeg-40")).columns[0]
    found = curves.families(column)
    assert {kind: [severity for severity, _ in items] for kind, items in found.items()} == {
        "blur": [0.0, 1.0], "resize": [0.5, 1.0, 2.0], "jpeg": [40, 95],
    }  # fmt: skip
    assert found["blur"][0][1] is column.clean


def test_one_class_only_and_one_change_only():
    page = page_of(make_robustness(("jpeg-40",), n=3, labels=[True, True, True]))
    assert "only one kind is here" in page
    assert "The AUC falls" not in page
    assert "no image is real" in page


def test_the_whole_suite_is_drawn_in_one_map():
    names = perturbations(["standard"])
    drawings = curves.drawings_of_robustness(make_robustness(names, n=60))
    assert list(drawings) == ["robustness", *(f"robustness_{kind}" for kind in
                              ("jpeg", "webp", "resize", "blur", "noise", "crop", "brightness", "contrast"))]  # fmt: skip
    assert 8 < drawings["robustness"][1][1] < 12


def test_pictures_are_png():
    found = curves.pictures_of(make_robustness(("noise-0.1",)), make_across(2))
    assert list(found) == ["robustness", "robustness_noise", "generators", "generators_roc_auc", "generators_balanced_accuracy"]
    assert all(payload.startswith(b"\x89PNG") for payload in found.values())


def test_generators_with_their_marks_mean_and_minimum():
    page = page_of(across=make_across())
    text = " ".join(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", page, flags=re.DOTALL).split())
    assert "against the same 1,234 photographs of cifake.tar, both saved by the same encoder first (jpeg-75)" in text
    assert "1.23 % (0.00–6.23) are called fake" in text
    assert "ddim * † PNG 99 0.5500" in text
    assert "dcgan ‡ PNG 300 0.8100" in text
    assert "mean over 2 with 100 images or more 0.8600" in text  # (0.91 + 0.81) / 2
    assert "minimum over 2 with 100 images or more 0.8100 dcgan" in text
    assert "A caveat." in text
    assert "Trained on one" not in page


def test_a_matrix_of_several_detectors():
    page = page_of(across=make_across(2, encode="as-is"))
    assert page.count("<figure") == 3
    assert "Trained on one, tested on another" in page
    assert page.count("trained on: ddim; threshold 0.5") == 2
    assert "as their files have them" in page
    assert "The threshold is the card's." in page
    named = page_of(across=make_across(2), operating_point="fpr1")
    assert "The threshold is every card's own for its operating point fpr1." in named


def test_without_large_generators_there_is_no_mean():
    row = Row("d", (), 0.5, (against("ddim", 9, 0.5),))
    page = page_of(across=make_across(rows=(row,)))
    assert "neither mean nor minimum" in page
    assert "<tfoot>" not in page


def test_text_from_data_stays_text():
    evil = against(EVIL, 150, 0.9, files=EVIL)
    across = make_across(rows=(Row(EVIL, (EVIL,), 0.5, (evil,)),) * 2, reals=EVIL, real_files=EVIL, caveats=(EVIL,))
    page = page_of(make_robustness(("jpeg-40",), name=EVIL), across)
    assert "<script" not in page
    assert page.count("&lt;script&gt;$x&lt;/script&gt;") > 8


def test_names_are_broken_and_changes_signed():
    assert curves.broken("short") == "short"
    assert curves.broken("x" * 40) == f"{'x' * 20}\n{'x' * 20}"
    assert (curves.signed(-0.04), curves.signed(-12.34), curves.signed(0.05)) == ("0.0", "−12.3", "+0.1")
