"""The page: alone, without a script, with every name escaped; its files beside it."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from fauxto.audit import AuditReport
from fauxto.audit.page import headline, shortcuts_csv, to_html, write_audit
from fauxto.errors import MissingExtraError
from fauxto.metrics import Interval


def test_it_needs_nothing_else(report: AuditReport) -> None:
    page = to_html(report)
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,)', page) == []
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_names_are_escaped(report: AuditReport) -> None:
    page = to_html(replace(report, paths=dict.fromkeys(report.paths, "<script>x</script>.jpg"), note="<u>n</u>"))
    for hostile in ("<b>mine</b>", "<i>set</i>", "<script>", "<u>"):
        assert hostile not in page
    assert "&lt;script&gt;x&lt;/script&gt;.jpg" in page


def test_what_it_says(report: AuditReport) -> None:
    page = to_html(report)
    assert page.index("test images also in train") < page.index("The classes differ at one place")
    assert "What to do." in page
    assert "fauxto audit" in page
    assert headline(report).startswith("1 leak, ")
    assert "without leaked images" in page.lower()


def test_duplicates_margins_files_and_captions_are_on_the_page(report: AuditReport) -> None:
    page = to_html(report)
    cells = re.sub(r"<[^>]*>", "|", page)
    assert re.search(r"test and train\|+3\|+0\|", cells)
    assert "colour mode: RGB" in page
    assert "What leaks do to the detector's score" in page
    assert page.count('<p class="caption soft">') == sum(bool(finding.pictures) for finding in report.findings)
    assert report.detector is not None
    for margin in report.detector.margins:
        assert f"<b>{margin.points_above:+.1f}</b><small>{margin.auc_above:+.3f}</small>" in page
    alone = to_html(replace(report, detector=None, repeats=replace(report.repeats, effects=())))
    assert "detector above" not in alone
    assert "What leaks do to" not in alone


def test_an_auc_that_there_is_not_is_no_zero(report: AuditReport) -> None:
    assert report.detector is not None
    one_class = replace(report.detector.whole, roc_auc=Interval(None, reason="one class"))
    page = to_html(replace(report, detector=replace(report.detector, whole=one_class)))
    assert "AUC – (" in page
    assert "AUC 0.000" not in page


def test_it_can_be_empty(report: AuditReport) -> None:
    found = replace(report.repeats.found, counts=())
    empty = replace(report, findings=(), shortcuts=(), detector=None, paths={}, repeats=replace(report.repeats, found=found))
    assert "No two images were found to be equal" in to_html(empty)
    assert "What leaks do to" in to_html(empty)  # images may be known by their group alone
    assert "too few images" in to_html(empty)
    assert headline(empty) == "nothing to warn of"


def test_the_files(report: AuditReport, tmp_path: Path) -> None:
    page = write_audit(report, tmp_path / "out")
    assert page.read_text(encoding="utf-8") == to_html(report)
    assert json.loads((tmp_path / "out/audit.json").read_text())["counts"] == report.counts
    with (tmp_path / "out/shortcuts.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * len(report.shortcuts)
    assert shortcuts_csv(report).count("\n") == len(rows) + 1
    with (tmp_path / "out/duplicates.csv").open(newline="") as stream:
        pairs = list(csv.DictReader(stream))
    assert len(pairs) == len(report.repeats.listed)
    assert {"first", "second", "first_split", "second_label", "kind", "change", "distance"} <= set(pairs[0])
    assert report.detector is not None
    above = {row["shortcut"]: row["detector_points_above"] for row in rows if row["measured"] == "test"}
    assert above == {margin.shortcut: f"{margin.points_above:.6g}" for margin in report.detector.margins}
    assert {row["detector_points_above"] for row in rows if row["measured"] == "cross-validated"} == {""}
    tables = next(row for row in rows if row["shortcut"] == "format and tables" and row["measured"] == "test")
    assert (tables["accuracy"], tables["roc_auc"]) == ("1", "1")


def test_without_jinja_nothing_is_written(report: AuditReport, tmp_path: Path) -> None:
    with mock.patch.dict("sys.modules", {"jinja2": None}), pytest.raises(MissingExtraError, match="jinja2"):
        write_audit(report, tmp_path / "out")
    assert not (tmp_path / "out").exists()
