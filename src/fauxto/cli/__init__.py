"""The command line: parse, call, print. Every verb imports what it needs when it runs."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer

from fauxto import __version__
from fauxto.cli.audit import audit
from fauxto.cli.calibrate import calibrate
from fauxto.cli.check import check
from fauxto.cli.compare import compare
from fauxto.cli.data import app as data_app
from fauxto.cli.explain import explain
from fauxto.cli.forge import forge
from fauxto.cli.learn import train, tune
from fauxto.cli.measure import evaluate
from fauxto.cli.terminal import printable
from fauxto.errors import DiskFullError, FauxtoError, UsageError

INTERRUPTED = 130  # what a shell reports for Ctrl-C
# All that typer says of a wrong call; older typers take it from click, newer ones bring their own.
_WrongCall: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="fauxto",
    help="Tell photographs from AI-generated images: train detectors, measure them honestly, explain and use them.\n\n"
    "Example:  fauxto check photo.jpg --detector runs/notebook",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
for verb in (forge, audit, train, tune, evaluate, compare, calibrate, explain, check):
    app.command()(verb)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"fauxto {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before the verb."""


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and its own exit code, never in a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold bytes that are no text
    try:
        sys.exit(_exit_code())
    except BrokenPipeError:  # the reader, such as head, has seen enough; typer leaves with 1 where it meets this itself
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _exit_code() -> int:
    try:
        code = app(prog_name="fauxto", standalone_mode=False) or 0
        sys.stdout.flush()
    except FauxtoError as error:
        return _refused(str(error), error.exit_code)
    except _WrongCall as error:
        return _refused_call(error)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _refused("the disk is full: the answer was not written; free some space", DiskFullError.exit_code)
        if error.filename is None or isinstance(error, BrokenPipeError):
            raise
        return _refused(f"{error.filename}: {error.strerror}; check this path and your rights on it", FauxtoError.exit_code)
    if code == INTERRUPTED:
        typer.echo("stopped; a forge, training or tuning run goes on where it was with --resume", err=True)
    return int(code)


def _refused_call(error: Exception) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # the help has been shown
        return UsageError.exit_code
    message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    return _refused(f"{message}; see '{context.command_path if context else 'fauxto'} --help'", UsageError.exit_code)


def _refused(message: str, exit_code: int) -> int:
    typer.secho(f"error: {printable(message)}", err=True, fg=typer.colors.RED)
    return exit_code
