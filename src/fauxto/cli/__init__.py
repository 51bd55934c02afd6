"""The command line: parse, call, print. Every verb imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from fauxto import __version__
from fauxto.cli.check import check
from fauxto.cli.data import app as data_app
from fauxto.cli.explain import explain
from fauxto.cli.learn import train, tune
from fauxto.cli.measure import evaluate
from fauxto.errors import FauxtoError

app = typer.Typer(
    name="fauxto",
    help="Tell photographs from AI-generated images: train detectors, measure them honestly, explain and use them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
for verb in (train, tune, evaluate, explain, check):
    app.command()(verb)


@app.callback()
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"fauxto {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and its own exit code, never in a traceback."""
    try:
        app()
    except FauxtoError as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped; a training or tuning run goes on where it was with --resume", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
