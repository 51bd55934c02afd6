"""What a study leaves: the table, the heat map, the parallel-coordinate plot and the winning configuration."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from fauxto import config as configs
from fauxto.config import TrainConfig
from fauxto.errors import TrainingError
from fauxto.runs import write_text
from fauxto.tuning.plots import draw_heatmap, draw_parallel
from fauxto.tuning.progress import shown_values
from fauxto.tuning.space import TuneConfig
from fauxto.tuning.study import TrialRow

# What a study sets to be short; the winner is trained at full length.
SHORTENING = ("subset", "limit", "max_epochs", "patience")
TRIALS = "trials.csv"
WINNER = "winner.toml"


def write_results(folder: Path, tune: TuneConfig, rows: list[TrialRow]) -> Path:
    """Write trials.csv, heatmap.png, parallel.png and winner.toml.

    Returns:
        The path of winner.toml.

    Raises:
        TrainingError: No trial ended well; the table is written all the same.
    """
    write_trials(folder, tune, rows)
    best = winner_of(rows)
    draw_heatmap(folder / "heatmap.png", tune, rows)
    draw_parallel(folder / "parallel.png", tune, rows)
    text = _about(best, rows, tune) + configs.to_toml(full_length(tune.trial_config(best.values), tune))
    write_text(folder / WINNER, text)
    return folder / WINNER


def full_length(config: TrainConfig, tune: TuneConfig) -> TrainConfig:
    """Return a trial's configuration without what only kept the study short: all data, and the preset's patience and epochs."""
    usual = configs.preset(tune.preset)
    return dataclasses.replace(config, **{key: getattr(usual, key) for key in SHORTENING if key not in tune.search})


def write_trials(folder: Path, tune: TuneConfig, rows: list[TrialRow]) -> None:
    """Write one line per trial to trials.csv."""
    others = [f.name for f in dataclasses.fields(TrialRow) if f.name not in ("trial", "values")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *tune.search, *others])
    for row in rows:
        writer.writerow([row.trial, *row.values.values(), *(getattr(row, name) for name in others)])
    write_text(folder / TRIALS, text.getvalue())


def winner_of(rows: list[TrialRow]) -> TrialRow:
    """Return the complete trial with the lowest validation loss, the first of equals.

    Raises:
        TrainingError: No trial is complete.
    """
    complete = [row for row in rows if row.state == "complete" and row.validation_loss is not None]
    if not complete:
        reason = next((row.error for row in rows if row.error), "none was run to its end")
        raise TrainingError(f"none of the {len(rows)} trials ended well ({reason}): search lower learning rates, or prune less")
    return min(complete, key=lambda row: row.validation_loss or 0.0)


def _about(best: TrialRow, rows: list[TrialRow], tune: TuneConfig) -> str:
    """Say where the configuration comes from, and what in it was only meant to keep the study short."""
    usual = configs.preset(tune.preset)
    changed = {key: getattr(tune.base, key) for key in SHORTENING if key not in tune.search}
    changed = {key: value for key, value in changed.items() if value != getattr(usual, key)}
    lines = [
        f"trial {best.trial}, the best of {len(rows)}: {shown_values(best.values)}",
        f"validation loss {best.validation_loss:.6f}, accuracy {best.validation_accuracy:.6f}, at epoch {best.best_epoch}",
        "train with it: fauxto train --config winner.toml --data DIR --out RUN",
    ]
    if changed:
        lines.append(f"the study was shorter: {shown_values(changed)}")
    return "".join(f"# {line}\n" for line in lines)
