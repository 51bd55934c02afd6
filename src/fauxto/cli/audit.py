"""``fauxto audit``: duplicates, leaks, shortcuts and odd labels, before a number is believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.common import DataArgument, command_line, note_of, opened, output_folder, require
from fauxto.cli.terminal import counting_bar, printable

if TYPE_CHECKING:
    from fauxto.audit import Answers, AuditReport
    from fauxto.audit.effect import ScoreEffect
    from fauxto.data.store import Store

FOUND = 10  # exit code of --fail-on: the audit ran and found something that bad
_COLOURS = {"leak": "bold red", "shortcut": "red", "warning": "yellow", "note": "dim"}


class Severity(str, Enum):
    """How bad a finding is, the worst first."""

    LEAK = "leak"
    SHORTCUT = "shortcut"
    WARNING = "warning"
    NOTE = "note"


def audit(
    out: Annotated[Path, typer.Option("--out", help="New folder for audit.html, audit.json, duplicates.csv and shortcuts.csv.")],
    data: DataArgument = None,
    detector: Annotated[
        str, typer.Option("--detector", help="Detector folder, run folder or bundled name, to be read against the shortcuts.")
    ] = "",
    fail_on: Annotated[
        Severity | None, typer.Option("--fail-on", help=f"Exit with code {FOUND} if a finding is this bad or worse.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same report.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings and numbers as JSON.")] = False,
) -> None:
    """Look for duplicates, leaks, shortcuts and odd labels in a data set; the worst first, with pictures and what to do.

    Files that cannot be read are left out and are a finding. Severities, the worst first: leak, shortcut, warning, note. With
    --fail-on the exit code is 10 where a finding is as bad as the one named or worse, which is no error of the program (those
    have codes 1 to 9).

    Examples:
      fauxto audit cifake.tar.xz --out audit
      fauxto audit photos --out audit --detector runs/notebook
      fauxto audit photos --out audit --fail-on shortcut --json
    """
    from fauxto.audit import at_least
    from fauxto.audit import audit as look
    from fauxto.audit.page import write_audit
    from fauxto.data.sources import locate, source_of

    require("sklearn", "jinja2")
    store = opened(data, out=out, skip_broken=True)  # what cannot be read is a finding
    with output_folder(out):
        answers = _answers(detector, store) if detector else None
        with _bars() as progress:
            report = look(
                source_of(str(data), store.records), store, answers=answers, seed=seed, data=locate(str(data)).resolve().name,
                note=note_of(store), command=command_line(), progress=progress,
            )  # fmt: skip
        page = write_audit(report, out)
    if answers is not None and report.detector is None:
        typer.echo("the detector is read against no shortcut: a class or its test part holds too few images", err=True)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _print(report, page)
    if fail_on is not None and at_least(report.findings, fail_on.value):
        raise typer.Exit(FOUND)


def _answers(name: str, store: Store) -> Answers:
    """Ask a detector about the images that it may be measured on."""
    import numpy as np

    from fauxto.audit import Answers
    from fauxto.detector import Detector
    from fauxto.evaluation import calibrated_here, columns_for
    from fauxto.evaluation.seen import may_be_seen

    detector = Detector.load(name)
    positions = np.sort(next(iter(columns_for(detector.card, store).values())))
    with counting_bar("asking the detector") as progress:
        images = (store.image(at) for at in positions.tolist())
        logits = detector.logits(images, progress=lambda done: progress(done, len(positions)))
    caveats = (*may_be_seen(detector.card, store), *calibrated_here(detector.card, store, positions))
    return Answers(str(detector.card["name"]), detector.threshold, positions, detector.p_fake(logits), caveats)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar after another; yield what moves them, called with (step, done, total)."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        moving: dict[str, Callable[[int, int], None]] = {}

        def tell(step: str, done: int, total: int) -> None:
            if step not in moving:
                stack.close()
                moving.clear()
                moving[step] = stack.enter_context(counting_bar(step))
            moving[step](done, total)

        yield tell


def _print(report: AuditReport, page: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    from fauxto.audit.page import headline

    console = Console()
    console.print(Text(printable(f"{report.data}: {headline(report)}"), style="bold"))
    for found in report.findings:
        console.print(
            Text(f"  {found.severity:<9} ", style=_COLOURS[found.severity]) + Text(printable(found.title), style="default")
        )
    best = max(report.table, key=lambda shortcut: shortcut.headline.accuracy.value or 0.0, default=None)
    if best is not None:
        console.print(Text(f"best shortcut: {best.name}, {_score(best.headline)} ({report.measured_on})"))
    if report.detector is not None:
        against = report.detector
        console.print(Text(printable(
            f"{against.name}: {against.points_above:+.1f} points above it; {_score(against.whole)}"
            + (f", without {against.n_leaked:,} leaked images {_score(against.without_leaks)}" if against.without_leaks else "")
        )))  # fmt: skip
    for effect in report.repeats.effects[-1:]:
        console.print(Text(f"leaving out {effect.n_left_out:,} images ({effect.left_out}): {_difference(effect)}"))
    for line in (report.note, *report.caveats, f"written to {page}"):
        if line:
            console.print(Text(printable(line)))


def _difference(effect: ScoreEffect) -> str:
    found = effect.metrics["accuracy"].difference
    if found.value is None:
        return found.reason
    ends = "" if found.low is None or found.high is None else f" (95 %: {100 * found.low:+.2f} to {100 * found.high:+.2f})"
    return f"{100 * found.value:+.2f} points of accuracy{ends}"


def _score(found: object) -> str:
    from fauxto.audit.shortcuts import Score

    assert isinstance(found, Score)
    auc = "none" if found.roc_auc.value is None else f"{found.roc_auc.value:.4f}"
    return f"{100 * (found.accuracy.value or 0):.2f} % right, AUC {auc}"
