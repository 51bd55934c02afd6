"""Configurations: frozen dataclasses from TOML and the command line; whatever is unknown or impossible is refused."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from fauxto.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def bounded(default: Any, *, low: float, high: float = float("inf"), above_low: bool = False) -> Any:
    """Return a dataclass field whose value must lie in [low, high], or in (low, high] if ``above_low``."""
    return field(default=default, metadata={"low": low, "high": high, "above_low": above_low})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run does; the defaults are the classroom notebook's recipe.

    Attributes:
        model: Name in ``models.factory``.
        stem: "imagenet" (7x7 stride 2, max-pool) or "cifar" (3x3 stride 1, no max-pool).
        split: "official" keeps the data's own test part; "notebook" draws 80/20 and 80/20 from everything.
        subset: Stratified share of the training part to use, in (0, 1].
        limit: At most so many training images, stratified; 0 means all.
        validation_share: Share of the training part that picks epoch and calibration.
        learning_rate: Adam's step size.
        horizontal_flip: Probability of mirroring a training image.
        patience: Epochs without a better validation loss before training stops.
        precision: "32-true" or "bf16-mixed".
        n_threads: CPU threads; 0 takes torch's own choice.
        checkpoint_every_s: Seconds between two resumable checkpoints inside an epoch.
    """

    model: Literal["resnet18"] = "resnet18"
    stem: Literal["imagenet", "cifar"] = "imagenet"
    split: Literal["official", "notebook"] = "official"
    subset: float = bounded(1.0, low=0, high=1, above_low=True)
    limit: int = bounded(0, low=0)
    validation_share: float = bounded(0.2, low=0.01, high=0.9)
    test_share: float = bounded(0.2, low=0.01, high=0.9)
    batch_size: int = bounded(16, low=1, high=65536)
    learning_rate: float = bounded(5e-4, low=0, high=10, above_low=True)
    horizontal_flip: float = bounded(0.5, low=0, high=1)
    max_epochs: int = bounded(30, low=1, high=100_000)
    patience: int = bounded(3, low=1)
    seed: int = bounded(0, low=0, high=2**63 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    n_devices: int = bounded(1, low=1)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    n_threads: int = bounded(0, low=0)
    checkpoint_every_s: float = bounded(60.0, low=0)


PRESETS: dict[str, dict[str, Any]] = {
    "notebook": {},
    "notebook-cifar-stem": {"stem": "cifar"},
}


def preset(name: str, **changes: Any) -> TrainConfig:
    """Return a named configuration with changes on top.

    Raises:
        ConfigError: The name or a change is unknown or impossible.

    Example:
        >>> preset("notebook", seed=3).batch_size
        16
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}{nearest(name, PRESETS)}")
    return from_mapping(TrainConfig, {**PRESETS[name], **changes})


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """Return "; did you mean ...?" or the list of what exists.

    Example:
        >>> nearest("batchsize", ["batch_size", "seed"])
        "; did you mean 'batch_size'?"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def from_mapping(kind: type[T], values: dict[str, Any]) -> T:
    """Build a frozen dataclass from plain values, checking every one.

    Raises:
        ConfigError: Unknown key, wrong type or impossible value.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            raise ConfigError(f"unknown key {key!r}{nearest(key, fields)}")
    checked = {key: _checked(key, value, hints[key], fields[key].metadata) for key, value in values.items()}
    return kind(**checked)


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's values.

    Raises:
        ConfigError: The file is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as plain values."""
    return dataclasses.asdict(config)


def to_toml(config: Any) -> str:
    """Return a dataclass of plain values as TOML that ``read_toml`` reads back.

    Example:
        >>> print(to_toml(TrainConfig()).splitlines()[0])
        model = "resnet18"
    """
    lines = (f"{f.name} = {_toml_value(getattr(config, f.name))}" for f in dataclasses.fields(config))
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)


def _checked(key: str, value: Any, hint: Any, limits: typing.Mapping[str, Any]) -> Any:
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(f"{key} = {value!r} is not possible{nearest(str(value), map(str, choices))}")
        return value
    if origin in (list, tuple):
        return _checked_items(key, value, typing.get_args(hint)[0])
    value = float(value) if hint is float and type(value) is int else value
    if type(value) is not hint:
        raise ConfigError(f"{key} must be {_type_name(hint)}, got {value!r}")
    return _within(key, value, limits) if limits else value


def _checked_items(key: str, value: Any, item_hint: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ConfigError(f"{key} must be a list of {_type_name(item_hint)}, got {value!r}")
    return tuple(_checked(key, item, item_hint, {}) for item in value)


def _within(key: str, value: float, limits: typing.Mapping[str, Any]) -> float:
    low, high = limits["low"], limits["high"]
    too_low = value <= low if limits["above_low"] else value < low
    if too_low or not value <= high:
        bracket = "(" if limits["above_low"] else "["
        raise ConfigError(f"{key} must lie in {bracket}{low}, {high}], got {value!r}")
    return value


def _type_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(hint, str(hint) if isinstance(hint, types.GenericAlias) else getattr(hint, "__name__", str(hint)))
