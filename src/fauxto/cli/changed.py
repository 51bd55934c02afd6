"""What ``fauxto evaluate`` adds when asked: changed images (--perturb) and generators (--by generator), measured and printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.terminal import counting_bar, printable
from fauxto.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from fauxto.data.store import Store
    from fauxto.detector import Detector
    from fauxto.metrics import Interval
    from fauxto.report import Report
    from fauxto.report.generators import AcrossGenerators
    from fauxto.report.robustness import Robustness

    Photographs = tuple[str, Store, np.ndarray]

Perturb = Annotated[
    list[str] | None,
    typer.Option("--perturb", help="Measure changed images too: 'standard', or names such as jpeg-40,blur-0.6. Repeatable."),
]
By = Annotated[str, typer.Option("--by", help="'generator': every generator against the same photographs.")]
Encode = Annotated[
    str, typer.Option("--encode", help="With --by: save fakes and photographs alike first, such as jpeg-75; or as-is.")
]
Reals = Annotated[
    Path | None, typer.Option("--reals", help="With --by: take the photographs from these data instead (their test part).")
]
Also = Annotated[list[str] | None, typer.Option("--also", help="With --by: another detector, for the matrix. Repeatable.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes for --perturb and --by; 0 is one per core.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap, and of what --perturb draws.")]


def check_words(perturb: Sequence[str], by: str, encode: str, reals: Path | None, also: Sequence[str]) -> tuple[str, ...]:
    """Return the perturbations that are asked for; refuse, before anything slow is done, what does not fit together.

    Raises:
        UsageError: --by names something else than generators, or what belongs to it stands alone.
        ConfigError: A perturbation is impossible.
    """
    from fauxto.perturb import steps
    from fauxto.perturb.suites import perturbations
    from fauxto.report.generators import AS_IS

    if by not in ("", "generator"):
        raise UsageError(f"--by knows 'generator' only, got {by!r}")
    if not by and (encode != AS_IS or reals or also):
        raise UsageError("--encode, --reals and --also belong to --by generator: add it, or leave them out")
    if encode != AS_IS:
        steps(encode)
    return perturbations(perturb) if perturb else ()


def at_point(detector: Detector, name: str) -> Detector:
    """Return a detector at one of its card's operating points; without a name, as it is.

    Raises:
        UsageError: Its card has none of this name.
    """
    try:
        return detector.at(name) if name else detector
    except UsageError as error:
        raise UsageError(f"{detector.card.get('name', 'unnamed')}: {error}") from error


def with_changes(
    report: Report, detector: Detector, store: Store, columns: Mapping[str, np.ndarray], names: Sequence[str], workers: int
) -> Report:
    """Return the report with the same images under each perturbation."""
    from fauxto.evaluation.answering import n_cores
    from fauxto.evaluation.robustness import measure_robustness

    with counting_bar("scoring changed images") as progress:
        found = measure_robustness(
            detector, store, columns, report, names, seed=report.seed, n_workers=workers or n_cores(), progress=progress
        )
    return replace(report, robustness=found)


def photographs_for(
    detectors: Sequence[Detector], store: Store, columns: Mapping[str, np.ndarray], reals: tuple[str, Store] | None
) -> Photographs | None:
    """Return which of other data's photographs may be used, None without such data; refuse what cannot be measured.

    Raises:
        DataError: There is no fake image, or no photograph; or one of the other detectors may have been trained on some of
            the images.
    """
    from fauxto.evaluation.generators import both_classes

    home = None if reals is None else (*reals, _unseen_by(detectors[0], reals[1]))
    members = next(iter(columns.values()))
    both_classes(store, members, home[1:] if home else None)
    sets = [(store, members), *([home[1:]] if home else [])]
    for detector in detectors[1:]:
        for where, at in sets:
            _check_unseen(detector, where, at)
    return home


def with_generators(
    report: Report, detectors: Sequence[Detector], store: Store, columns: Mapping[str, np.ndarray],
    photographs: Photographs | None, encode: str, workers: int,
) -> Report:  # fmt: skip
    """Return the report with the images of its first column generator by generator."""
    from fauxto.evaluation.answering import n_cores
    from fauxto.evaluation.generators import measure_generators

    name, home = (photographs[0], photographs[1:]) if photographs else ("the same data", None)
    with counting_bar("scoring generators") as progress:
        found = measure_generators(
            detectors, store, next(iter(columns.values())), reals=home, reals_from=name,
            encode=encode, level=report.level, n_workers=workers or n_cores(), progress=progress,
        )  # fmt: skip
    return replace(report, across=found)


def _unseen_by(detector: Detector, store: Store) -> np.ndarray:
    from fauxto.evaluation import columns_for

    return next(iter(columns_for(detector.card, store).values()))


def _check_unseen(detector: Detector, store: Store, members: np.ndarray) -> None:
    import numpy as np

    if not np.isin(members, _unseen_by(detector, store)).all():
        name = detector.card.get("name", "unnamed")
        raise DataError(
            f"the detector {name!r} may have been trained on some of these images, which are no test for it: leave it out of "
            "--also, or give data that none of the detectors has seen"
        )


def print_changes(console: Console, robustness: Robustness | None, across: AcrossGenerators | None) -> None:
    """Print one line per perturbation and per generator."""
    from rich.text import Text

    if robustness is not None:
        console.print(_perturbations(robustness))
    if across is not None:
        console.print(_generators(across))
        for caveat in across.caveats:
            console.print(Text(printable(caveat), style="yellow"))


def _perturbations(robustness: Robustness) -> Table:
    from rich.table import Table

    changed = robustness.columns[0]
    table = Table(title=f"changed on their way: {printable(changed.name)}, seed {robustness.seed}", title_justify="left")
    table.add_column("%", overflow="fold")
    for head in ("accuracy", "points", "roc auc", "recall", "false alarms", "unsure", "turned"):
        table.add_column(head, justify="right")
    for item in (changed.clean, *changed.conditions):
        numbers = [item.metrics[name] for name in ("roc_auc", "recall", "false_alarm_rate", "unsure")]
        turned = sum(100 * (item.flips[name].value or 0) for name in ("to_fake", "to_real"))
        points = "" if item is changed.clean else f"{100 * (item.change.value or 0):+.2f}"
        cells = (_short(item.metrics["accuracy"]), points, *map(_short, numbers), f"{turned:.2f}")
        table.add_row(item.perturbation, *cells)
    return table


def _generators(across: AcrossGenerators) -> Table:
    from rich.table import Table
    from rich.text import Text

    title = f"against {across.n_real:,} photographs of {across.reals}, {across.encode}; * in training, † too few images"
    table = Table(title=Text(printable(title)), title_justify="left")
    for head in ("generator", "images", "roc auc", "recall", "false alarms", "balanced accuracy"):
        table.add_column(head, justify="left" if head == "generator" else "right", overflow="fold")
    names = ("roc_auc", "recall", "false_alarm_rate", "balanced_accuracy")
    for row in across.rows:
        if len(across.rows) > 1:
            table.add_row(Text(printable(row.detector), style="bold"))
        for item in row.generators:
            name = f"{printable(item.generator)}{' *' * item.is_known}{' †' * item.is_small}"
            table.add_row(Text(name), f"{item.n:,}", *(_short(item.metrics[each]) for each in names))
        for at, label in enumerate(("mean", "minimum")):
            found = {each: row.overall(each)[at] for each in names if each != "false_alarm_rate"}
            cells = ["" if found.get(each) is None else f"{100 * (found[each] or 0):.2f}" for each in names]
            table.add_row(f"{label} of {row.n_counted}", "", *cells, end_section=bool(at))
    return table


def _short(number: Interval) -> str:
    return "none" if number.value is None else f"{100 * number.value:.2f}"
