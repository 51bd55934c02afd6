"""What several verbs share: options, the data behind them, a folder for the results."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.terminal import counting_bar, printable
from fauxto.errors import UsageError, missing_extra

if TYPE_CHECKING:
    from fauxto.data.store import Store

_DATA_HELP = "Folder, .zip or .tar archive, or manifest.csv."
DataArgument = Annotated[Path | None, typer.Argument(envvar="FAUXTO_DATA", help=_DATA_HELP)]
DataOption = Annotated[Path | None, typer.Option("--data", envvar="FAUXTO_DATA", help=_DATA_HELP)]
DetectorArgument = Annotated[str, typer.Argument(help="Detector folder, run folder, or the name of a bundled detector.")]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Leave unreadable images out instead of stopping.")]


def opened(data: Path | None, *, skip_broken: bool) -> Store:
    """Return the decoded store of the data, with a progress bar while it is decoded for the first time.

    Raises:
        UsageError: No data were named.
        DataError: They are not there, damaged or not labelled.
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
            typer.echo(printable(f"skipped {path}: {reason}"), err=True)
        typer.echo(f"{len(store.broken)} images could not be read and are left out", err=True)
    return store


def require(*packages: str) -> None:
    """Refuse at once, before anything slow is done or written, where a package of the train extra is not installed.

    Raises:
        MissingExtraError: One is not.
    """
    for package in packages:
        try:
            found = importlib.util.find_spec(package)
        except ImportError:
            found = None
        if found is None:
            raise missing_extra("train", package)


@contextmanager
def output_folder(out: Path) -> Iterator[None]:
    """Make the folder for a verb's results; where nothing came of them, take it away again.

    Raises:
        UsageError: The folder is taken, or cannot be made.
    """
    from fauxto.runs import new_folder

    is_ours = not out.exists()
    new_folder(out, overwrite_hint="choose another --out")
    try:
        yield
    except BaseException:
        if is_ours:
            with suppress(OSError):  # not empty: what was written stays
                out.rmdir()
        raise


def command_line() -> str:
    """Return what the user typed, with the program's bare name."""
    return shlex.join(["fauxto", *sys.argv[1:]])


def note_of(store: Store) -> str:
    """Return the sentence that everything made from the embedded data must carry, or nothing."""
    from fauxto.data.synthetic import GENERATOR, NOTE

    return NOTE if GENERATOR in store.generator else ""
