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


def opened(data: Path | None, *, out: Path | None, skip_broken: bool) -> Store:
    """Return the decoded store of the data, with a progress bar while it is decoded for the first time.

    Args:
        data: What the user named.
        out: Folder that the verb will write; None where it writes none.
        skip_broken: Leave unreadable images out, and say which.

    Raises:
        UsageError: No data were named, or ``out`` lies inside them.
        DataError: They are not there, damaged or not labelled.
    """
    from fauxto.data.store import load_data

    if data is None:
        raise UsageError(
            "no data named: give a folder or an archive, or set FAUXTO_DATA; 'fauxto data get cifake' downloads CIFAKE"
        )
    if out is not None:
        refuse_inside(data, out)
    with counting_bar("decoding images") as progress:
        store = load_data(data, skip_broken=skip_broken, progress=progress)
    if store.broken:
        for path, reason in store.broken[:10]:
            typer.echo(printable(f"skipped {path}: {reason}"), err=True)
        typer.echo(f"{len(store.broken)} images could not be read and are left out", err=True)
    return store


def refuse_inside(data: Path, out: Path) -> None:
    """Refuse to write where images are looked for: a verb's pictures would be images of the data the next time.

    A folder with a manifest.csv is no such place, since only what that names is taken.

    Raises:
        UsageError: ``out`` is the folder of the data, or lies inside of it.
        DataError: There are no such data.
    """
    from fauxto.data.layouts import MANIFEST
    from fauxto.data.sources import locate

    root = locate(data)
    if root.is_dir() and not (root / MANIFEST).is_file() and out.resolve().is_relative_to(root.resolve()):
        raise UsageError(
            f"{out} lies inside the data {data}, where every picture counts as one of its images, also those that fauxto writes: "
            "choose an --out outside of it, or let the data be the folder in it that holds the images alone"
        )


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
