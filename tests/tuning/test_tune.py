from __future__ import annotations

import csv
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fauxto.config import TrainConfig, from_mapping, read_toml
from fauxto.data.store import Store
from fauxto.errors import DiskFullError, TrainingError, UsageError
from fauxto.training.state import DivergedError, Position, check_finite
from fauxto.tuning import tune, tune_config

SEARCH = {"batch_size": [16, 32], "learning_rate": [1e-3, 1e-4]}
GRID = {"pruner": "none", "base": {"max_epochs": 3}, "search": SEARCH}
STORE: Any = SimpleNamespace(folder=Path("store-1"))
Losses = Callable[[TrainConfig], list[float]]


def some_losses(config: TrainConfig) -> list[float]:
    """Return the losses of three epochs: best with batch 32 and the small step, at epoch 2."""
    level = 1 / config.batch_size + config.learning_rate
    return [level + 0.2, level, level + 0.1]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[Losses], list[TrainConfig]]:
    """Replace training by given losses; the list collects what was trained."""

    def install(losses: Losses) -> list[TrainConfig]:
        seen: list[TrainConfig] = []

        def fit(store: object, config: TrainConfig, folder: Path, *, on_epoch: Callable[[Position], None]) -> None:
            seen.append(config)
            folder.mkdir(parents=True)  # refuses what an interrupted trial has left
            position = Position()
            for loss in losses(config):
                if not math.isfinite(loss):  # as training does, before anyone is told of the epoch
                    raise DivergedError(
                        f"the validation loss is not a finite number any more (epoch {position.epoch + 1}): lower it"
                    )
                position.epoch += 1
                position.is_done = position.epoch == config.max_epochs
                position.history.append({"epoch": position.epoch, "validation_loss": loss, "validation_accuracy": 1 - loss})
                on_epoch(position)

        monkeypatch.setattr("fauxto.tuning.trial.fit", fit)
        return seen

    return install


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").read_text(encoding="utf-8").splitlines()))


def points(configs: list[TrainConfig]) -> list[tuple[int, float]]:
    return sorted((config.batch_size, config.learning_rate) for config in configs)


ALL_POINTS = [(16, 1e-4), (16, 1e-3), (32, 1e-4), (32, 1e-3)]


def test_grid(trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = trained(some_losses)
    winner = tune(STORE, tune_config(GRID), tmp_path / "study")
    assert points(seen) == ALL_POINTS
    assert from_mapping(TrainConfig, read_toml(winner)) == TrainConfig(batch_size=32, learning_rate=1e-4)
    best = next(line for line in table(winner.parent) if (line["batch_size"], line["learning_rate"]) == ("32", "0.0001"))
    assert (best["validation_loss"], best["best_epoch"], best["n_epochs"]) == (str(1 / 32 + 1e-4), "2", "3")
    assert {"heatmap.png", "parallel.png", "study.db", "study.toml"} <= {path.name for path in winner.parent.iterdir()}
    shown = capsys.readouterr().err
    assert "(4/4 done)" in shown
    assert shown.count("trial ") == 4


def test_silent(trained: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trained(some_losses)
    tune(STORE, tune_config({"search": {"batch_size": [16]}}), tmp_path / "study", shown=False)
    assert capfd.readouterr() == ("", "")


def test_median_pruner_ends_a_hopeless_trial(trained: Any, tmp_path: Path) -> None:
    # A trial is ended after its second epoch when it is worse than the first trial was; the last epoch is never cut.
    started: list[TrainConfig] = []

    def losses(config: TrainConfig) -> list[float]:
        started.append(config)
        return [[0.5, 0.4, 0.3], [0.9, 0.8, 0.7], [0.9, 0.2, 0.9], [0.1, 0.1, 0.1]][len(started) - 1]

    trained(losses)
    config = tune_config({**GRID, "pruner": "median", "startup_trials": 1, "warmup_epochs": 1})
    tune(STORE, config, tmp_path / "study", shown=False)
    found = [(line["state"], line["n_epochs"], line["validation_loss"]) for line in table(tmp_path / "study")]
    assert found == [("complete", "3", "0.3"), ("pruned", "2", "0.8"), ("complete", "3", "0.2"), ("complete", "3", "0.1")]


@pytest.mark.parametrize("pruner", ["hyperband", "successive-halving"])
def test_halving_pruners_end_the_worst(trained: Any, tmp_path: Path, pruner: str) -> None:
    ranks: list[TrainConfig] = []

    def losses(config: TrainConfig) -> list[float]:
        ranks.append(config)
        return [0.1 * len(ranks)] * 9

    trained(losses)
    search = {"learning_rate": [0.001 * rank for rank in range(1, 9)]}
    config = tune_config({"pruner": pruner, "base": {"max_epochs": 9, "patience": 9}, "search": search})
    tune(STORE, config, tmp_path / "study", shown=False)
    states = [line["state"] for line in table(tmp_path / "study")]
    assert states[0] == "complete"
    assert "pruned" in states


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), DiskFullError("the disk is full"), TrainingError("no such device")])
def test_interrupted_study_goes_on(trained: Any, tmp_path: Path, stop: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    started: list[TrainConfig] = []

    def losses(config: TrainConfig) -> list[float]:
        started.append(config)
        if len(started) == 2:
            raise stop
        return some_losses(config)

    trained(losses)
    with pytest.raises(type(stop)):
        tune(STORE, tune_config(GRID), folder)
    assert ("go on with --resume" in capsys.readouterr().err) == isinstance(stop, KeyboardInterrupt)
    with pytest.raises(UsageError, match="already exists and is not empty"):
        tune(STORE, tune_config(GRID), folder)
    tune(STORE, tune_config(GRID), folder, resume=True, shown=False)
    assert started[1] == started[2]
    assert points(started[:1] + started[2:]) == ALL_POINTS
    assert [line["state"] for line in table(folder)] == ["complete"] * 4
    tune(STORE, tune_config(GRID), folder, resume=True, shown=False)  # nothing is left to do
    assert len(started) == 5


def test_resume_refuses_another_study(trained: Any, tmp_path: Path) -> None:
    trained(some_losses)
    with pytest.raises(UsageError, match="no study to resume"):
        tune(STORE, tune_config(GRID), tmp_path / "study", resume=True)
    tune(STORE, tune_config({"search": {"batch_size": [16]}}), tmp_path / "study", shown=False)
    with pytest.raises(UsageError, match=r"another study.*batch_size = \[16, 32\]"):
        tune(STORE, tune_config(GRID), tmp_path / "study", resume=True)
    other: Any = SimpleNamespace(folder=Path("store-2"))
    with pytest.raises(UsageError, match="other data"):
        tune(other, tune_config({"search": {"batch_size": [16]}}), tmp_path / "study", resume=True)


def test_diverged_trial_is_noted_and_the_study_goes_on(trained: Any, tmp_path: Path) -> None:
    def losses(config: TrainConfig) -> list[float]:
        if config.batch_size == 16:
            raise DivergedError("the loss is not a finite number any more (epoch 1, step 7): lower learning_rate")
        return [0.4, math.nan] if config.learning_rate == 1e-3 else [0.5]

    trained(losses)
    winner = tune(STORE, tune_config(GRID), tmp_path / "study", shown=False)
    assert from_mapping(TrainConfig, read_toml(winner)).learning_rate == 1e-4
    found = {(line["batch_size"], line["learning_rate"]): line for line in table(winner.parent)}
    assert found["16", "0.001"]["error"] == "the loss is not a finite number any more (epoch 1, step 7)"
    assert found["32", "0.001"]["state"] == "failed"
    assert found["32", "0.001"]["error"].startswith("the validation loss is not a finite number any more (epoch 2)")


def test_training_says_that_it_diverged(tmp_path: Path) -> None:
    # run_trial tells a diverged trial by this class from what would befall every trial.
    with pytest.raises(DivergedError, match="not a finite number any more"):
        check_finite(torch.nn.Linear(1, 1), Position(totals=[math.nan, 0.0, 1.0]), tmp_path)


def test_study_without_a_good_trial(trained: Any, tmp_path: Path) -> None:
    trained(lambda config: [math.nan])
    with pytest.raises(TrainingError, match="none of the 4 trials ended well"):
        tune(STORE, tune_config(GRID), tmp_path / "study", shown=False)
    assert [line["state"] for line in table(tmp_path / "study")] == ["failed"] * 4


def test_full_database_is_named(trained: Any, tmp_path: Path) -> None:
    def losses(config: TrainConfig) -> list[float]:
        raise RuntimeError("wrapped") from sqlite3.OperationalError("database or disk is full")

    trained(losses)
    with pytest.raises(DiskFullError, match="go on with --resume"):
        tune(STORE, tune_config(GRID), tmp_path / "study", shown=False)


def test_two_workers_share_a_study(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxto.tuning._LOOK_EVERY_S", 0.05)
    both_began = threading.Barrier(2, timeout=30)

    def losses(config: TrainConfig) -> list[float]:
        if len(seen) <= 2:
            both_began.wait()
        return some_losses(config)

    seen = trained(losses)
    winners: list[Path] = []

    def work(*, resume: bool) -> None:
        winners.append(tune(STORE, tune_config(GRID), tmp_path / "study", resume=resume, shown=False))

    workers = [threading.Thread(target=work, kwargs={"resume": resume}) for resume in (False, True)]
    workers[0].start()
    while not (tmp_path / "study" / "study.db").exists():
        time.sleep(0.01)
    workers[1].start()
    for worker in workers:
        worker.join(timeout=60)
    assert points(seen) == ALL_POINTS
    assert winners == [tmp_path / "study" / "winner.toml"] * 2
    assert [line["state"] for line in table(tmp_path / "study")] == ["complete"] * 4


def test_trial_is_the_same_training_as_train(store: Store, run_folder: Path, tmp_path: Path) -> None:
    config = tune_config({"base": {"max_epochs": 2, "n_threads": 1}, "search": {"batch_size": [8, 16]}})
    folder = tmp_path / "study"
    tune(store, config, folder, shown=False)
    expected = min(
        float(line["validation_loss"])
        for line in csv.DictReader((run_folder / "history.csv").read_text(encoding="utf-8").splitlines())
    )
    found = {line["batch_size"]: line for line in table(folder)}
    assert float(found["8"]["validation_loss"]) == expected
    assert sorted(path.name for path in folder.glob("trials/*/*")) == sorted(["config.toml", "history.csv", "run.json"] * 2)
