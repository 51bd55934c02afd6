"""An audit as one page that needs nothing else, and its files: audit.html, audit.json, duplicates.csv, shortcuts.csv."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

from fauxto.audit.contents import AuditReport, Margin
from fauxto.audit.duplicates import EQUAL, NEAR
from fauxto.audit.effect import ScoreEffect
from fauxto.audit.findings import Finding
from fauxto.audit.repeats import OTHER, SAME, by_parts, duplicates_csv
from fauxto.audit.shortcuts import Score, Shortcut
from fauxto.metrics import Interval
from fauxto.report.rendering import rendered
from fauxto.runs import write_text

PAGE, NUMBERS, TABLE, LIST = "audit.html", "audit.json", "shortcuts.csv", "duplicates.csv"
_WORDS = {
    "leak": ("Leak", "test images are known from training"),
    "shortcut": ("Shortcut", "real and fake can be told by what is no trace of generation"),
    "warning": ("Warning", "read the numbers with care"),
    "note": ("Note", "good to know"),
}


def write_audit(report: AuditReport, folder: Path) -> Path:
    """Write an audit's files, the page last; older ones are replaced.

    Returns:
        The page, which needs no other file and no network.

    Raises:
        MissingExtraError: jinja2 is not installed; nothing was written.
        DiskFullError: There was no room.
    """
    page = to_html(report)
    write_text(folder / NUMBERS, json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / TABLE, shortcuts_csv(report))
    write_text(folder / LIST, duplicates_csv(report.repeats.listed))
    write_text(folder / PAGE, page)
    return folder / PAGE


def to_html(report: AuditReport) -> str:
    """Return the page; every text that comes from data is escaped.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return rendered("audit.html", **_context(report))


def shortcuts_csv(report: AuditReport) -> str:
    """Return the table of shortcuts, one line for each and for each way of measuring it.

    How far a detector lies above it stands in the line that was measured on the same images.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = [f"{name}{end}" for name in ("accuracy", "roc_auc") for end in ("", "_low", "_high")]
    writer.writerow(["shortcut", "kind", "measured", "n", *ends, "detector_points_above", "detector_auc_above"])
    margins = _margins(report)
    for row in report.shortcuts:
        for name, found in (("cross-validated", row.cross_validated), ("test", row.on_test)):
            if found is not None:
                margin = margins.get(row.name) if found is row.headline else None
                above = [f"{margin.points_above:.6g}", f"{margin.auc_above:.6g}"] if margin else ["", ""]
                writer.writerow([row.name, row.kind, name, found.n, *_ends(found.accuracy), *_ends(found.roc_auc), *above])
    return text.getvalue()


def _margins(report: AuditReport) -> dict[str, Margin]:
    return {margin.shortcut: margin for margin in report.detector.margins} if report.detector else {}


def _ends(number: Interval) -> list[str]:
    return ["" if value is None else f"{value:.6g}" for value in (number.value, number.low, number.high)]


def _context(report: AuditReport) -> dict[str, Any]:
    counts = report.counts
    return {
        "report": report,
        "headline": headline(report),
        "counts": [{"severity": name, "n": n, "word": _WORDS[name][0], "meaning": _WORDS[name][1]} for name, n in counts.items()],
        "findings": [_finding(found, report) for found in report.findings],
        "rows": [_row(shortcut, _margins(report).get(shortcut.name)) for shortcut in report.shortcuts],
        "has_test": any(shortcut.on_test for shortcut in report.shortcuts),
        "against": _detector(report),
        "duplicates": _duplicates(report),
        "effects": [_effect(effect) for effect in report.repeats.effects],
        "info": report.info,
        "packages": report.environment.get("packages", {}),
        "is_simulated": "simulat" in report.note.lower(),
    }


def headline(report: AuditReport) -> str:
    """Return the audit in a few words.

    Such as "1 leak, 2 shortcuts".
    """
    told = [f"{n} {name}{'s' * (n != 1)}" for name, n in report.counts.items() if n and name != "note"]
    return ", ".join(told) or "nothing to warn of"


def _finding(found: Finding, report: AuditReport) -> dict[str, Any]:
    sources = ["data:image/png;base64," + base64.b64encode(picture).decode("ascii") for picture in found.pictures]
    pairs = [
        {"first": report.paths[pair.first], "second": report.paths[pair.second], "change": _change(pair), "source": source}
        for pair, source in zip(found.pairs, sources, strict=False)
    ]
    return {"found": found, "word": _WORDS[found.severity][0], "pairs": pairs, "pictures": [] if pairs else sources}


def _change(pair: Any) -> str:
    return "equal pixels" if pair.kind == "equal" else f"nearly equal{': ' if pair.change else ''}{pair.change}"


def _duplicates(report: AuditReport) -> list[dict[str, Any]]:
    """Return one row for each two parts that share pairs: how many, equal and near, under the same label and another."""
    rows = []
    for (one, other), cells in by_parts(report.repeats.found.counts):
        name = f"inside {one or 'the data'}" if one == other else f"{one or 'no part'} and {other}"
        rows.append({"name": name, "cells": [f"{cells[kind][label]:,}" for kind in (EQUAL, NEAR) for label in (SAME, OTHER)]})
    return rows


def _effect(effect: ScoreEffect) -> dict[str, Any]:
    cells = []
    for name, times, digits in (("accuracy", 100, 2), ("roc_auc", 1, 4)):
        found = effect.metrics[name]
        unit = " %" if times == 100 else ""
        cells.append(_number(found.without, times, digits, unit=unit))
        cells.append(_number(found.difference, times, digits, sign="+"))
    right = _number(effect.accuracy_of_left_out, 100, 1, unit=" %")
    return {"left_out": effect.left_out, "n": f"{effect.n_left_out:,}", "cells": [right, *cells]}


def _number(number: Interval, times: int, digits: int, *, unit: str = "", sign: str = "-") -> dict[str, str]:
    if number.value is None:
        return {"value": "–", "ends": number.reason}
    ends = "" if number.low is None or number.high is None else (
        f"{times * number.low:{sign}.{digits}f} to {times * number.high:{sign}.{digits}f}"
    )  # fmt: skip
    return {"value": f"{times * number.value:{sign}.{digits}f}{unit}", "ends": ends}


def _row(shortcut: Shortcut, margin: Margin | None) -> dict[str, Any]:
    """Return a shortcut with its bar: from chance (nothing) to all right (full)."""
    tested = shortcut.on_test
    return {
        "shortcut": shortcut,
        "bar": _bar(shortcut.headline),
        "crossed": _cells(shortcut.cross_validated),
        "tested": _cells(tested) if tested else None,
        "points": f"{margin.points_above:+.1f}" if margin else "",
        "auc_above": f"{margin.auc_above:+.3f}" if margin else "",
    }


def _detector(report: AuditReport) -> dict[str, Any] | None:
    against = report.detector
    if against is None:
        return None
    return {
        "against": against,
        "bar": _bar(against.sample),
        "sample": _cells(against.sample),
        "whole": _cells(against.whole),
        "without": _cells(against.without_leaks) if against.without_leaks else None,
        "points": f"{against.points_above:+.1f}",
        "auc_above": f"{against.auc_above:+.3f}",
    }


def _bar(found: Score) -> float:
    """Return the length of a bar in percent: an AUC of 0.5 or less has none."""
    return round(max(0.0, 200 * ((found.roc_auc.value or 0.5) - 0.5)), 1)


def _cells(found: Score) -> dict[str, str]:
    def ends(number: Interval, times: float, digits: int) -> str:
        if number.low is None or number.high is None:
            return ""
        return f"{times * number.low:.{digits}f}–{times * number.high:.{digits}f}"

    return {
        "accuracy": f"{100 * (found.accuracy.value or 0):.1f} %",
        "accuracy_ends": ends(found.accuracy, 100, 1),
        "auc": "–" if found.roc_auc.value is None else f"{found.roc_auc.value:.3f}",
        "auc_ends": ends(found.roc_auc, 1, 3),
        "n": f"{found.n:,}",
    }
