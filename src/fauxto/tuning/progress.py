"""What a study shows while it runs: a bar with ETA on a terminal, and one line per trial everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fauxto.tuning.study import TrialRow


class StudyBar:
    """Progress of one process's view of a study, on stderr."""

    def __init__(self, n_trials: int, *, shown: bool) -> None:
        self.n_trials, self.shown = n_trials, shown
        self.console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=self.console, disable=not (shown and sys.stderr.isatty()))
        self._task = self._progress.add_task("", total=n_trials)
        self._title = self._left = ""

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the bar for as long as the study runs."""
        with self._progress:
            yield

    def begin(self, rows: list[TrialRow]) -> None:
        """Start where an earlier call or another process has brought the study."""
        self._left = time_left(rows, n_trials=self.n_trials)
        self._progress.update(self._task, completed=n_ended(rows))

    def trial(self, slot: int, values: dict[str, Any]) -> None:
        """Say which trial begins."""
        self._title = f"trial {slot}: {shown_values(values)}"
        self._describe(self._title)

    def epoch(self, epoch: int, *, max_epochs: int) -> None:
        """Say how far the trial is."""
        self._describe(f"{self._title}, epoch {epoch}/{max_epochs}")

    def waiting(self, rows: list[TrialRow]) -> None:
        """Say that other processes have the last trials."""
        n_running = sum(row.state == "running" for row in rows)
        self._progress.update(self._task, completed=n_ended(rows))
        self._describe(f"waiting for {n_running} trial(s) of other processes")

    def ended(self, rows: list[TrialRow], slot: int) -> None:
        """Print the line of a trial that has ended."""
        self.begin(rows)
        self.say(trial_line(rows, slot, n_trials=self.n_trials))

    def say(self, line: str) -> None:
        """Print one line beside the bar."""
        if self.shown:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _describe(self, text: str) -> None:
        self._progress.update(self._task, description=f"{text}  {self._left}")


def trial_line(rows: list[TrialRow], slot: int, *, n_trials: int) -> str:
    """Return one ended trial as a line that closes with the time left."""
    row = next(row for row in rows if row.trial == slot)
    losses = [r.validation_loss for r in rows if r.state == "complete" and r.validation_loss is not None]
    is_best = row.state == "complete" and row.validation_loss == min(losses)
    result = row.error or row.state
    if row.validation_loss is not None:
        result = f"validation loss {row.validation_loss:.4f}  accuracy {row.validation_accuracy:.4f}  epoch {row.best_epoch}"
        result += "" if row.state == "complete" else f"  {row.error or row.state}"
    return (
        f"trial {slot} ({n_ended(rows)}/{n_trials} done)  {shown_values(row.values)}  {result}  {row.seconds:.0f} s"
        f"{'  best so far' if is_best else ''}  {time_left(rows, n_trials=n_trials)}"
    ).rstrip()


def time_left(rows: list[TrialRow], *, n_trials: int) -> str:
    """Return when the study may end: the mean time of the ended trials, spread over the processes at work.

    Example:
        >>> time_left([TrialRow(1, {}, "complete", seconds=60.0)], n_trials=4)
        'about 3 min left'
    """
    seconds = [row.seconds for row in rows if row.seconds is not None]
    n_left = n_trials - n_ended(rows)
    if not seconds or not n_left:
        return ""
    n_processes = max(1, sum(row.state == "running" for row in rows))
    left_s = sum(seconds) / len(seconds) * n_left / n_processes
    return f"about {left_s / 60:.0f} min left" if left_s >= 90 else f"about {left_s:.0f} s left"


def n_ended(rows: list[TrialRow]) -> int:
    """Return how many trials have come to an end."""
    return sum(row.state != "running" for row in rows)


def shown_values(values: dict[str, Any]) -> str:
    """Return "batch_size=16 learning_rate=0.0005"."""
    return " ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items())
