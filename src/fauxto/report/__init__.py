"""A report: numbers with intervals, pictures, and one page that a person reads; ``fauxto evaluate`` writes it."""

from __future__ import annotations

from fauxto.report.contents import Column, GeneratorRow, ImageScores, Mistake, Report
from fauxto.report.write import write_report

__all__ = ["Column", "GeneratorRow", "ImageScores", "Mistake", "Report", "write_report"]
