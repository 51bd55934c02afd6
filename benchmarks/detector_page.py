"""Write the tables of docs/detector.md from benchmarks/results/: ``python benchmarks/detector_page.py``.

Reads best.json, best.csv, unseen.csv, leave_one_out_by_source.csv, throughput.json and fast_preset.json; measures nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import record

from fauxto.runs import write_text

PAGE = record.DOCS / "detector.md"
CLEAN = "clean"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        page = record.filled(page, name, table())
    write_text(PAGE, page)


def bars() -> str:
    """Return what was asked of the detector beside what it reaches."""
    lines = ["| | asked | reached | to hope for | |", "|---|---|---|---|---|"]
    found = result("best")["bars"]
    for group, value in found.items():
        rows = value if "bar" not in value else {group: value}
        where = "" if "bar" in value else f" ({group})"
        lines += [f"| {name.replace('_', ' ')}{where} | {bar_cells(row)} |" for name, row in rows.items()]
    return "\n".join(lines)


def bar_cells(row: dict[str, Any]) -> str:
    """Return one bar: what was asked, what was found with its interval, what was hoped for, and whether it holds."""
    verdict = "yes, beyond" if row.get("reach_for_reached") else "yes" if row["reached"] else "**no**"
    return f"{short(row['bar'])} | {with_interval(row)} | {short(row['reach_for']) if 'reach_for' in row else ''} | {verdict}"


def perturbations() -> str:
    """Return accuracy, AUC, calibration error and abstention under every standard perturbation."""
    lines = ["| | accuracy | AUC | calibration error | unsure |", "|---|---|---|---|---|"]
    rows = [row for row in table_rows("best") if row["column"] == "test" and row["run"].startswith("mean of ")]
    for row in (row for row in rows if row["group"] == rows[0]["group"]):  # the runs that the bars are of come first
        cells = f"{percent(row['accuracy'])} | {float(row['roc_auc']):.4f} | {float(row['ece']):.4f} | {percent(row['unsure'])}"
        lines.append(f"| {row['perturbation']} | {cells} |")
    return "\n".join(lines)


def unseen() -> str:
    """Return what is said of other generators' images."""
    lines = ["| | encoding | images | AUC | said fake | said real | unsure |", "|---|---|---|---|---|---|---|"]
    for row in table_rows("unseen"):
        auc = auc_cell(row) if row["roc_auc"] else ""
        said = " | ".join(percent(row[verdict]) for verdict in ("fake", "real", "unsure"))
        lines.append(f"| {row['generator']} | {row['set']} | {row['n']} | {auc} | {said} |")
    return "\n".join(lines)


def left_out() -> str:
    """Return what other sources' images, joined to the training, do for the images of a source that was left out."""
    trainings = ("as it is", "CIFAKE alone", "others joined")
    rows = table_rows("leave_one_out_by_source")
    found = {(row["generator"], row["training"]): row for row in rows}
    lines = ["| | source | images | AUC: as it is | CIFAKE alone | others joined | CIFAKE's accuracy then |", "|---" * 7 + "|"]
    for name in dict.fromkeys(row["generator"] for row in rows if row["generator"]):
        own = [found[name, training] for training in trainings]
        cells = " | ".join(f"{float(row['auc']):.2f} [{float(row['auc_low']):.2f}, {float(row['auc_high']):.2f}]" for row in own)
        lines.append(f"| {name} | {own[0]['source']} | {own[0]['n']} | {cells} | {percent(own[-1]['test_accuracy'])} |")
    return "\n".join(lines)


def speed() -> str:
    """Return images per second, and the minutes of preset fast."""
    answers, fast = result("throughput"), result("fast_preset")
    lines = ["| | median | range |", "|---|---|---|"]
    for name, rate in answers["images_per_s"].items():
        lines.append(f"| `{name}`, images/s | {rate['median']:,.0f} | {rate['min']:,.0f} to {rate['max']:,.0f} |")
    for schedule, found in fast["schedules"].items():
        for name, spread in found.items():
            if isinstance(spread, dict) and spread.get("median_minutes"):
                span = f"{short(spread['min_minutes'])} to {short(spread['max_minutes'])}"
                goal, n = name.replace("to 0.", "to validation accuracy 0."), found["n_runs"]
                what = f"minutes {goal}, {schedule}, {n} run{'s' * (n > 1)}"
                lines.append(f"| {what} | {spread['median_minutes']:.1f} | {span} |")
    return "\n".join(lines)


def result(name: str) -> dict[str, Any]:
    """Return results/NAME.json."""
    found: dict[str, Any] = json.loads((record.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def table_rows(name: str) -> list[dict[str, str]]:
    """Return the lines of results/NAME.csv."""
    with (record.RESULTS / f"{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def with_interval(row: dict[str, Any]) -> str:
    """Return a value with its interval where it has one."""
    if row.get("low") is None or row.get("high") is None:
        return short(row["value"])
    return f"{short(row['value'])} [{short(row['low'])}, {short(row['high'])}]"


def short(value: float | None) -> str:
    """Return a number with as many digits as a reader needs."""
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def auc_cell(row: dict[str, str]) -> str:
    """Return an AUC with its interval, where there are enough images for one."""
    ends = (f"{float(row[f'roc_auc_{end}']):.2f}" for end in ("low", "high"))
    return f"{float(row['roc_auc']):.2f}" + (f" [{', '.join(ends)}]" if row["roc_auc_low"] else "")


def percent(value: str) -> str:
    """Return a share as a percentage."""
    return f"{100 * float(value):.2f}"


TABLES: dict[str, Callable[[], str]] = {
    "bars": bars,
    "perturbations": perturbations,
    "unseen": unseen,
    "left-out": left_out,
    "speed": speed,
}

if __name__ == "__main__":
    main()
