"""What several verbs share: the --data option, opening data with a progress bar, one way to build a configuration."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.errors import UsageError

if TYPE_CHECKING:
    from fauxto.data.store import Store

DataOption = Annotated[
    Path | None,
    typer.Argument(envvar="FAUXTO_DATA", help="Folder, .zip or .tar archive, or manifest.csv; FAUXTO_DATA by default."),
]
DataFlag = Annotated[
    Path | None,
    typer.Option("--data", envvar="FAUXTO_DATA", help="Folder, .zip or .tar archive, or manifest.csv; FAUXTO_DATA by default."),
]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Leave unreadable images out instead of stopping.")]


def opened(data: Path | None, *, skip_broken: bool) -> Store:
    """Return the decoded store of the data, with a progress bar while it is decoded for the first time.

    Raises:
        UsageError: No data were named.
    """
    from fauxto.data.store import load_data

    if data is None:
        raise UsageError(
            "no data named: give a folder or an archive, or set FAUXTO_DATA; 'fauxto data get cifake' downloads CIFAKE"
        )
    with counting_bar("decoding images") as progress:
        store = load_data(data, skip_broken=skip_broken, progress=progress)
    if store.broken:
        for path, reason in store.broken[:10]:
            typer.echo(f"skipped {path}: {reason}", err=True)
        typer.echo(f"{len(store.broken)} images could not be read and are left out", err=True)
    return store


@contextmanager
def counting_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with ETA on a terminal's stderr; yield what moves it, called with (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def command_line() -> str:
    """Return what the user typed, with the program's bare name."""
    return shlex.join(["fauxto", *sys.argv[1:]])


def note_of(data: Path | None) -> str:
    """Return the sentence that every report on the embedded data must carry, or nothing."""
    from fauxto.data.synthetic import NOTE

    readme = data / "README.txt" if data else None
    is_simulated = readme is not None and readme.is_file() and readme.read_text(encoding="utf-8").startswith(NOTE)
    return NOTE if is_simulated else ""
