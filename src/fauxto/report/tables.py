"""The rows of the page's tables: numbers as text, one cell per column of the report."""

from __future__ import annotations

from typing import Any

from fauxto.metrics import Interval
from fauxto.report.answers import KINDS, ClassVerdicts, PointRow
from fauxto.report.contents import Report

_NONE = "cannot be given"
# name -> label, meaning, unit
METRICS: dict[str, tuple[str, str, str]] = {
    "accuracy": ("Accuracy", "share of all images that were answered right", "%"),
    "balanced_accuracy": ("Balanced accuracy", "the same, both classes counting equally", "%"),
    "precision": ("Precision", "of the images called fake, the share that is fake", "%"),
    "recall": ("Recall", "of the fake images, the share that was called fake", "%"),
    "f1": ("F1", "harmonic mean of precision and recall", "%"),
    "false_alarm_rate": ("False alarms", "of the photographs, the share that was called fake; lower is better", "%"),
    "roc_auc": ("ROC AUC", "chance that a fake scores above a photograph; no threshold needed", ""),
    "average_precision": ("Average precision", "precision, averaged over all recalls; no threshold needed", ""),
    "tpr_at_fpr1": (
        "Recall at 1 % false alarms",
        "share of fakes above the threshold that spares 99 % of these very photographs: it ranks detectors, and is used for "
        "no verdict",
        "%",
    ),
    "expected_calibration_error": ("Calibration error", "how far p_fake lies from the truth on average; lower is better", "%"),
}
_COUNTS = (
    ("tn", "Photographs, called photographs"),
    ("fp", "Photographs, called fake"),
    ("fn", "Fakes, called photographs"),
    ("tp", "Fakes, called fake"),
)
# class, what was said of it, label
_VERDICTS = (
    (0, "real", "Photographs, called real"),
    (0, "fake", "Photographs, called fake"),
    (0, "unsure", "Photographs, unsure"),
    (1, "real", "Fakes, called real"),
    (1, "fake", "Fakes, called fake"),
    (1, "unsure", "Fakes, unsure"),
)


def metric_rows(report: Report) -> list[dict[str, Any]]:
    """Return label, meaning and cells of every metric, then of the four counts."""
    rows = []
    for name, (label, meaning, unit) in METRICS.items():
        rows.append(_row(label, meaning, [text(column.metrics[name], unit) for column in report.columns]))
    for name, label in _COUNTS:
        rows.append(_row(label, "", [text(column.confusion[name], "images") for column in report.columns]))
    return rows


def verdict_rows(report: Report) -> list[dict[str, Any]]:
    """Return label, meaning and cells of what was said with "unsure": counts, then shares, then the reasons."""
    found = [column.verdicts for column in report.columns]
    rows = []
    for at, said, label in _VERDICTS:
        is_wrong = said not in ("unsure", found[0].classes[at].label)
        rows.append(_row(label, _promise(report) if is_wrong else "", [_verdict_cell(item.classes[at], said) for item in found]))
    rows.append(_row("Unsure in all", "share of all images", [text(item.abstained, "%") for item in found]))
    for kind in dict.fromkeys(row.kind for item in found for row in item.reasons):
        shares = [next((text(row.share, "%") for row in item.reasons if row.kind == kind), _cell("none")) for item in found]
        rows.append(_row(f"… {KINDS.get(kind, kind)}", "of all images, by the first reason that holds", shares))
    answered = [text(item.selective_accuracy, "%") for item in found]
    rows.append(_row("Right among the answered", "accuracy on the images that were called real or fake", answered))
    return rows


def point_tables(report: Report) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return for each column of the report its name, and what every operating point of the card did on its images."""
    return [(column.name, [_point(row) for row in column.operating_points]) for column in report.columns]


def text(number: Interval, unit: str) -> dict[str, str]:
    """Return a number as value, interval and, where something is missing, the reason.

    Example:
        >>> text(Interval(0.5, 0.25, 0.75), "%")
        {'value': '50.00 %', 'ends': '25.00–75.00', 'reason': ''}
    """
    value = _NONE if number.value is None else _number(number.value, unit) + (" %" if unit == "%" else "")
    has_ends = number.low is not None and number.high is not None
    ends = f"{_number(number.low or 0.0, unit)}–{_number(number.high or 0.0, unit)}" if has_ends else ""
    return _cell(value, ends, number.reason)


def _row(label: str, meaning: str, cells: list[dict[str, str]]) -> dict[str, Any]:
    return {"label": label, "meaning": meaning, "cells": cells}


def _cell(value: str, ends: str = "", reason: str = "") -> dict[str, str]:
    return {"value": value, "ends": ends, "reason": reason}


def _verdict_cell(row: ClassVerdicts, said: str) -> dict[str, str]:
    """Return a count and its share of the class; the share of wrong verdicts has an interval."""
    count = getattr(row, said)
    if not row.n:
        return _cell(f"{count:,}")
    if said in ("unsure", row.label):
        return _cell(f"{count:,}", f"{100 * count / row.n:.2f} %")
    share = text(row.wrong, "%")
    return _cell(f"{count:,}", f"{share['value']}, {share['ends']}")


def _promise(report: Report) -> str:
    alpha = report.columns[0].verdicts.alpha
    return "wrong verdicts" if alpha is None else f"wrong verdicts; the card promises at most {100 * alpha:g} %"


def _point(row: PointRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "target": f"{100 * row.target_fpr:g} %",
        "threshold": f"{row.threshold:.4g}",
        "cells": [text(number, "%") for number in (row.card_fpr, row.fpr, row.card_tpr, row.tpr)],
    }


def _number(value: float, unit: str) -> str:
    if unit == "images":
        return f"{value:,.0f}"
    return f"{100 * value:.2f}" if unit == "%" else f"{value:.4f}"
