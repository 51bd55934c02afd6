"""fauxto.report: numbers and scores that read back, and files that are whole."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from fauxto import metrics
from fauxto.errors import DetectorError, DiskFullError
from fauxto.report import count_verdicts, measure_points, numbers_of, write_report
from fauxto.report.answers import KINDS
from fauxto.vocabulary import Kind

from .conftest import BAND, FILES, SENTENCES, SIZE, make_card, make_report, plain


def test_a_folder_with_exactly_these_files(written):
    assert sorted(path.name for path in written.iterdir()) == FILES


def test_the_json_holds_every_number_with_its_interval_and_origin(written):
    report = make_report()
    found = json.loads((written / "report.json").read_text(encoding="utf-8"))
    assert found == numbers_of(report)
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
