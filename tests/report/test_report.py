"""fauxto.report: numbers and scores that read back, a page that is whole by itself, and text from data that stays text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from fauxto import metrics
from fauxto.errors import DetectorError, DiskFullError
from fauxto.report import Column, GeneratorRow, ImageScores, Mistake, Report, count_verdicts, measure_points, write_report
from fauxto.report.answers import KINDS
from fauxto.vocabulary import Kind

EVIL = 'test/<script>alert("x")</script>&.jpg'
FILES = [
    "confusion.png",
    "histogram.png",
    "model-card.md",
    "precision_recall.png",
    "prevalence.png",
    "reliability.png",
    "report.html",
    "report.json",
    "roc.png",
    "scores.csv",
    "verdicts.png",
]
SIZE, BAND = "size", "evidence"
SENTENCES = {"": "", SIZE: "the image has 640 x 480 pixels, ...", BAND: "p_fake lies in the range from 0.4 to 0.6, ..."}
VOID = {"meta", "br", "img", "hr", "link", "input"}


def make_card():
    points = {
        f"fpr{at}": {
            "threshold": threshold,
            "target_fpr": at / 100,
            "fpr": {"value": at / 100, "low": 0.001, "high": 0.09},
            "tpr": {"value": 0.75, "low": 0.7, "high": 0.8},
        }
        for at, threshold in ((1, 0.9), (5, 0.7))
    }
    points["measured_on"] = "4,321 validation images"
    unsure = {"alpha": 0.015, "low": 0.4, "high": 0.6, "guarantee": "At most 1.5 % of each class get a wrong verdict."}
    about = {"scope": {"min_side": 16, "max_side": 64}, "trained_on": {"n_train": 1234, "generators": ["sd14"]}}
    return {"name": "small", "operating_points": points, "unsure": unsure, **about}


def make_column(name, scores, members, **changes):
    is_fake, p_fake = scores.is_fake[members], scores.p_fake[members]
    kinds = [scores.kind[at] for at in members]
    said = {
        "verdicts": count_verdicts(is_fake, scores.verdict[members], kinds, unsure=make_card()["unsure"]),
        "operating_points": measure_points(make_card(), is_fake, p_fake),
    }
    found = {"threshold": 0.5, "n_resamples": 50}
    numbers = {
        "metrics": metrics.all_metrics(is_fake, p_fake, **found),
        "confusion": metrics.confusion_intervals(is_fake, p_fake, **found),
    }
    counts = {"n_real": int((~is_fake).sum()), "n_fake": int(is_fake.sum())}
    return Column(name, members, **counts, **numbers, **said, reliability=metrics.reliability_bins(is_fake, p_fake), **changes)


def make_report(n=60, *, labels=None, **changes):
    rng = np.random.default_rng(0)
    is_fake = np.arange(n) % 2 == 0 if labels is None else np.array(labels)
    logit = np.where(is_fake, 1.0, -1.5) + rng.normal(0, 1.2, n)
    p_fake = 1 / (1 + np.exp(-logit))
    paths = (EVIL, *(f"test/{at}.jpg" for at in range(1, n)))
    kinds = tuple(SIZE if at % 20 == 3 else BAND if 0.4 <= p < 0.6 else "" for at, p in enumerate(p_fake))
    verdict = np.where(np.array(kinds) != "", "unsure", np.where(p_fake >= 0.5, "fake", "real"))
    reasons = tuple(SENTENCES[kind] for kind in kinds)
    scores = ImageScores(paths, ("",) * n, is_fake, logit, p_fake, p_fake >= 0.5, verdict, reasons, kinds)
    unseen = np.arange(n > 1, n)
    columns = (make_column("test", scores, np.arange(n)), make_column("test, unseen in train", scores, unseen))
    pixels = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    mistakes = (Mistake(EVIL, "real", 0.99991, pixels), Mistake("test/3.jpg", "fake", 0.25, np.zeros((500, 300, 3), np.uint8)))
    report = Report("small", make_card(), "CIFAKE", "", 0.5, columns, scores, mistakes, n_resamples=50,
                    command="fauxto evaluate small --data 'a & b'", date="2024-05-06T07:08:09+00:00",
                    environment={"python": "3", "commit": None, "packages": {"numpy": "2"}})  # fmt: skip
    return dataclasses.replace(report, **changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One report that is written in full; read-only."""
    return write_report(make_report(), tmp_path_factory.mktemp("written")).parent


@pytest.fixture(scope="module")
def page(written):
    return (written / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def page_of(tmp_path, monkeypatch):
    """Write a report without its drawings, which take most of the time, and return the page."""
    monkeypatch.setattr("fauxto.report.page.to_svg", lambda name, report, description: "<svg></svg>")
    monkeypatch.setattr("fauxto.report.write.to_png", lambda name, report: b"")
    return lambda report: write_report(report, tmp_path).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Collects tags and visible text, and checks that every element is closed by its own end."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def plain(text):
    return " ".join(Tags(text).text.split())


def dense(text):
    """Leave out all spaces: between two elements of a cell there is none."""
    return "".join(text.split())


def test_a_folder_with_exactly_these_files(written):
    assert sorted(path.name for path in written.iterdir()) == FILES


def test_the_json_holds_every_number_with_its_interval_and_origin(written):
    report = make_report()
    found = json.loads((written / "report.json").read_text(encoding="utf-8"))
    assert found == report.to_dict()
    accuracy = report.columns[1].metrics["accuracy"]
    assert found["columns"][1]["metrics"]["accuracy"] == {
        "value": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "reason": "",
    }
    assert found["command"] == report.command
    assert found["environment"]["packages"] == {"numpy": "2"}
    assert (found["positive_class"], found["threshold"]) == ("fake", 0.5)
    verdicts, said = report.columns[1].verdicts, found["columns"][1]["verdicts"]
    assert [said[row.label]["unsure"] for row in verdicts.classes] == [row.unsure for row in verdicts.classes]
    assert said["fake"]["n"] == report.columns[1].n_fake
    assert (said["abstained"]["value"], said["alpha"]) == (verdicts.abstained.value, 0.015)
    assert [row["name"] for row in found["columns"][1]["operating_points"]] == ["fpr1", "fpr5"]


def test_the_csv_gives_back_every_metric(written):
    report = make_report()
    with (written / "scores.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    inside = ["in: test", "in: test, unseen in train"]
    said = ["logit", "p_fake", "threshold", "called_fake", "verdict", "kind", "reason"]
    assert list(rows[0]) == ["path", "label", "generator", *inside, *said]
    assert {float(row["threshold"]) for row in rows} == {report.threshold}, "compare must call fake what was called fake here"
    assert all(row["reason"] == SENTENCES[row["kind"]] for row in rows)
    assert [row["path"] for row in rows] == list(report.scores.path)
    for column in report.columns:
        inside = [row for row in rows if row[f"in: {column.name}"] == "1"]
        is_fake = np.array([row["label"] == "fake" for row in inside])
        p_fake = np.array([float(row["p_fake"]) for row in inside])
        assert metrics.roc_auc(is_fake, p_fake) == column.metrics["roc_auc"].value
        n_right = sum((row["label"] == "fake") == (row["called_fake"] == "1") for row in inside)
        assert n_right / len(inside) == column.metrics["accuracy"].value
        answered = [row for row in inside if row["verdict"] != "unsure"]
        n_right = sum(row["label"] == row["verdict"] for row in answered)
        assert n_right / len(answered) == column.verdicts.selective_accuracy.value
        n_of = Counter(row["kind"] for row in inside if row["kind"])
        assert n_of == {row.kind: row.real + row.fake for row in column.verdicts.reasons}
        assert set(n_of) == {SIZE, BAND}


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


def test_verdicts_by_hand():
    is_fake = np.array([False, False, False, False, True, True, True, True, True, True])
    verdict = np.array(["real", "real", "fake", "unsure", "fake", "fake", "fake", "real", "real", "unsure"])
    kinds = ["", "", "", SIZE, "", "", "", "", "", BAND]
    found = count_verdicts(is_fake, verdict, kinds, unsure={"alpha": 0.02})
    real, fake = found.classes
    assert (real.label, real.real, real.fake, real.unsure, real.n) == ("real", 2, 1, 1, 4)
    assert (fake.label, fake.real, fake.fake, fake.unsure, fake.n) == ("fake", 2, 3, 1, 6)
    assert (real.wrong, fake.wrong) == (metrics.wilson(1, 4), metrics.wilson(2, 6))  # of all, unsure ones too
    assert found.abstained == metrics.wilson(2, 10)
    assert found.selective_accuracy == metrics.wilson(5, 8)
    expected = {BAND: (0, 1, metrics.wilson(1, 10)), SIZE: (1, 0, metrics.wilson(1, 10))}
    assert {row.kind: (row.real, row.fake, row.share) for row in found.reasons} == expected
    assert (found.alpha, found.guarantee) == (0.02, "")
    assert count_verdicts(is_fake, verdict, kinds).alpha is None
    wide, narrow = (count_verdicts(is_fake, verdict, kinds, level=level).abstained for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_reasons_stand_in_order_of_their_number():
    found = count_verdicts(np.array([True] * 4), np.array(["unsure"] * 4), [BAND, SIZE, SIZE, SIZE])
    assert [(row.kind, row.fake) for row in found.reasons] == [(SIZE, 3), (BAND, 1)]
    assert found.selective_accuracy == metrics.Interval(None, reason="no image was answered")
    assert found.classes[0].wrong == metrics.Interval(None, reason="no image is real")


def test_the_page_has_words_for_every_kind_of_reason():
    assert list(KINDS) == [kind.value for kind in Kind]
    assert len(set(KINDS.values())) == len(KINDS)


def test_operating_points_by_hand():
    is_fake, p_fake = np.array([False, False, False, True, True]), np.array([0.1, 0.7, 0.2, 0.7, 0.95])
    first, second = measure_points(make_card(), is_fake, p_fake)
    assert (first.name, first.threshold, first.target_fpr) == ("fpr1", 0.9, 0.01)
    assert (first.fpr, first.tpr) == (metrics.wilson(0, 3), metrics.wilson(1, 2))
    assert (second.fpr, second.tpr) == (metrics.wilson(1, 3), metrics.wilson(2, 2))  # a tie is fake
    assert second.card_fpr == metrics.Interval(0.05, 0.001, 0.09)
    assert second.card_tpr == metrics.Interval(0.75, 0.7, 0.8)
    assert measure_points({}, is_fake, p_fake) == ()
    only_real = measure_points(make_card(), np.array([False]), np.array([0.5]))[0]
    assert only_real.tpr == metrics.Interval(None, reason="no image is fake")
    with pytest.raises(DetectorError, match="operating points lack a value"):
        measure_points({"operating_points": {"fpr1": {"threshold": 0.9}}}, is_fake, p_fake)


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
    assert make_report(n_calibrating=n).to_dict()["n_calibrating"] == n


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


@pytest.mark.parametrize("labels", [[True, True, True], [False]])
def test_one_class_only_still_gives_a_report_with_the_reason(tmp_path, labels):
    report = make_report(len(labels), labels=labels)
    report = dataclasses.replace(report, columns=report.columns[:1])
    text = plain(write_report(report, tmp_path).read_text(encoding="utf-8"))
    assert "cannot be given" in text
    assert "only one kind is here" in text
    assert json.loads((tmp_path / "report.json").read_text())["columns"][0]["metrics"]["roc_auc"]["value"] is None


def test_pictures_are_png_on_white(written):
    for path in written.glob("*.png"):
        with Image.open(path) as picture:
            assert max(picture.size) > 800
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_same_report_same_bytes_and_the_global_style_is_left_alone(written, tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    write_report(make_report(), tmp_path)
    assert all((written / name).read_bytes() == (tmp_path / name).read_bytes() for name in FILES)
    assert dict(mpl.rcParams) == before


def test_a_full_disk_leaves_no_page_that_looks_whole(tmp_path, monkeypatch):
    import errno

    from fauxto.report import write

    def full(path, text):
        raise DiskFullError("the disk is full") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write, "write_text", full)
    with pytest.raises(DiskFullError):
        write_report(make_report(), tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_column_rounds_no_rare_error_away(page_of):
    report = make_report()
    head = report.columns[0]
    rates = {"false_alarm_rate": metrics.Interval(0.001, 0, 0.01), "recall": metrics.Interval(1.0, 1.0, 1.0)}
    rare = dataclasses.replace(head, metrics={**head.metrics, **rates})
    text = plain(page_of(dataclasses.replace(report, columns=(rare,))))
    assert "Of 100 photographs, fewer than 1 is taken for AI." in text
    assert "Of 100 AI-generated images, none slips through." in text
