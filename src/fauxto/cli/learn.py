"""``fauxto train`` and ``fauxto tune``: learn a detector from data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fauxto import config as configs
from fauxto.cli.common import DataOption, SkipBroken, note_of, opened, require
from fauxto.errors import ConfigError, UsageError

RunFolder = Annotated[Path, typer.Option("--out", help="Run folder: new, or with --resume an interrupted one.")]


def train(
    out: RunFolder,
    data: DataOption = None,
    preset: Annotated[str | None, typer.Option(help=f"Recipe to begin with: {', '.join(configs.PRESETS)}.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file on top of the preset.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE on top of all else, for any key of config.toml; repeatable.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Train a head on frozen features: timm:MODEL, open_clip:MODEL/PRETRAINED, or an ONNX file (docs/backbones.md)."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="official (the data's own test part) or notebook (80/20, 80/20).")] = None,
    stem: Annotated[str | None, typer.Option(help="First layer of resnet18: imagenet or cifar.")] = None,
    subset: Annotated[float | None, typer.Option(help="Share of the training part, above 0 and at most 1.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many training images.")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Where training ends at the latest.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The optimizer's largest step size.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides split, first weights, order and augmentation.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    name: Annotated[str, typer.Option(help="The detector's name on its card; the folder's name by default.")] = "",
    init: Annotated[str | None, typer.Option(help="Detector whose weights training begins with: folder, run or name.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Detector whose answers are mixed into the labels: folder, run or name.")
    ] = None,
    forge: Annotated[
        list[Path] | None,
        typer.Option(help="Data that 'fauxto forge' wrote: they train and validate beside --data; repeatable."),
    ] = None,
    generators: Annotated[
        list[Path] | None, typer.Option(help="Labelled images of other generators, likewise; repeatable.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Family of those generators that validates instead of training; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")] = False,
    skip_broken: SkipBroken = False,
) -> None:
    """Train a detector; --out then holds detector/, curves.png, history.csv, config.toml, run.json and TensorBoard logs.

    What is not named comes from the preset; --config goes before it, the options before that, --set before all.

    Examples:
      fauxto train --data cifake.tar.xz --out runs/notebook
      fauxto train --data cifake.tar.xz --out runs/notebook --resume
      fauxto train --data cifake.tar.xz --out runs/fast --preset fast
      fauxto train --data photos --out runs/quick --subset 0.25 --set patience=2
      fauxto train --data mine --out runs/mine --preset best --init cifake --learning-rate 0.005
      fauxto train --data cifake.tar.xz --forge forged --generators generators32.tar --leave-out gan --out runs/general
      fauxto train --data photos --out runs/clip --backbone open_clip:ViT-B-16/openai
      fauxto train --data cifake.tar.xz --forge forged --backbone clip.onnx --limit 9000 --set validation_share=0.02 --out runs/c
    """
    options: dict[str, Any] = {
        "backbone": backbone, "split": split, "stem": stem, "subset": subset, "limit": limit, "max_epochs": max_epochs,
        "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "device": device,
    }  # fmt: skip
    options |= {"left_out": tuple(leave_out) if leave_out else None}
    given = {key: value for key, value in options.items() if value is not None} | _parsed(changes or [])
    if resume and config is None and (out / "config.toml").is_file():
        config = out / "config.toml"
        given = (configs.preset_values(preset) if preset else {}) | given
    from_file = configs.read_toml(config) if config else {}
    resolved = configs.preset(preset or ("frozen" if backbone else "notebook"), **{**from_file, **given})
    require("torch", "torchvision", "lightning_fabric", "tensorboard", "matplotlib", "safetensors", "onnx", "onnxscript")
    store = opened(data, out=out, skip_broken=skip_broken)
    from fauxto.training import leave_processes
    from fauxto.training import train as train_detector

    named = _named("forge", forge) | _named("generators", generators)
    guests = {name: opened(path, out=out, skip_broken=skip_broken) for name, path in named.items()}
    folder = train_detector(
        store, resolved, out, init=init, teacher=teacher, guests=guests, resume=resume, name=name, note=note_of(store)
    )
    leave_processes()
    typer.echo(folder)


def tune(
    out: RunFolder,
    config: Annotated[Path, typer.Option(help="TOML file with the search space; see docs/tune.md.")],
    data: DataOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with, or join, the study in --out.")] = False,
    skip_broken: SkipBroken = False,
) -> None:
    """Search for the best configuration on validation images; --out then holds trials.csv, plots and winner.toml.

    Examples:
      fauxto tune --config grid.toml --data cifake.tar.xz --out runs/grid
      fauxto train --config runs/grid/winner.toml --data cifake.tar.xz --out runs/best
    """
    from fauxto.tuning import read_tune_config
    from fauxto.tuning import tune as run_study

    study = read_tune_config(config)
    require("torch", "torchvision", "lightning_fabric", "optuna", "seaborn")
    typer.echo(run_study(opened(data, out=out, skip_broken=skip_broken), study, out, resume=resume))


def _named(name: str, paths: list[Path] | None) -> dict[str, Path]:
    """Return each path under a name of its own: forge, forge-2 and so on."""
    return {f"{name}-{number}" if number > 1 else name: path for number, path in enumerate(paths or [], start=1)}


def _parsed(changes: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE as TOML would; a bare word is a text."""
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, value = (part.strip() for part in change.partition("="))
        if not equals or not key.isidentifier():
            raise UsageError(f"--set takes KEY=VALUE, such as --set patience=2, got {change!r}")
        try:
            values |= configs.parse_toml(f"{key} = {value}")
        except ConfigError:
            if not value.replace("-", "").isalnum():
                raise ConfigError(f"--set {key}: {value!r} is no value; write a number, true, false or a word") from None
            values[key] = value
    return values
