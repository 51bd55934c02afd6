"""What a forge shows: a bar of members and one of the steps of a member on a terminal, one line per member anywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ForgeBar:
    """Progress on stderr."""

    def __init__(self, n_members: int, *, shown: bool) -> None:
        self.console, self.shown, self.n_members = Console(stderr=True), shown, n_members
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=self.console, disable=not (shown and sys.stderr.isatty()))
        self._members = self._progress.add_task("members", total=n_members)
        self._steps = self._progress.add_task(
            "", total=None, visible=False
        )  # of members made in other processes nothing is heard

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the bars."""
        with self._progress:
            yield

    def begin(self, name: str) -> None:
        """Say which member is made."""
        self._progress.reset(self._steps, description=name, visible=True)

    def step(self, done: int, total: int) -> None:
        """Say how many steps the member has made."""
        self._progress.update(self._steps, completed=done, total=total)

    def ended(self, number: int, line: str) -> None:
        """Print the line of a finished member."""
        self._progress.update(self._members, completed=number)
        self.say(f"{number}/{self.n_members} {line}")

    def say(self, line: str) -> None:
        """Print one line beside the bars."""
        if self.shown:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)
