"""Configurations: frozen dataclasses from TOML and the command line; whatever is unknown or impossible is refused."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from fauxto.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

T = TypeVar("T")


def bounded(default: Any, *, low: float, high: float = float("inf"), above_low: bool = False) -> Any:
    """Return a dataclass field whose value must lie in [low, high], or in (low, high] if ``above_low``."""
    return field(default=default, metadata={"low": low, "high": high, "above_low": above_low})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run does; the defaults are the classroom notebook's recipe.

    Every value is checked, however the object is made, so that no impossible configuration exists.

    Attributes:
        model: Name in ``models.factory``.
        stem: "imagenet" (7x7 stride 2, max-pool) or "cifar" (3x3 stride 1, no max-pool).
        split: "official" keeps the data's own test part; "notebook" draws 80/20 and 80/20 from everything.
        subset: Stratified share of the training part to use, in (0, 1].
        limit: At most so many training images, stratified; 0 means all.
        validation_share: Share of the training part that picks epoch and calibration.
        test_share: Share of all images that the "notebook" split keeps for testing.
        batch_size: Images per step and process; batch normalisation cannot learn from one alone.
        learning_rate: Adam's step size.
        horizontal_flip: Probability of mirroring a training image.
        max_epochs: Where training ends at the latest.
        patience: Epochs without a better validation loss before training stops.
        seed: Decides split, first weights, order and augmentation.
        device: "cpu", "cuda", "mps", or "auto", which takes the fastest that is there.
        n_devices: Processes that share one run on this machine; torchrun's own number goes before it.
        precision: "32-true" or "bf16-mixed".
        n_threads: CPU threads; 0 takes torch's own choice.
        checkpoint_every_s: Seconds between two resumable checkpoints inside an epoch; 0 writes one after every step.

    Example:
        >>> TrainConfig(batch_size=32).learning_rate
        0.0005
    """

    model: Literal["resnet18"] = "resnet18"
    stem: Literal["imagenet", "cifar"] = "imagenet"
    split: Literal["official", "notebook"] = "official"
    subset: float = bounded(1.0, low=0, high=1, above_low=True)
    limit: int = bounded(0, low=0)
    validation_share: float = bounded(0.2, low=0.01, high=0.9)
    test_share: float = bounded(0.2, low=0.01, high=0.9)
    batch_size: int = bounded(16, low=2, high=65536)
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

    def __post_init__(self) -> None:
        """Refuse what ``from_mapping`` refuses; a whole number given for a float becomes one."""
        for key, value in _checked_values(type(self), dataclasses.asdict(self)).items():
            object.__setattr__(self, key, value)


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
    return from_mapping(TrainConfig, preset_values(name) | changes)


def preset_values(name: str) -> dict[str, Any]:
    """Return a preset's value of every key in which presets differ.

    Raises:
        ConfigError: The name is unknown.

    Example:
        >>> preset_values("notebook")
        {'stem': 'imagenet'}
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}{nearest(name, PRESETS)}")
    defaults = TrainConfig()
    keys = sorted({key for values in PRESETS.values() for key in values})
    return {key: getattr(defaults, key) for key in keys} | PRESETS[name]


def nearest(name: str, known: Iterable[str]) -> str:
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
    return kind(**_checked_values(kind, values))


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's values.

    Raises:
        ConfigError: The file is missing or not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # not there, no rights, not UTF-8, a path with a NUL character
        raise ConfigError(f"cannot read the configuration {path} ({error}): give a TOML file in UTF-8") from error
    return parse_toml(text, where=str(path))


def parse_toml(text: str, *, where: str = "this text") -> dict[str, Any]:
    """Return a TOML text's values.

    Raises:
        ConfigError: It is not TOML.

    Example:
        >>> parse_toml("batch_size = 16")
        {'batch_size': 16}
    """
    try:
        values: dict[str, Any] = tomllib.loads(text)
        return values
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid TOML ({error}): mend it") from error


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
        # JSON's escapes are a part of TOML's; only DEL must be escaped in TOML and not in JSON.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)


def _checked_values(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            raise ConfigError(f"unknown key {key!r}{nearest(key, fields)}")
    return {key: _checked(key, value, hints[key], fields[key].metadata) for key, value in values.items()}


def _checked(key: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> Any:
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(f"{key} = {value!r} is not possible{nearest(str(value), map(str, choices))}")
        return value
    if origin in (list, tuple):
        return _checked_items(key, value, typing.get_args(hint)[0])
    # type() and not isinstance: True is an int to Python, but not to a person who reads a configuration.
    value = _as_float(key, value) if hint is float and type(value) is int else value
    if type(value) is not hint:
        raise ConfigError(f"{key} must be {_type_name(hint)}, got {value!r}")
    return _within(key, value, limits) if limits else value


def _as_float(key: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ConfigError(f"{key} is too large a number: give one below 1e308") from error


def _checked_items(key: str, value: Any, item_hint: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ConfigError(f"{key} must be a list of {_type_name(item_hint)}, got {value!r}")
    return tuple(_checked(key, item, item_hint, {}) for item in value)


def _within(key: str, value: float, limits: Mapping[str, Any]) -> float:
    low, high = limits["low"], limits["high"]
    too_low = value <= low if limits["above_low"] else value < low
    if too_low or not value <= high:  # "not <=" also refuses NaN
        bound = f"above {low}" if limits["above_low"] else f"at least {low}"
        raise ConfigError(f"{key} must be {bound}{'' if high == float('inf') else f' and at most {high}'}, got {value!r}")
    return value


def _type_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(hint, str(hint) if isinstance(hint, types.GenericAlias) else getattr(hint, "__name__", str(hint)))
