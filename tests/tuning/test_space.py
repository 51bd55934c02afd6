from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fauxto.config import TrainConfig, preset
from fauxto.errors import ConfigError
from fauxto.tuning import read_tune_config, space, tune_config
from fauxto.tuning.space import Range

EXAMPLE = Path(__file__).parents[2] / "examples" / "tune-notebook-grid.toml"
GRID = {"search": {"batch_size": [16, 32], "learning_rate": [1e-4, 1e-3, 1e-2]}}


def test_example_is_the_grid_of_the_documentation() -> None:
    tune = read_tune_config(EXAMPLE)
    assert tune.base == preset("notebook", subset=0.1, max_epochs=5)
    assert tune.search == {"batch_size": (16, 32, 64, 128), "learning_rate": (1e-4, 5e-4, 1e-3, 5e-3)}
    assert (tune.sampler, tune.pruner, tune.n_slots) == ("grid", "median", 16)


def test_example_stands_in_the_documentation() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "tune.md").read_text(encoding="utf-8")
    assert EXAMPLE.read_text(encoding="utf-8").split("\n", 1)[1] in page


def test_slots_cover_the_grid_once() -> None:
    tune = tune_config(GRID)
    points = [tuple(tune.point(slot).values()) for slot in range(1, tune.n_slots + 1)]
    assert sorted(points) == sorted(itertools.product([16, 32], [1e-4, 1e-3, 1e-2]))
    assert points == [tuple(tune_config(GRID).point(slot).values()) for slot in range(1, 7)]
    assert (
        len({tuple(tuple(tune_config({**GRID, "seed": seed}).point(slot).values()) for slot in range(1, 7)) for seed in range(5)})
        > 1
    )


@pytest.mark.parametrize(
    ("changes", "n_slots"), [({"n_trials": 4}, 4), ({"n_trials": 9}, 6), ({"sampler": "random", "n_trials": 9}, 9)]
)
def test_number_of_trials(changes: dict[str, object], n_slots: int) -> None:
    assert tune_config({**GRID, **changes}).n_slots == n_slots


def test_trial_config_is_base_with_values() -> None:
    tune = tune_config({**GRID, "preset": "notebook-cifar-stem", "base": {"max_epochs": 2}})
    assert tune.trial_config({"batch_size": 32, "learning_rate": 0.01}) == TrainConfig(
        stem="cifar", max_epochs=2, batch_size=32, learning_rate=0.01
    )


def test_range_of_whole_numbers_stays_whole() -> None:
    search = space.tune_config(
        {"sampler": "tpe", "n_trials": 1, "search": {"batch_size": {"low": 4, "high": 8, "log": True}}}
    ).search
    assert search == {"batch_size": Range(4, 8, log=True)}
    assert type(search["batch_size"].low) is int  # type: ignore[union-attr]


def test_toml_is_read_back(tmp_path: Path) -> None:
    tune = tune_config({
        "sampler": "tpe", "n_trials": 7, "seed": 3, "preset": "notebook-cifar-stem", "base": {"subset": 0.5},
        "search": {"stem": ["cifar", "imagenet"], "learning_rate": {"low": 1e-5, "high": 1, "log": True}, "patience": [1, 2]},
    })  # fmt: skip
    (tmp_path / "study.toml").write_text(space.to_toml(tune), encoding="utf-8")
    assert read_tune_config(tmp_path / "study.toml") == tune


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"search": {"batchsize": [16]}}, r"in \[search\]: unknown key 'batchsize'; did you mean 'batch_size'\?"),
        ({"search": {"batch_size": [16, 0]}}, r"in \[search\]: batch_size must .*got 0"),
        ({"search": {"batch_size": [16.0]}}, "batch_size must be a whole number, got 16.0"),
        ({"search": {"batch_size": 16}}, "must be a list of values or {low"),
        ({"search": {"batch_size": []}}, "must be a list of values or {low"),
        ({"search": {"batch_size": [16, 16]}}, "lists a value twice"),
        ({"search": {"stem": ["cifra"]}}, "stem = 'cifra' is not possible; did you mean 'cifar'"),
        ({"search": {"subset": [0.1, 0.2]}}, "decides which images judge a trial"),
        ({"search": {"n_devices": [1, 2]}}, "one device"),
        ({"search": {"learning_rate": {"low": 1e-4, "hihg": 1}}}, "unknown key 'hihg'; did you mean 'high'"),
        ({"search": {"learning_rate": {"low": 1e-4}}}, "must be {low = number, high = number}"),
        ({"search": {"learning_rate": {"low": 1e-3, "high": 1e-4}}}, "needs low < high"),
        ({"search": {"horizontal_flip": {"low": 0, "high": 1, "log": True}}}, "low > 0 with log"),
        ({"search": {"learning_rate": {"low": 1e-3, "high": 11}}}, "learning_rate must .*got 11"),
        ({"search": {"stem": {"low": 1, "high": 2}}}, "is no number and has no range"),
        ({"search": {"learning_rate": {"low": 1e-3, "high": 1}}}, 'a grid needs lists, but learning_rate is a range'),
        ({**GRID, "sampler": "tpe"}, "set n_trials"),
        ({**GRID, "sampler": "grad"}, "sampler = 'grad' is not possible; did you mean 'grid'"),
        ({**GRID, "pruner": "medain"}, "did you mean 'median'"),
        ({**GRID, "preset": "notebok"}, "did you mean 'notebook'"),
        ({**GRID, "smapler": "grid"}, "unknown key 'smapler'; did you mean 'sampler'"),
        ({**GRID, "base": {"max_epoch": 2}}, r"in \[base\]: unknown key 'max_epoch'; did you mean 'max_epochs'"),
        ({**GRID, "base": {"n_devices": 2}}, "one device"),
        ({**GRID, "base": 3}, r"base must be a table, \[base\]"),
        ({}, "varies nothing"),
    ],
)  # fmt: skip
def test_refusals(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        tune_config(values)
