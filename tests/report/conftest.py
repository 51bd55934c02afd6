"""A small report to write, and what reads its page."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest

from fauxto import metrics
from fauxto.report import Column, ImageScores, Mistake, Report, count_verdicts, measure_points, write_report

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
