"""What a study varies and how: a base recipe, the values to try, the sampler and the pruner."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fauxto import config as configs
from fauxto.config import TrainConfig, bounded, from_mapping, nearest
from fauxto.errors import ConfigError

# These decide on which images the validation loss is measured: two trials that differ in them cannot be compared.
_JUDGES = ("split", "subset", "limit", "validation_share", "test_share", "seed")
_TABLES = ("base", "search")


@dataclass(frozen=True)
class Range:
    """All numbers from ``low`` to ``high``, both included.

    Attributes:
        log: Draw the logarithm evenly, so that each power of ten is as likely as the next.
    """

    low: float
    high: float
    log: bool = False


Values = tuple[Any, ...]
Search = dict[str, "Values | Range"]


@dataclass(frozen=True)
class TuneConfig:
    """Everything that decides what a study does.

    Attributes:
        preset: Name in ``config.PRESETS`` that the study starts from.
        sampler: "grid" runs every combination of the listed values; "tpe" and "random" draw ``n_trials`` of them.
        n_trials: Trials in all; with "grid", 0 means every combination.
        pruner: What ends a hopeless trial early; "none" lets each run to its end.
        startup_trials: Trials that must have ended before "median" stops any.
        warmup_epochs: Epochs of each trial that "median" never stops.
        seed: Order of the grid and draws of the sampler; the training seed is ``base.seed``.
        base: The recipe that every trial shares, the preset with the changes of [base].
        search: What varies: a TrainConfig field -> the values to try, or a range.
    """

    preset: str = "notebook"
    sampler: Literal["grid", "tpe", "random"] = "grid"
    n_trials: int = bounded(0, low=0, high=100_000)
    pruner: Literal["median", "hyperband", "successive-halving", "none"] = "median"
    startup_trials: int = bounded(4, low=1)
    warmup_epochs: int = bounded(1, low=0)
    seed: int = bounded(0, low=0, high=2**31)
    base: TrainConfig = field(default_factory=TrainConfig)
    search: Search = field(default_factory=dict)

    @property
    def n_slots(self) -> int:
        """How many trials the study has in all."""
        if self.sampler != "grid":
            return self.n_trials
        n_points = math.prod(len(values) for values in self.search.values() if not isinstance(values, Range))
        return min(self.n_trials or n_points, n_points)

    def point(self, slot: int) -> dict[str, Any]:
        """Return the values that a grid's trial must take; slots count from 1.

        The order is shuffled, so that the first trials, which the pruner compares with, are spread over the grid.
        """
        points = list(itertools.product(*(typing.cast(Values, values) for values in self.search.values())))
        order = np.random.default_rng(self.seed).permutation(len(points))
        return dict(zip(self.search, points[order[slot - 1]], strict=True))

    def trial_config(self, values: dict[str, Any]) -> TrainConfig:
        """Return the recipe of the trial with these values."""
        return from_mapping(TrainConfig, {**configs.to_dict(self.base), **values})


def read_tune_config(path: Path) -> TuneConfig:
    """Return the study that a TOML file describes.

    Raises:
        ConfigError: The file is missing, not TOML, or holds an unknown key or an impossible value.
    """
    return tune_config(configs.read_toml(path))


def tune_config(values: dict[str, Any]) -> TuneConfig:
    """Build a study's configuration from plain values, checking every one.

    Args:
        values: TuneConfig's own fields, and the tables "base" (changes on top of the preset) and "search".

    Raises:
        ConfigError: An unknown key, an impossible value, or a search that the sampler cannot do.

    Example:
        >>> tune_config({"search": {"batch_size": [16, 32], "learning_rate": [1e-4, 1e-3]}}).n_slots
        4
    """
    tune = from_mapping(TuneConfig, {key: value for key, value in values.items() if key not in _TABLES})
    configs.preset(tune.preset)
    base = {**configs.PRESETS[tune.preset], **_table(values, "base")}
    with _named("base"):
        tune = dataclasses.replace(tune, base=from_mapping(TrainConfig, base))
    tune = dataclasses.replace(tune, search={key: _dimension(key, wanted) for key, wanted in _table(values, "search").items()})
    _check_possible(tune)
    return tune


def to_toml(tune: TuneConfig) -> str:
    """Return a study's configuration as TOML that ``read_tune_config`` reads back."""
    lines = [f"{f.name} = {json.dumps(getattr(tune, f.name))}" for f in dataclasses.fields(tune) if f.name not in _TABLES]
    lines += ["", "[base]", configs.to_toml(tune.base), "[search]"]
    return "\n".join([*lines, *(f"{key} = {_inline(wanted)}" for key, wanted in tune.search.items())]) + "\n"


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{name} must be a table, [{name}] with one line per key, got {table!r}")
    return table


def _dimension(key: str, wanted: Any) -> Values | Range:
    """Check one line of [search], each value as if it stood in a training configuration."""
    with _named("search"):
        from_mapping(TrainConfig, {key: getattr(TrainConfig(), key, None)})  # an unknown key is refused here
        if key in _JUDGES:
            raise ConfigError(f"{key} decides which images judge a trial, so trials could not be compared: set it in [base]")
        if key == "n_devices":
            raise ConfigError("a trial runs on one device: leave n_devices out")
        if isinstance(wanted, dict):
            return _range(key, wanted)
        if not isinstance(wanted, list) or not wanted:
            raise ConfigError(f"{key} must be a list of values or {{low = ..., high = ...}}, got {wanted!r}")
        checked = tuple(getattr(from_mapping(TrainConfig, {key: value}), key) for value in wanted)
        if len(set(checked)) < len(checked):
            raise ConfigError(f"{key} lists a value twice: {wanted!r}")
        return checked


def _range(key: str, wanted: dict[str, Any]) -> Range:
    known = [f.name for f in dataclasses.fields(Range)]
    for name in wanted:
        if name not in known:
            raise ConfigError(f"{key} has the unknown key {name!r}{nearest(name, known)}")
    if type(getattr(TrainConfig(), key)) not in (int, float):
        raise ConfigError(f"{key} is no number and has no range: list its values")
    if "low" not in wanted or "high" not in wanted or not isinstance(wanted.get("log", False), bool):
        raise ConfigError(f"{key} must be {{low = number, high = number}}, with log = true if wanted, got {wanted!r}")
    low, high = (getattr(from_mapping(TrainConfig, {key: wanted[end]}), key) for end in ("low", "high"))
    if not low < high or (wanted.get("log") and low <= 0):
        raise ConfigError(f"{key} needs low < high, and low > 0 with log = true, got {wanted!r}")
    return Range(low, high, wanted.get("log", False))


def _check_possible(tune: TuneConfig) -> None:
    if not tune.search:
        raise ConfigError("the study varies nothing: add a table [search], such as learning_rate = [1e-4, 1e-3]")
    ranges = [key for key, wanted in tune.search.items() if isinstance(wanted, Range)]
    if tune.sampler == "grid" and ranges:
        raise ConfigError(f'a grid needs lists, but {", ".join(ranges)} is a range: list values, or set sampler = "tpe"')
    if tune.sampler != "grid" and not tune.n_trials:
        raise ConfigError(f'the sampler "{tune.sampler}" never ends by itself: set n_trials')
    if tune.base.n_devices != 1:
        raise ConfigError("a trial runs on one device: leave n_devices out and start the command several times with --resume")


def _inline(wanted: Values | Range) -> str:
    if isinstance(wanted, Range):
        return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in dataclasses.asdict(wanted).items()) + "}"
    return json.dumps(list(wanted))


class _named:
    """Say in which table a wrong key or value stands."""

    def __init__(self, table: str) -> None:
        self.table = table

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigError):
            raise ConfigError(f"in [{self.table}]: {error}") from error
