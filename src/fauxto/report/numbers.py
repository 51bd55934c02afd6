"""A report as plain values, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fauxto.report.contents import Column, Report
from fauxto.report.prevalence import prevalence_of, why_none

METHODS = {
    "shares": "Wilson; balanced accuracy and F1 made of Wilson's",
    "roc_auc": "DeLong, on the log-odds scale",
    "average_precision": "bootstrap over images, normal on the log-odds scale",
    "tpr_at_fpr1": "Bayesian bootstrap of photographs and fakes",
    "confusion": "percentile bootstrap over images",
    "prevalence": "Wilson for counts; Donner and Zou (2012) for predictive values",
}


def numbers_of(report: Report) -> dict[str, Any]:
    """Return a report's numbers and their origin; the images' scores are left to the CSV."""
    return {
        "detector": report.detector,
        "data": report.data,
        "note": report.note,
        "threshold": report.threshold,
        "operating_point": report.operating_point,
        "positive_class": "fake",
        "intervals": {"level": report.level, "method": METHODS} | {"n_resamples": report.n_resamples, "seed": report.seed},
        "columns": [_column(column) for column in report.columns],
        "prevalence": [point.to_dict() for point in prevalence_of(report)],
        "prevalence_reason": why_none(report),
        "robustness": report.robustness.to_dict() if report.robustness else None,
        "across_generators": report.across.to_dict() if report.across else None,
        "caveats": list(report.caveats),
        "n_calibrating": report.n_calibrating,
        "mistakes": [{"path": m.path, "label": m.label, "p_fake": m.p_fake} for m in report.mistakes],
        "command": report.command,
        "date": report.date,
        "environment": dict(report.environment),
        "card": dict(report.card),
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "n_real": column.n_real,
        "n_fake": column.n_fake,
        "metrics": {name: asdict(metric) for name, metric in column.metrics.items()},
        "confusion": {name: asdict(count) for name, count in column.confusion.items()},
        "reliability": [asdict(item) for item in column.reliability],
        "verdicts": column.verdicts.to_dict(),
        "operating_points": [asdict(row) for row in column.operating_points],
        "generators": [asdict(row) for row in column.generators],
    }
