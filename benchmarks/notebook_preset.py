"""Measure a finished run of the notebook preset: ``python benchmarks/notebook_preset.py --run RUN --data cifake.tar.xz``.

Writes results/RUN'S NAME.json: test metrics with intervals on both columns, beside the bars, and the run's history. The run is
``fauxto train --data cifake.tar.xz --out RUN --preset notebook --split official`` (or ``notebook``).
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from record import write_result

from fauxto.config import read_toml
from fauxto.data.store import load_data
from fauxto.detector import Detector
from fauxto.evaluation import columns_for, evaluate
from fauxto.report import numbers_of

BARS = {"accuracy": 0.95, "precision": 0.94, "recall": 0.96, "f1": 0.95}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    store = load_data(arguments.data)
    detector = Detector.load(arguments.run)
    report = evaluate(detector, store, columns_for(detector.card, store), data=arguments.data.name)
    with (arguments.run / "history.csv").open(encoding="utf-8") as stream:
        history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    measured = numbers_of(report)
    result = {
        "bars": BARS,
        "reached": {
            column.name: {name: (column.metrics[name].value or 0) >= bar for name, bar in BARS.items()}
            for column in report.columns
        },
        "columns": measured["columns"],
        "threshold": report.threshold,
        "config": read_toml(arguments.run / "config.toml"),
        "n_images": json.loads((arguments.run / "run.json").read_text(encoding="utf-8"))["n_images"],
        "best_epoch": detector.card["trained_on"]["best_epoch"],
        "history": history,
        "trained_in": json.loads((arguments.run / "run.json").read_text(encoding="utf-8"))["environment"],
    }
    write_result(arguments.run.name, result)


if __name__ == "__main__":
    main()
