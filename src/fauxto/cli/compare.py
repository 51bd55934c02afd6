"""``fauxto compare``: detectors on the same images, with paired intervals, tests and the images on which they disagree."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.common import DataOption, SkipBroken, command_line, note_of, opened, output_folder, require
from fauxto.cli.terminal import counting_bar, printable

if TYPE_CHECKING:
    from fauxto.detector import Detector
    from fauxto.evaluation.comparison import ScoresFile
    from fauxto.metrics import Interval
    from fauxto.report.versus import Comparison


def compare(
    detectors: Annotated[list[str], typer.Argument(help="Detector folders or bundled names, or scores.csv; NAME=... names one.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for compare.html, compare.json and compare.csv.")],
    data: DataOption = None,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Everybody against everybody, not only the first.")] = False,
    n_resamples: Annotated[int, typer.Option(min=100, help="Resamples behind the intervals that are drawn.")] = 1000,
    skip_broken: SkipBroken = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Compare detectors on the same images: the first against each of the others.

    Any detector joins through a CSV with the columns path and p_fake, also one that fauxto cannot run; its paths are those
    inside the data. The threshold is 0.5 or stands in a third column, threshold. 'fauxto evaluate' writes such a file.

    Examples:
      fauxto compare cifake runs/notebook --data cifake.tar.xz --out reports/two
      fauxto compare cifake theirs=scores.csv --data cifake.tar.xz --out reports/theirs
    """
    from fauxto.data.sources import locate
    from fauxto.evaluation.comparison import compare as measure
    from fauxto.report.versus_page import write_comparison

    require("matplotlib", "jinja2")
    named = [_named(word) for word in detectors]
    store = opened(data, out=out, skip_broken=skip_broken)
    with output_folder(out):
        with counting_bar("scoring images") as progress:
            comparison = measure(
                [one for _, one in named], store, names=[name for name, _ in named], all_pairs=all_pairs, n_resamples=n_resamples,
                data=locate(str(data)).resolve().name, note=note_of(store), command=command_line(),
                date=datetime.now(timezone.utc).isoformat(timespec="seconds"), progress=progress,
            )  # fmt: skip
        page = write_comparison(comparison, out)
    if as_json:
        print(json.dumps(comparison.to_dict(), indent=2))
    else:
        _print_numbers(comparison)
        print(f"comparison written to {page}")


def _named(word: str) -> tuple[str, Detector | ScoresFile]:
    """Return a contestant with its name: a path with an equals sign in it is a path if it is there."""
    from fauxto.detector import Detector
    from fauxto.evaluation.comparison import read_scores

    name, equals, rest = word.partition("=")
    where = rest if equals and name and not Path(word).exists() else word
    own = name if where is not word else ""
    if where.lower().endswith(".csv"):
        found = read_scores(Path(where), name=own or Path(where).stem)
        return found.name, found
    loaded = Detector.load(where)
    return own or str(loaded.card["name"]), loaded


def _print_numbers(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fauxto.report.versus_page import short_p

    title = f"{comparison.n_real:,} real, {comparison.n_fake:,} fake: {comparison.data}, {comparison.column}"
    table = Table(title=Text(printable(title)), title_justify="left")
    table.add_column("detector", overflow="fold")
    for head in ("accuracy", "roc auc", "recall at 1 % fpr", "ece", "ms/image", "accuracy: first - this", "Holm p"):
        table.add_column(head, justify="right")
    with_first = {pair.other: pair for pair in comparison.pairs if pair.own == comparison.contestants[0].name}
    for one in comparison.contestants:
        names = ("accuracy", "roc_auc", "tpr_at_fpr1", "expected_calibration_error")
        numbers = [_number(one.metrics[name], "" if name == "roc_auc" else "%") for name in names]
        cost = "" if one.ms_per_image is None else f"{one.ms_per_image:.2f}"
        pair = with_first.get(one.name)
        last = [_number(pair.differences["accuracy"], "%"), short_p(pair.p_holm)] if pair else ["", ""]
        table.add_row(Text(printable(one.name)), *numbers, cost, *last)
    console = Console()
    console.print(table)
    for line in (comparison.note, *comparison.caveats):
        if line:
            console.print(Text(printable(line[0].upper() + line[1:]), style="yellow"))


def _number(number: Interval, unit: str) -> str:
    if number.value is None:
        return "none"
    factor, digits = (100, 2) if unit == "%" else (1, 4)
    ends = (
        ""
        if number.low is None or number.high is None
        else f"\n{factor * number.low:.{digits}f} to {factor * number.high:.{digits}f}"
    )
    return f"{factor * number.value:.{digits}f}{ends}"
