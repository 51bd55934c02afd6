"""Time ``evaluate --perturb standard`` on the official test part, and keep what it found.

``python benchmarks/robustness_time.py --detector D --detector D2 --data cifake.tar.xz --docs`` writes
results/robustness_time.json, results/robustness.csv and, with --docs, docs/robustness_map.png of the first detector.
Each is timed with nothing kept, and once more with everything kept; the bar is 10 minutes on 2 cores for the 20,000 images, for
the first detector. Waits until the machine is quiet.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import record

from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.evaluation import columns_for, evaluate
from fauxto.evaluation.answering import n_cores
from fauxto.evaluation.robustness import measure_robustness
from fauxto.perturb.suites import perturbations
from fauxto.report import Report, write_report
from fauxto.report.curves import drawings_of_robustness
from fauxto.report.plots import png_of
from fauxto.report.robustness import CLEAN, Robustness
from fauxto.runs import write_whole

BAR_S = 600


def main() -> None:
    arguments = parsed()
    detectors = {name: Detector.load(folder) for name, folder in record.by_name(arguments.detector).items()}
    store = load_data(arguments.data)
    n_images = len(next(iter(record.official_columns(detectors, store).values())))
    names = perturbations(arguments.perturb)
    load_before = None if arguments.untimed else record.quiet_load()
    found: dict[str, Robustness] = {}
    seconds: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["FAUXTO_CACHE"] = cache  # the store is open; the answers go here
        for name, detector in detectors.items():
            for run in ("nothing kept", "everything kept"):
                found[name], seconds[f"{name}, {run}"] = timed_report(detector, store, names, Path(cache) / f"{name} {run}")
    record.write_table("robustness", [row for name, one in found.items() for row in rows_of(name, one)])
    first = next(iter(detectors))
    if arguments.docs:
        draw, size = drawings_of_robustness(found[first])["robustness"]
        write_whole(record.DOCS / "robustness_map.png", lambda part: part.write_bytes(png_of(draw, size)))
    result: dict[str, Any] = {"detectors": list(detectors), "n_images": n_images, "perturbations": list(names), "seed": 0}
    result |= {"n_workers": n_cores(), "summary": {name: summary_of(one) for name, one in found.items()}}
    if not arguments.untimed:
        total = sum(seconds[f"{first}, nothing kept"].values())
        result |= {"load_before": load_before, "seconds": seconds, "total_s": record.against_bar(total, BAR_S, at_most=True)}
    record.write_result("robustness_time", result)


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, action="append", required=True, help="trained with the official split")
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--perturb", action="append", default=None, help="names; 'standard' by default")
    parser.add_argument("--untimed", action="store_true", help="numbers only: do not wait for a quiet machine")
    parser.add_argument("--docs", action="store_true", help="also draw docs/robustness_map.png")
    arguments = parser.parse_args()
    arguments.perturb = arguments.perturb or ["standard"]
    return arguments


def timed_report(detector: Detector, store: Store, names: Sequence[str], folder: Path) -> tuple[Robustness, dict[str, float]]:
    """Return what was found and the wall seconds of each part of the verb, plots and page included."""
    import dataclasses

    columns = columns_for(detector.card, store)
    made: list[Any] = []
    (clean,) = record.timed(lambda: made.append(evaluate(detector, store, columns)), n_runs=1)
    report: Report = made[0]
    (changed,) = record.timed(
        lambda: made.append(measure_robustness(detector, store, columns, report, names, n_workers=n_cores())), n_runs=1
    )
    robustness: Robustness = made[1]
    (written,) = record.timed(lambda: write_report(dataclasses.replace(report, robustness=robustness), folder), n_runs=1)
    return robustness, {"as they came": clean, "changed": changed, "page and files": written}


def rows_of(name: str, robustness: Robustness) -> list[dict[str, Any]]:
    """Return one line per column and perturbation with what the docs show."""
    rows = []
    for column in robustness.columns:
        for item in (column.clean, *column.conditions):
            row: dict[str, Any] = {"detector": name, "column": column.name, "perturbation": item.perturbation}
            for key, number in (*item.metrics.items(), ("accuracy_change", item.change), *item.flips.items()):
                row |= {key: number.value, f"{key}_low": number.low, f"{key}_high": number.high}
            rows.append(row | {f"{one.before} to {one.after}": one.n for one in item.transitions})
    return rows


def summary_of(robustness: Robustness) -> dict[str, Any]:
    """Return means over the perturbations of the first column, and the worst."""
    conditions = robustness.columns[0].conditions
    values = {
        key: {item.perturbation: item.metrics[key].value for item in conditions if item.metrics[key].value is not None}
        for key in ("accuracy", "roc_auc")
    }
    return {
        CLEAN: {key: robustness.columns[0].clean.metrics[key].value for key in values},
        "mean": {key: sum(some.values()) / len(some) for key, some in values.items()},
        "worst": {key: {min(some, key=some.__getitem__): min(some.values())} for key, some in values.items()},
        "cost more than 5 points of accuracy": [item.perturbation for item in conditions if (item.change.value or 0) < -0.05],
    }


if __name__ == "__main__":
    main()
