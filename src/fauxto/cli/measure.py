"""``fauxto evaluate``: honest numbers with intervals, every image's score and verdict, and a report to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.changed import (
    Also,
    By,
    Encode,
    Perturb,
    Reals,
    Seed,
    Workers,
    at_point,
    check_words,
    photographs_for,
    print_changes,
    with_changes,
    with_generators,
)
from fauxto.cli.common import DataOption, DetectorArgument, SkipBroken, command_line, note_of, opened, output_folder, require
from fauxto.cli.terminal import counting_bar, printable

if TYPE_CHECKING:
    from rich.table import Table

    from fauxto.metrics import Interval
    from fauxto.report import Column, Report

SHOWN = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "precision": "precision", "recall": "recall", "f1": "f1",
    "roc_auc": "roc auc", "average_precision": "average precision", "tpr_at_fpr1": "recall at 1 % fpr",
}  # fmt: skip


def evaluate(
    detector: DetectorArgument,
    out: Annotated[Path, typer.Option("--out", help="New folder for report.html, report.json, scores.csv and plots.")],
    data: DataOption = None,
    operating_point: Annotated[
        str, typer.Option("--operating-point", help="fpr1 or fpr5: the card's threshold for 1 % or 5 % false alarms.")
    ] = "",
    n_resamples: Annotated[int, typer.Option(min=100, help="Resamples behind the intervals that are drawn.")] = 1000,
    prevalence: Annotated[
        float | None, typer.Option("--prevalence", min=0, max=1, help="Your own share of fakes: what a verdict is worth there.")
    ] = None,
    perturb: Perturb = None,
    by: By = "",
    encode: Encode = "as-is",
    reals: Reals = None,
    also: Also = None,
    workers: Workers = 0,
    seed: Seed = 0,
    skip_broken: SkipBroken = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Measure a detector on the test part of its own data, or on any other labelled images.

    The threshold comes from the detector's card, never from the images it is measured on. Positive means fake. Every image
    counts with the answer at the threshold; how often the detector says unsure, and how right it is otherwise, stands below.

    Examples:
      fauxto evaluate runs/notebook --data cifake.tar.xz --out reports/notebook
      fauxto evaluate runs/notebook --data photos --out reports/photos --json
      fauxto evaluate runs/notebook --data photos --out reports/fpr1 --operating-point fpr1
      fauxto evaluate cifake --data cifake.tar.xz --out reports/robust --perturb standard
      fauxto evaluate cifake --data generators.tar --out reports/across --by generator --reals cifake.tar.xz --encode jpeg-75
    """
    from fauxto.data.sources import locate
    from fauxto.detector import Detector
    from fauxto.evaluation import columns_for
    from fauxto.evaluation import evaluate as measure
    from fauxto.report import numbers_of, write_report

    names = check_words(perturb or [], by, encode, reals, also or [])
    loaded, *others = [at_point(Detector.load(one), operating_point) for one in (detector, *(also or []))]
    require("matplotlib", "jinja2")
    store = opened(data, out=out, skip_broken=skip_broken)
    columns = columns_for(loaded.card, store)
    other_data = (locate(str(reals)).resolve().name, opened(reals, out=out, skip_broken=skip_broken)) if reals else None
    photographs = photographs_for([loaded, *others], store, columns, other_data) if by else None
    with output_folder(out):
        with counting_bar("scoring images") as progress:
            report = measure(
                loaded, store, columns, n_resamples=n_resamples, seed=seed, data=locate(str(data)).resolve().name,
                note=note_of(store), command=command_line(), prevalence=prevalence, progress=progress,
            )  # fmt: skip
        if names:
            report = with_changes(report, loaded, store, columns, names, workers)
        if by:
            report = with_generators(report, [loaded, *others], store, columns, photographs, encode, workers)
        page = write_report(report, out)
    if as_json:
        print(json.dumps(numbers_of(report), indent=2))
    else:
        _print_numbers(report)
        print(f"report written to {page}")


def _print_numbers(report: Report) -> None:
    from rich.console import Console
    from rich.text import Text

    from fauxto.report.prevalence import prevalence_of, sentence, why_none

    console = Console()
    console.print(_table(report))
    print_changes(console, report.robustness, report.across)
    if report.prevalence is not None:
        for point in prevalence_of(report):
            console.print(Text(printable(sentence(point, report))))
    unsaid = why_none(report) if report.prevalence is not None else ""
    for line in (unsaid, report.note, *report.caveats):
        if line:
            console.print(Text(printable(line[0].upper() + line[1:]), style="yellow"))


def _table(report: Report) -> Table:
    from rich.table import Table
    from rich.text import Text

    point = f" at {report.operating_point}" if report.operating_point else ""
    title = f"{report.detector}{point} on {report.data} (positive = fake, which is p_fake >= {report.threshold:.4g})"
    table = Table(title=Text(printable(title)), title_justify="left")
    table.add_column(f"{100 * report.level:g} % intervals")
    for column in report.columns:
        table.add_column(f"{column.name}\n{column.n_real:,} real, {column.n_fake:,} fake", justify="right")
    for name, label in SHOWN.items():
        table.add_row(label, *(_percent(column.metrics[name]) for column in report.columns))
    table.add_section()
    found = [_verdict_numbers(column) for column in report.columns]
    for label in found[0]:
        table.add_row(Text(printable(label)), *(_percent(numbers[label]) for numbers in found))
    return table


def _verdict_numbers(column: Column) -> dict[str, Interval]:
    """Return what is shown of the verdicts, which may be "unsure", and of the card's operating points, by its label."""
    real, fake = column.verdicts.classes
    numbers = {
        "unsure": column.verdicts.abstained,
        "accuracy if answered": column.verdicts.selective_accuracy,
        "real, verdict fake": real.wrong,
        "fake, verdict real": fake.wrong,
    }
    for point in column.operating_points:
        numbers |= {f"false alarms at {point.name}": point.fpr, f"recall at {point.name}": point.tpr}
    return numbers


def _percent(number: Interval) -> str:
    if number.value is None:
        return f"none: {number.reason}"
    if number.low is None or number.high is None:
        return f"{100 * number.value:.2f} %  (no interval: {number.reason})"
    return f"{100 * number.value:.2f} %  [{100 * number.low:.2f}, {100 * number.high:.2f}]"
