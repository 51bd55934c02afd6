from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fauxto.config import TrainConfig, from_mapping, read_toml
from fauxto.errors import TrainingError
from fauxto.tuning import outputs, plots, progress, tune_config
from fauxto.tuning.study import TrialRow

GRID = tune_config({"base": {"subset": 0.1}, "search": {"learning_rate": [1e-3, 1e-4], "batch_size": [32, 16]}})


def row(trial: int, state: str, loss: float | None = None, **values: Any) -> TrialRow:
    if loss is None:
        return TrialRow(trial, values, state, seconds=10.0, error="the loss blew up" if state == "failed" else "")
    return TrialRow(trial, values, state, loss, 0.75, best_epoch=2, n_epochs=3, seconds=10.0)


ROWS = [
    row(1, "complete", 0.5, learning_rate=1e-3, batch_size=32),
    row(2, "pruned", 0.9, learning_rate=1e-4, batch_size=32),
    row(3, "failed", learning_rate=1e-3, batch_size=16),
    row(4, "complete", 0.25, learning_rate=1e-4, batch_size=16),
]


def test_table(tmp_path: Path) -> None:
    outputs.write_trials(tmp_path, GRID, ROWS)
    lines = list(csv.DictReader((tmp_path / "trials.csv").read_text(encoding="utf-8").splitlines()))
    assert lines[3] == {
        "trial": "4", "learning_rate": "0.0001", "batch_size": "16", "state": "complete", "validation_loss": "0.25",
        "validation_accuracy": "0.75", "best_epoch": "2", "n_epochs": "3", "seconds": "10.0", "error": "",
    }  # fmt: skip
    assert (lines[2]["state"], lines[2]["validation_loss"], lines[2]["error"]) == ("failed", "", "the loss blew up")


def test_winner_is_ready_for_training(tmp_path: Path) -> None:
    winner = outputs.write_results(tmp_path, GRID, ROWS)
    expected = TrainConfig(learning_rate=1e-4, batch_size=16)  # on all data, not on the study's tenth
    assert from_mapping(TrainConfig, read_toml(winner)) == expected
    text = winner.read_text(encoding="utf-8")
    assert text.startswith("# trial 4, the best of 4: learning_rate=0.0001 batch_size=16\n")
    assert "# the study was shorter: subset=0.1\n" in text


def test_winner_is_complete_and_the_first_of_equals() -> None:
    rows = [row(1, "pruned", 0.1), row(2, "complete", 0.2), row(3, "complete", 0.2)]
    assert outputs.winner_of(rows).trial == 2
    with pytest.raises(TrainingError, match=r"none of the 1 trials ended well \(the loss blew up\)"):
        outputs.winner_of([row(1, "failed")])


def test_cells() -> None:
    losses, texts = plots.cells(GRID, ROWS)
    # Down: batch size 16, 32; across: learning rate 1e-4, 1e-3; numbers rise although the search lists them otherwise.
    np.testing.assert_array_equal(losses, [[0.25, np.nan], [np.nan, 0.5]])
    assert texts.tolist() == [["0.2500\n75.00%", "failed"], ["pruned, epoch 3\n0.9000\n75.00%", "0.5000\n75.00%"]]


def test_cell_shows_its_best_trial() -> None:
    tune = tune_config({"search": {"learning_rate": [1e-3], "batch_size": [32], "stem": ["cifar", "imagenet"]}})
    values = {"learning_rate": 1e-3, "batch_size": 32}
    both = [row(1, "complete", 0.2, **values, stem="cifar"), row(2, "complete", 0.3, **values, stem="imagenet")]
    pruned = row(3, "pruned", 0.1, **values, stem="cifar")
    assert plots.cells(tune, [*both, pruned])[0].tolist() == [[0.2]]
    assert plots.cells(tune, [pruned, *both[::-1]])[0].tolist() == [[0.2]]


def test_one_parameter_is_one_row() -> None:
    tune = tune_config({"search": {"stem": ["imagenet", "cifar"]}})
    losses, _ = plots.cells(tune, [row(1, "complete", 0.2, stem="cifar")])
    np.testing.assert_array_equal(losses, [[np.nan, 0.2]])


@pytest.mark.parametrize(
    "search",
    [
        {"learning_rate": [1e-3, 1e-4], "batch_size": [32, 16]},
        {"stem": ["imagenet", "cifar"]},
        {"learning_rate": {"low": 1e-4, "high": 1e-3, "log": True}, "batch_size": [16, 32]},
        {"learning_rate": {"low": 1e-4, "high": 1e-3}},
    ],
)
def test_pictures(tmp_path: Path, search: dict[str, Any]) -> None:
    tune = tune_config({"sampler": "random", "n_trials": 4, "search": search})
    choices = {"learning_rate": 1e-3, "batch_size": 16, "stem": "cifar"}
    values = {key: choices[key] for key in search}
    rows = [row(1, "complete", 0.5, **values), row(2, "pruned", 0.9, **values), row(3, "failed", **values)]
    plots.draw_heatmap(tmp_path / "heatmap.png", tune, rows)
    plots.draw_parallel(tmp_path / "parallel.png", tune, rows)
    for name in ("heatmap.png", "parallel.png"):
        with Image.open(tmp_path / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def test_line_of_a_trial() -> None:
    assert progress.trial_line(ROWS, 4, n_trials=6) == (
        "trial 4 (4/6 done)  learning_rate=0.0001 batch_size=16  validation loss 0.2500  accuracy 0.7500  epoch 2  10 s"
        "  best so far  about 20 s left"
    )
    assert progress.trial_line(ROWS, 3, n_trials=4).endswith("batch_size=16  the loss blew up  10 s")
    assert progress.trial_line(ROWS, 2, n_trials=4).endswith("accuracy 0.7500  epoch 2  pruned  10 s")


def test_time_left_is_shared_by_processes() -> None:
    running = [TrialRow(number, {}, "running") for number in (5, 6)]
    assert progress.time_left(ROWS, n_trials=24) == "about 3 min left"
    assert progress.time_left([*ROWS, *running], n_trials=24) == "about 2 min left"
    assert progress.time_left([], n_trials=24) == ""
