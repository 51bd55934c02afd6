"""A report: numbers with intervals, pictures, and one page that a person reads; ``fauxto evaluate`` writes it."""

from __future__ import annotations

from fauxto.report.answers import ClassVerdicts, PointRow, ReasonRow, Verdicts, count_verdicts, measure_points
from fauxto.report.contents import Column, GeneratorRow, ImageScores, Mistake, Report
from fauxto.report.numbers import numbers_of
from fauxto.report.write import write_report

__all__ = [
    "ClassVerdicts",
    "Column",
    "GeneratorRow",
    "ImageScores",
    "Mistake",
    "PointRow",
    "ReasonRow",
    "Report",
    "Verdicts",
    "count_verdicts",
    "measure_points",
    "numbers_of",
    "write_report",
]
