"""An audit as one page that needs nothing else, and its files: audit.html, audit.json, shortcuts.csv."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

from fauxto.audit.contents import AuditReport
from fauxto.audit.findings import Finding
from fauxto.audit.shortcuts import Score, Shortcut
from fauxto.metrics import Interval
from fauxto.report.rendering import rendered
from fauxto.runs import write_text

PAGE, NUMBERS, TABLE = "audit.html", "audit.json", "shortcuts.csv"
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
    write_text(folder / PAGE, page)
    return folder / PAGE


def to_html(report: AuditReport) -> str:
    """Return the page; every text that comes from data is escaped.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return rendered("audit.html", **_context(report))


def shortcuts_csv(report: AuditReport) -> str:
    """Return the table of shortcuts, one line for each and for each way of measuring it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = [f"{name}{end}" for name in ("accuracy", "roc_auc") for end in ("", "_low", "_high")]
    writer.writerow(["shortcut", "kind", "measured", "n", *ends])
    for row in report.shortcuts:
        for name, found in (("cross-validated", row.cross_validated), ("test", row.on_test)):
            if found is not None:
                writer.writerow([row.name, row.kind, name, found.n, *_ends(found.accuracy), *_ends(found.roc_auc)])
    return text.getvalue()


def _ends(number: Interval) -> list[str]:
    return ["" if value is None else f"{value:.6g}" for value in (number.value, number.low, number.high)]


def _context(report: AuditReport) -> dict[str, Any]:
    counts = report.counts
    return {
        "report": report,
        "headline": headline(report),
        "counts": [{"severity": name, "n": n, "word": _WORDS[name][0], "meaning": _WORDS[name][1]} for name, n in counts.items()],
        "findings": [_finding(found, report) for found in report.findings],
        "rows": [_row(shortcut) for shortcut in report.shortcuts],
        "has_test": any(shortcut.on_test for shortcut in report.shortcuts),
        "against": _detector(report),
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


def _row(shortcut: Shortcut) -> dict[str, Any]:
    """Return a shortcut with its bar: from chance (nothing) to all right (full)."""
    tested = shortcut.on_test
    return {
        "shortcut": shortcut,
        "bar": _bar(shortcut.headline),
        "crossed": _cells(shortcut.cross_validated),
        "tested": _cells(tested) if tested else None,
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
