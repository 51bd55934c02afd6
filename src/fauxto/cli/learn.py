"""``fauxto train`` and ``fauxto tune``: learn a detector from data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fauxto import config as configs
from fauxto.cli.common import DataFlag, SkipBroken, note_of, opened
from fauxto.errors import ConfigError, UsageError

OutFlag = Annotated[Path, typer.Option("--out", help="Run folder: new, or with --resume an interrupted one.")]


def train(
    out: OutFlag,
    data: DataFlag = None,
    preset: Annotated[str, typer.Option(help="Named recipe: notebook, notebook-cifar-stem.")] = "notebook",
    config: Annotated[Path | None, typer.Option(help="TOML file on top of the preset.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE on top of both; may be repeated.")] = None,
    split: Annotated[str | None, typer.Option(help="official (the data's own test part) or notebook (80/20, 80/20).")] = None,
    stem: Annotated[str | None, typer.Option(help="imagenet or cifar.")] = None,
    subset: Annotated[float | None, typer.Option(help="Share of the training part, in (0, 1].")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many training images.")] = None,
    max_epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    name: Annotated[str, typer.Option(help="The detector's name on its card; the folder's name by default.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")] = False,
    skip_broken: SkipBroken = False,
) -> None:
    """Train a detector; --out then holds detector/, curves.png, history.csv, config.toml, run.json and TensorBoard logs.

    Examples:  fauxto train --data cifake.tar.xz --out runs/notebook  ·
    fauxto train --data cifake.tar.xz --out runs/quick --subset 0.25 --set patience=2  ·
    fauxto train --data cifake.tar.xz --out runs/notebook --resume
    """
    flags = {
        "split": split, "stem": stem, "subset": subset, "limit": limit, "max_epochs": max_epochs,
        "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "device": device,
    }  # fmt: skip
    given = {key: value for key, value in flags.items() if value is not None} | _parsed(changes or [])
    if resume and config is None and (out / "config.toml").is_file():
        config = out / "config.toml"
    from_file = configs.read_toml(config) if config else {}
    resolved = configs.preset(preset, **{**from_file, **given})
    store = opened(data, skip_broken=skip_broken)
    from fauxto.training import train as train_detector

    folder = train_detector(store, resolved, out, resume=resume, name=name, note=note_of(data))
    typer.echo(folder)


def tune(
    out: OutFlag,
    config: Annotated[Path, typer.Option(help="TOML file with the search space; see docs/tune.md.")],
    data: DataFlag = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with, or join, the study in --out.")] = False,
    skip_broken: SkipBroken = False,
) -> None:
    """Search for the best configuration on validation images; writes trials.csv, plots and winner.toml.

    Example:  fauxto tune --config examples/tune-notebook-grid.toml --data cifake.tar.xz --out runs/grid
    """
    from fauxto.tuning import read_tune_config
    from fauxto.tuning import tune as run_study

    study = read_tune_config(config)
    store = opened(data, skip_broken=skip_broken)
    typer.echo(run_study(store, study, out, resume=resume))


def _parsed(changes: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE as TOML would; a bare word is a text."""
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key.strip().isidentifier():
            raise UsageError(f"--set takes KEY=VALUE, got {change!r}")
        try:
            values |= configs.parse_toml(f"{key.strip()} = {value}")
        except ConfigError:
            if not value.strip().replace("-", "").isalnum():
                raise ConfigError(f"--set {key.strip()}: {value!r} is no value; write a number, true, false or a word") from None
            values[key.strip()] = value.strip()
    return values
