"""training.logs: what a run says of itself can be read back."""

from __future__ import annotations

import csv
import errno
import io
import itertools
from types import SimpleNamespace

import pytest
from PIL import Image
from rich.console import Console

from fauxto.errors import DiskFullError
from fauxto.training.logs import EpochBar, draw_curves, epoch_line, log_tensorboard, write_history


def row(epoch: int, **changes: float) -> dict[str, float]:
    values = {
        "epoch": epoch, "train_loss": 1 / epoch, "train_accuracy": 0.5, "validation_loss": 0.25, "validation_accuracy": 0.75,
        "seconds": 2.0, "images_per_s": 1000.0,
    }  # fmt: skip
    return values | changes


def test_epoch_line_by_hand():
    line = epoch_line(row(2, images_per_s=12345.6), max_epochs=30, is_best=True)
    assert line == (
        "epoch 2/30  loss 0.5000  accuracy 0.5000  validation loss 0.2500  accuracy 0.7500  12,346 images/s  best so far"
    )


def test_history_is_written_anew_without_gap_or_double_line(tmp_path):
    for n in (1, 2, 2):
        write_history(tmp_path, [row(epoch) for epoch in range(1, n + 1)])
    with (tmp_path / "history.csv").open() as stream:
        found = list(csv.DictReader(stream))
    assert [line["epoch"] for line in found] == ["1", "2"]
    assert float(found[1]["train_loss"]) == 0.5
    assert list(found[0]) == list(row(1))


def test_tensorboard_can_be_read_and_a_repeated_epoch_counts_once(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer import event_file_writer

    # Files are read by name: the second they began in, then a number without leading zeros. No two begin in one second here.
    monkeypatch.setattr(event_file_writer, "time", SimpleNamespace(time=itertools.count(1000).__next__))
    log_tensorboard(tmp_path, row(1))
    log_tensorboard(tmp_path, row(2, train_loss=9.0))  # a killed run does this epoch again
    log_tensorboard(tmp_path, row(2))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == set(row(1)) - {"epoch"}
    assert [(event.step, event.value) for event in events.Scalars("train_loss")] == [(1, 1.0), (2, 0.5)]


def test_a_full_disk_under_tensorboard_is_named(tmp_path, monkeypatch):
    import torch.utils.tensorboard

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.utils.tensorboard, "SummaryWriter", full)
    with pytest.raises(DiskFullError, match="tensorboard"):
        log_tensorboard(tmp_path, row(1))


def test_curves_are_a_picture(tmp_path):
    path = draw_curves(tmp_path, [row(epoch) for epoch in (1, 2, 3)], best_epoch=2)
    assert path == tmp_path / "curves.png"
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", (1200, 480))
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 10, "an empty page has one colour"


def bar_on(text: io.StringIO, *, shown: bool, is_terminal: bool) -> EpochBar:
    bar = EpochBar(shown=shown)
    bar.console = Console(file=text, force_terminal=is_terminal, width=120)
    return bar


def test_on_a_pipe_there_is_no_bar_but_the_lines():
    text = io.StringIO()
    bar = bar_on(text, shown=True, is_terminal=False)
    with bar.epoch("epoch 1/1", total=10, first=0):
        bar.update(5, n_images_per_step=16, loss=0.5)
    assert text.getvalue() == ""
    bar.say("detector written to runs/[red]/x and a very long name " + "x" * 200)
    assert text.getvalue() == "detector written to runs/[red]/x and a very long name " + "x" * 200 + "\n"


def test_on_a_terminal_the_bar_shows_step_rate_and_loss(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = bar_on(text, shown=True, is_terminal=True)
    with bar.epoch("epoch 1/3", total=10, first=0):
        bar.update(5, n_images_per_step=16, loss=0.125)
    assert "epoch 1/3" in text.getvalue()
    assert "5/10" in text.getvalue()
    assert "images/s  loss 0.1250" in text.getvalue()


def test_a_silent_run_says_nothing(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = bar_on(text, shown=False, is_terminal=True)
    with bar.epoch("epoch 1/3", total=10, first=0):
        bar.update(5, n_images_per_step=16, loss=0.125)
    bar.say("a line")
    assert text.getvalue() == ""


def test_update_before_the_first_epoch_is_no_error():
    EpochBar(shown=False).update(1, n_images_per_step=1, loss=0.0)
