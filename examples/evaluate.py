"""Measure a detector on the test part of a data set: ``python examples/evaluate.py DETECTOR DATA REPORT``."""

from __future__ import annotations

import sys
from pathlib import Path

from fauxto import Detector
from fauxto.data.store import load_data
from fauxto.evaluation import columns_for, evaluate
from fauxto.report import write_report


def main(detector_folder: str, data: str, out: str) -> None:
    detector, store = Detector.load(detector_folder), load_data(data)
    report = evaluate(detector, store, columns_for(detector.card, store), data=Path(data).name)
    for column in report.columns:
        accuracy = column.metrics["accuracy"]
        print(f"{column.name}: accuracy {accuracy.value} [{accuracy.low}, {accuracy.high}] on {column.n:,} images")
    print("report:", write_report(report, Path(out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
