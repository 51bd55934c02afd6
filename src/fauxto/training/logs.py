"""What a run says of itself: progress bars, CSV, TensorBoard, and curves as a picture."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fauxto.errors import missing_extra
from fauxto.runs import disk_errors_named, write_text, write_whole

History = list[dict[str, float]]


class EpochBar:
    """A progress bar with ETA, images/s and the running loss; on a pipe it stays silent and one line an epoch is printed."""

    def __init__(self, *, shown: bool) -> None:
        self.console = Console(stderr=True)
        self.shown = shown
        self._progress: Progress | None = None
        self._started = time.monotonic()
        self._first = 0

    @contextmanager
    def epoch(self, title: str, *, total: int, first: int) -> Iterator[None]:
        """Show one epoch's bar, which begins at step ``first``."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        live = self.shown and sys.stderr.isatty()
        self._progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=self.console, disable=not live)
        self._started, self._first = time.monotonic(), first
        with self._progress:
            self._progress.add_task(title, total=total, completed=first, note="")
            yield

    def update(self, step: int, *, n_images_per_step: int, loss: float) -> None:
        """Move the bar to ``step``."""
        if self._progress is not None:
            rate = (step - self._first) * n_images_per_step / max(time.monotonic() - self._started, 1e-9)
            task = self._progress.tasks[0].id
            self._progress.update(task, completed=step, note=f"{rate:,.0f} images/s  loss {loss:.4f}")

    def move(self, n_done: int) -> None:
        """Move the bar without a word."""
        if self._progress is not None:
            self._progress.update(self._progress.tasks[0].id, completed=n_done)

    def say(self, line: str) -> None:
        """Print one line beside the bar."""
        if self.shown:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def epoch_line(row: dict[str, float], *, max_epochs: int, is_best: bool) -> str:
    """Return one finished epoch as a line.

    Example:
        >>> row = dict.fromkeys(("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"), 0.5)
        >>> epoch_line(row | {"epoch": 2, "images_per_s": 1234.5}, max_epochs=30, is_best=False)
        'epoch 2/30  loss 0.5000  accuracy 0.5000  validation loss 0.5000  accuracy 0.5000  1,234 images/s'
    """
    return (
        f"epoch {row['epoch']:.0f}/{max_epochs}  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.4f}  "
        f"validation loss {row['validation_loss']:.4f}  accuracy {row['validation_accuracy']:.4f}  "
        f"{row['images_per_s']:,.0f} images/s{'  best so far' if is_best else ''}"
    )


def write_history(folder: Path, history: History) -> None:
    """Write history.csv from the first epoch on, so that a resumed run has no gap and no double line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(folder / "history.csv", text.getvalue())


def log_tensorboard(folder: Path, row: dict[str, float]) -> None:
    """Append one epoch to the TensorBoard log; steps after it, left by a killed run, are purged.

    Raises:
        DiskFullError: There was no room.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing_extra("train", "tensorboard") from error
    epoch, log = int(row["epoch"]), folder / "tensorboard"
    with disk_errors_named(log), SummaryWriter(str(log), purge_step=epoch) as writer:
        for name, value in row.items():
            if name != "epoch":
                writer.add_scalar(name, value, epoch)


def draw_curves(folder: Path, history: History, *, best_epoch: int) -> Path:
    """Draw loss and accuracy over the epochs to curves.png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = [row["epoch"] for row in history]
        for part in ("train", "validation"):
            axes.plot(epochs, [row[f"{part}_{quantity}"] for row in history], marker="o", markersize=3, label=part)
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best: epoch {best_epoch}")
        axes.set(xlabel="epoch", ylabel=quantity, title=quantity)
        axes.legend()
    path = folder / "curves.png"
    write_whole(path, lambda part: figure.savefig(part, dpi=120, format="png"))
    return path
