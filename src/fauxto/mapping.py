"""Frozen dataclasses from plain values and TOML: whatever is unknown or impossible is refused."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import field
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
    return kind(**checked_values(kind, values))


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
        >>> from fauxto.config import TrainConfig
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


def checked_values(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the dataclass ``kind`` would hold them.

    Raises:
        ConfigError: Unknown key, wrong type or impossible value.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            raise ConfigError(f"unknown key {key!r}{nearest(key, fields)}")
    checked = {key: _checked(key, value, hints[key], fields[key].metadata) for key, value in values.items()}
    for key, value in checked.items():
        if value == () and fields[key].default != ():  # where one of its items is always needed
            raise ConfigError(f"{key} must be a list of {_type_name(typing.get_args(hints[key])[0])}, got {values[key]!r}")
    return checked


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
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{key} must be a list of {_type_name(item_hint)}, got {value!r}")
    return tuple(_checked(key, item, item_hint, {}) for item in value)


def _within(key: str, value: float, limits: Mapping[str, Any]) -> float:
    low, high = limits["low"], limits["high"]
    too_low = value <= low if limits["above_low"] else value < low
    if too_low or not value <= high or math.isinf(value):  # "not <=" also refuses NaN; no card can hold infinity
        bound = f"above {low}" if limits["above_low"] else f"at least {low}"
        raise ConfigError(f"{key} must be {bound}{'' if high == float('inf') else f' and at most {high}'}, got {value!r}")
    return value


def _type_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(hint, str(hint) if isinstance(hint, types.GenericAlias) else getattr(hint, "__name__", str(hint)))
