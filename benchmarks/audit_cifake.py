"""Audit all of CIFAKE with the shipped detector: ``python benchmarks/audit_cifake.py --data cifake.tar.xz``.

Bars: under 3 minutes and 4 GiB on two cores. Each run is a fresh process whose headers are read again; the images are decoded
before (results/decode_store.json has that time). Writes results/audit_cifake.json and results/audit_cifake.csv, then the tables
of docs/audit.md; ``--tables-only`` does only that.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record

from fauxto.audit import facts
from fauxto.data.store import load_data
from fauxto.runs import write_text

PAGE = record.DOCS / "audit.md"
BAR_S, BAR_GIB = 180, 4
CALL = "from fauxto.cli import main; main()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--detector", default="cifake")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--busy", action="store_true", help="do not wait for a quiet machine; the times are then no claim")
    parser.add_argument("--tables-only", action="store_true")
    arguments = parser.parse_args()
    if not arguments.tables_only:
        if arguments.data is None:
            parser.error("--data is needed")
        measure(arguments.data, arguments.detector, n_runs=arguments.runs, is_busy=arguments.busy)
    write_text(PAGE, filled_page(PAGE.read_text(encoding="utf-8")))


def measure(data: Path, detector: str, *, n_runs: int, is_busy: bool) -> None:
    """Audit in fresh processes, once with the detector for the numbers and then without it for the time."""
    store = load_data(data)
    load = os.getloadavg()[0] if is_busy else record.quiet_load()
    seconds = [audited(data, store.folder)[0] for _ in range(n_runs)]
    with_detector, report = audited(data, store.folder, "--detector", detector)
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # of the largest child; Linux counts in KiB
    record.write_table("audit_cifake", table_rows(report))
    record.write_result("audit_cifake", {
        "n_images": report["info"]["n_images"], "n_cores": os.cpu_count(), "load_before": load, "is_busy": is_busy,
        "seconds": record.summary(seconds), "seconds_with_detector": with_detector, "peak_gib": peak_gib,
        "bars": {
            "seconds": record.against_bar(max(seconds), BAR_S, at_most=True),
            "GiB": record.against_bar(peak_gib, BAR_GIB, at_most=True),
        },
        "counts": report["counts"], "duplicate_pairs": report["duplicate_pairs"], "duplicates": report["duplicates"],
        "detector": report["detector"], "files": report["files"],
        "findings": [{key: one[key] for key in ("kind", "severity", "title", "numbers")} for one in report["findings"]],
    })  # fmt: skip


def audited(data: Path, store: Path, *options: str) -> tuple[float, dict[str, Any]]:
    """Run ``fauxto audit`` once, nothing of it remembered but the decoded images; return wall seconds and the report."""
    (store / f"facts-{facts.VERSION}.npz").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CALL, "audit", str(data), "--out", f"{folder}/audit", "--json", *options]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        report: dict[str, Any] = json.loads(Path(folder, "audit/audit.json").read_text(encoding="utf-8"))
    return seconds, report


def table_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per shortcut and way of measuring, and the detector's; how far it lies above, where that was compared."""
    rows = []
    about = report["detector"]
    above = {margin["shortcut"]: margin for margin in about["margins"]} if about else {}
    for shortcut in report["shortcuts"]:
        for name, key in (("test part", "on_test"), ("cross-validated", "cross_validated")):
            if shortcut[key]:
                is_compared = key == "on_test" or not shortcut["on_test"]
                margin = above.get(shortcut["name"]) if is_compared else None
                rows.append(
                    {"name": shortcut["name"], "kind": shortcut["kind"], "measured": name, **numbers(shortcut[key], margin)}
                )
    if about:
        for name, key in (("test part", "sample"), ("all it was asked", "whole"), ("without leaked images", "without_leaks")):
            if about[key]:
                rows.append({"name": about["name"], "kind": "detector", "measured": name, **numbers(about[key], None)})
    return rows


def numbers(score: dict[str, Any], margin: dict[str, Any] | None) -> dict[str, Any]:
    found = {"n": score["n"]}
    for name in ("accuracy", "roc_auc"):
        found |= {f"{name}{end}": score[name][key] for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}
    return found | {name: margin[name] if margin else "" for name in ("points_above", "auc_above")}


def filled_page(page: str) -> str:
    """Return docs/audit.md with its tables made anew from the results that are there."""
    for name, file, table in (
        ("shortcuts", "audit_cifake.csv", shortcut_table),
        ("effect", "audit_cifake.json", effect_table),
        ("bars", "audit_cifake.json", bar_table),
        ("planted", "audit_planted.json", planted_table),
    ):
        if (record.RESULTS / file).is_file():
            page = record.filled(page, name, table())
        else:
            print(f"table {name} stays as it is: {file} was not measured yet")
    return page


def shortcut_table() -> str:
    """Return what each shortcut reaches, how far the detector lies above it, and the notebook's network on the same images."""
    with (record.RESULTS / "audit_cifake.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = ["| | measured on | right | AUC | the detector above |", "|---|---|---|---|---|"]
    for row in rows:
        above = f"{float(row['points_above']):+.2f} points, AUC {float(row['auc_above']):+.4f}" if row.get("points_above") else ""
        lines.append(f"| {row['name']} | {row['measured']}, {int(row['n']):,} images | {both_scores(row)} | {above} |")
    with (record.RESULTS / "robustness.csv").open(encoding="utf-8", newline="") as stream:
        others = [row for row in csv.DictReader(stream) if row["detector"] == "notebook" and row["column"] == "test"]
    best = max((row for row in rows if row.get("points_above") and row["measured"] == "test part"), key=accuracy_of)
    points = 100 * (accuracy_of(others[0]) - accuracy_of(best))
    lines.append(
        f"| the notebook's ResNet-18 (`robustness.csv`), {points:.2f} points above {best['name']} | test part, 20,000 images | "
        f"{both_scores(others[0])} |  |"
    )
    return "\n".join(lines)


def accuracy_of(row: dict[str, str]) -> float:
    return float(row["accuracy"])


def both_scores(row: dict[str, str]) -> str:
    return f"{interval(row, 'accuracy', 100, 2)} | {interval(row, 'roc_auc', 1, 4)}"


def interval(row: dict[str, str], name: str, times: int, digits: int) -> str:
    value, low, high = (
        f"{times * float(row[name + end]):.{digits}f}" if row[name + end] else "" for end in ("", "_low", "_high")
    )
    return f"{value}{' %' if times == 100 else ''} [{low}, {high}]"


def effect_table() -> str:
    """Return what leaving known images out does to the detector's score."""
    found = json.loads((record.RESULTS / "audit_cifake.json").read_text(encoding="utf-8")).get("duplicates")
    if found is None:
        return "Not measured yet."
    lines = ["| left out | images | right on them | accuracy changes by, points | AUC changes by |", "|---|---|---|---|---|"]
    for effect in found["effects"]:
        right = effect["accuracy_of_left_out"]["value"]
        changes = [ends_of(effect["metrics"][name]["difference"], times) for name, times in (("accuracy", 100), ("roc_auc", 1))]
        lines.append(f"| {effect['left_out']} | {effect['n_left_out']:,} | {100 * right:.2f} % | {' | '.join(changes)} |")
    return "\n".join(lines)


def ends_of(found: dict[str, Any], times: int) -> str:
    digits = 2 if times == 100 else 4
    value, low, high = (f"{times * found[key]:+.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def bar_table() -> str:
    found = json.loads((record.RESULTS / "audit_cifake.json").read_text(encoding="utf-8"))
    lines = ["| | asked | reached | |", "|---|---|---|---|"]
    for name, row in found["bars"].items():
        lines.append(f"| {name} | at most {row['bar']} | {row['value']:.1f} | {'yes' if row['reached'] else '**no**'} |")
    return "\n".join(lines)


def planted_table() -> str:
    found = json.loads((record.RESULTS / "audit_planted.json").read_text(encoding="utf-8"))
    lines = ["| planted | right alarm | another alarm |", "|---|---|---|"]
    for name, row in found["rows"].items():
        hits = "" if row["right_alarms"] is None else f"{row['right_alarms']} of {row['n_audits']}"
        lines.append(f"| {name} | {hits} | {row['false_alarms']} of {row['n_audits']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
