"""``fauxto evaluate``: honest numbers with intervals, every image's score, and a report to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.common import DataOption, DetectorArgument, SkipBroken, command_line, note_of, opened, output_folder, require
from fauxto.cli.terminal import counting_bar

if TYPE_CHECKING:
    from fauxto.metrics import Interval
    from fauxto.report import Report

SHOWN = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "average_precision")


def evaluate(
    detector: DetectorArgument,
    out: Annotated[Path, typer.Option("--out", help="New folder for report.html, report.json, scores.csv and plots.")],
    data: DataOption = None,
    n_resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples behind each interval.")] = 1000,
    skip_broken: SkipBroken = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Measure a detector on the test part of its own data, or on any other labelled images.

    The threshold comes from the detector's card, never from the images it is measured on. Positive means fake.

    Examples:
      fauxto evaluate runs/notebook --data cifake.tar.xz --out reports/notebook
      fauxto evaluate runs/notebook --data photos --out reports/photos --json
    """
    from fauxto.data.sources import locate
    from fauxto.detector import Detector
    from fauxto.evaluation import columns_for
    from fauxto.evaluation import evaluate as measure
    from fauxto.report import write_report

    loaded = Detector.load(detector)
    require("matplotlib", "jinja2")
    store = opened(data, skip_broken=skip_broken)
    columns = columns_for(loaded.card, store)
    with output_folder(out), counting_bar("scoring images") as progress:
        report = measure(
            loaded, store, columns, n_resamples=n_resamples, data=locate(str(data)).resolve().name, note=note_of(store),
            command=command_line(), progress=progress,
        )  # fmt: skip
        page = write_report(report, out)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _print_numbers(report)
        print(f"report written to {page}")


def _print_numbers(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{report.detector} on {report.data} (positive = fake)"), title_justify="left")
    table.add_column(f"{100 * report.level:g} % bootstrap intervals")
    for column in report.columns:
        table.add_column(f"{column.name}\n{column.n_real:,} real, {column.n_fake:,} fake", justify="right")
    for name in SHOWN:
        cells = [column.metrics[name] for column in report.columns]
        table.add_row(name.replace("_", " "), *map(_percent, cells))
    console = Console()
    console.print(table)
    for line in (report.note, *report.caveats):
        if line:
            console.print(Text(line[0].upper() + line[1:], style="yellow"))


def _percent(number: Interval) -> str:
    if number.value is None:
        return f"none: {number.reason}"
    if number.low is None or number.high is None:
        return f"{100 * number.value:.2f} %  (no interval: {number.reason})"
    return f"{100 * number.value:.2f} %  [{100 * number.low:.2f}, {100 * number.high:.2f}]"
