"""The report's page: whole by itself, and text from data stays text."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from fauxto import metrics
from fauxto.report import GeneratorRow, Mistake, numbers_of, write_report
from fauxto.report.answers import KINDS

from .conftest import BAND, EVIL, SIZE, Tags, dense, make_card, make_report, plain


def test_the_headline_says_it_in_words(page):
    report = make_report()
    accuracy = report.columns[0].metrics["accuracy"]
    text = plain(page)
    low, high = 100 * accuracy.low, 100 * accuracy.high
    assert f"{100 * accuracy.value:.1f} % of 60 images right 95 % interval {low:.1f}–{high:.1f}" in text
    assert "always giving the more frequent answer: 50.0 %" in text
    assert "test, unseen in train" in text
    assert report.command in text
    assert "small" in text


def test_every_figure_has_a_caption_with_n_threshold_and_command(page):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert len(captions) == page.count("<figure ") == 7
    assert all("60 images (30 real, 30 fake; test)" in caption and "fauxto evaluate small" in caption for caption in captions)
    assert sum("threshold 0.5" in caption or "p_fake 0.5" in caption for caption in captions) == 3


def test_the_page_shows_the_verdicts_beside_the_promise(page):
    text, verdicts = plain(page), make_report().columns[0].verdicts
    assert "Every image counts with the answer at the threshold, also where the detector would say unsure" in text
    assert "What the card promises: At most 1.5 % of each class get a wrong verdict." in text
    assert text.count("wrong verdicts; the card promises at most 1.5 %") == 2
    real = verdicts.classes[0]
    wrong = f"{100 * real.wrong.value:.2f} %, {100 * real.wrong.low:.2f}–{100 * real.wrong.high:.2f}"
    promise = "wrong verdicts; the card promises at most 1.5 %"
    assert dense(f"Photographs, called fake {promise} {real.fake} {wrong}") in dense(text)
    assert dense(f"Photographs, unsure {real.unsure} {100 * real.unsure / 30:.2f} %") in dense(text)
    abstained = f"{100 * verdicts.abstained.value:.2f} % {100 * verdicts.abstained.low:.2f}–{100 * verdicts.abstained.high:.2f}"
    assert dense(f"Unsure in all share of all images {abstained}") in dense(text)
    assert all(f"… {KINDS[kind]}" in text for kind in (SIZE, BAND))
    assert f"called real or fake {100 * verdicts.selective_accuracy.value:.2f} %" in text


def test_the_page_shows_what_the_operating_points_did(page):
    text, point = plain(page), make_report().columns[0].operating_points[0]
    assert "What the card says was measured on 4,321 validation images." in text
    here, found = (f"{100 * n.value:.2f} % {100 * n.low:.2f}–{100 * n.high:.2f}" for n in (point.fpr, point.tpr))
    row = f"1.00 % 0.10–9.00 {here} 75.00 % 70.00–80.00 {found}"
    assert dense(f"fpr1 p_fake ≥ 0.9, for at most 1 % false alarms {row}") in dense(text)


def test_a_card_without_the_new_keys_promises_nothing(page_of):
    report = make_report()
    bare = {key: value for key, value in report.card.items() if key not in ("unsure", "operating_points")}
    columns = tuple(
        dataclasses.replace(
            column, operating_points=(), verdicts=dataclasses.replace(column.verdicts, alpha=None, guarantee="", reasons=())
        )
        for column in report.columns
    )
    text = plain(page_of(dataclasses.replace(report, card=bare, columns=columns)))
    assert "promises" not in text
    assert "operating point" not in text
    assert "Photographs, called fakewrong verdicts" in text


def test_a_named_operating_point_stands_at_the_top(page_of):
    page = page_of(make_report(operating_point="fpr1", threshold=0.9))
    assert "right: small at fpr1</title>" in page
    text = plain(page)
    assert "How well does small at its operating point fpr1 tell" in text
    assert "p_fake ≥ 0.9 is called fake. It comes with the detector, as its operating point fpr1;" in text


@pytest.mark.parametrize(
    ("n", "said", "beside"),
    [
        (0, "no image of this report had a say in it, as far as its card tells.", "to which nothing is fitted."),
        (12, "12 of the images of this report had a say in it", "some of which calibrated the detector."),
        (None, "images of this report may have had a say in it", "some of which may have calibrated the detector."),
    ],
)
def test_images_that_calibrated_the_detector_had_a_say(page_of, n, said, beside):
    text = plain(page_of(make_report(n_calibrating=n)))
    assert f"It comes with the detector; {said}" in text
    assert f"was measured on the images of this report, {beside}" in text
    assert ("nothing is fitted" in text) == ("no image of this report" in text) == (n == 0)
    assert numbers_of(make_report(n_calibrating=n))["n_calibrating"] == n


def test_the_page_says_what_the_detector_is_for_and_not_for(page_of):
    said = {"intended_use": ["Trying <b>it</b> out."], "not_for": ["Accusing anybody."]}
    text = plain(page_of(make_report(card=make_card() | said)))
    assert "What it is for Trying <b>it</b> out. What it is not for Accusing anybody. So says the detector's card." in text
    for other in ({}, {"intended_use": [], "not_for": 7}):
        assert "What it is" not in plain(page_of(make_report(card=make_card() | other)))


def test_the_page_says_why_other_shares_of_fakes_cannot_be_given(page_of):
    report = make_report(8, labels=[True] * 8, prevalence=0.02)
    text = plain(page_of(report))
    assert "at your share of 2 % fakes cannot be given: there is no photograph among these images" in text
    assert "cannot be given: there is no" not in plain(page_of(make_report(prevalence=0.02)))


def test_the_page_needs_no_network_and_no_script(page):
    tags = Tags(page).tags
    assert "script" not in {tag for tag, _ in tags}
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    for tag, attributes in tags:
        for name in ("src", "href"):
            value = attributes.get(name, "#")
            assert value.startswith(("data:image/png;base64,", "#")), (tag, value)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.findall(r"url\((?!#)", page)


def test_the_page_fits_light_dark_phone_and_paper(page):
    for rule in ("prefers-color-scheme: dark", "@media print", "width=device-width", "max-width: 34rem"):
        assert rule in page
    paper = page[page.index("@media print") :]
    for rule in ("color-scheme: light", "tfoot { display: table-row-group; }", "figure svg { max-height: 20cm; }",
                 "details::details-content { content-visibility: visible;", "tr, .waffle, .alarm"):  # fmt: skip
        assert rule in paper
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 9
    for drawing in drawings:
        assert not re.findall(r"(?:fill|stroke): #", drawing)  # every colour is the page's own


def test_drawings_have_no_id_twice(page):
    ids = [attributes["id"] for _, attributes in Tags(page).tags if "id" in attributes]
    assert ids
    assert len(ids) == len(set(ids))


def test_text_from_data_stays_text(tmp_path):
    report = make_report(data="<b>data</b>", caveats=("<i>caveat</i>",), detector="<u>$name$</u>", note="<em>note</em>")
    bad = dataclasses.replace(
        report.columns[1], name="<script>$x</script>", generators=(GeneratorRow("<s>g</s>", 3, metrics.wilson(1, 3)),)
    )
    page = write_report(dataclasses.replace(report, columns=(report.columns[0], bad)), tmp_path).read_text(encoding="utf-8")
    names = {tag for tag, _ in Tags(page).tags}
    assert names.isdisjoint({"script", "i", "u", "em", "s"})
    assert EVIL in plain(page)
    assert "<b>data</b>" in plain(page)
    assert plain(page).count("<script>$x</script>") >= 3  # table, legend of two plots


def test_a_file_name_that_utf8_cannot_hold_does_not_end_the_report(page_of, tmp_path):
    report = make_report()
    paths = ("test/\udcff.jpg", *report.scores.path[1:])
    pixels = np.zeros((8, 8, 3), np.uint8)
    report = dataclasses.replace(
        report, scores=dataclasses.replace(report.scores, path=paths), mistakes=(Mistake(paths[0], "real", 0.9, pixels),)
    )
    assert "test/\\udcff.jpg" in page_of(report)
    assert "test/\\udcff.jpg" in (tmp_path / "scores.csv").read_text(encoding="utf-8")


def test_simulated_data_are_named_at_the_top_and_loudly(page_of):
    text = plain(page_of(make_report(note="The data are simulated: a small autoencoder.")))
    note = text.index("Simulated data: this is not a result on real images")
    assert note < text.index("The data are simulated: a small autoencoder.") < text.index("of 60 simulated images right")
    assert "Simulated" not in plain(page_of(make_report()))


def test_another_note_is_shown_without_calling_the_data_simulated(page_of):
    text = plain(page_of(make_report(note="Half of the images were lost.")))
    assert "Please note Half of the images were lost." in text
    assert "simulated" not in text


def test_mistakes_are_shown_with_their_pixels(page_of, tmp_path):
    import base64

    report = make_report()
    images = [attributes for tag, attributes in Tags(page_of(report)).tags if tag == "img"]
    assert [image["alt"] for image in images] == [f"{EVIL}, 32 × 32 pixels", "test/3.jpg, 300 × 500 pixels"]
    decoded = [Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))) for image in images]
    np.testing.assert_array_equal(np.asarray(decoded[0]), report.mistakes[0].image)
    assert max(decoded[1].size) <= 192
    text = plain((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "p_fake > 0.999" in text  # 0.99991 is not rounded to certainty
    assert "p_fake 0.250" in text
    assert "there are none" in plain(page_of(make_report(mistakes=())))


def test_a_column_rounds_no_rare_error_away(page_of):
    report = make_report()
    head = report.columns[0]
    rates = {"false_alarm_rate": metrics.Interval(0.001, 0, 0.01), "recall": metrics.Interval(1.0, 1.0, 1.0)}
    rare = dataclasses.replace(head, metrics={**head.metrics, **rates})
    text = plain(page_of(dataclasses.replace(report, columns=(rare,))))
    assert "Of 100 photographs, fewer than 1 is taken for AI." in text
    assert "Of 100 AI-generated images, none slips through." in text
