"""training, resumed: a run that is stopped anywhere, by anything, ends with the bits of one that was not."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fauxto import runs
from fauxto.checkpoint import WEIGHTS, load_tensors, read_card
from fauxto.config import preset, to_toml
from fauxto.errors import DiskFullError, UsageError
from fauxto.training import loop, train
from fauxto.training.loop import Loop
from fauxto.training.state import BEST, STATE, DivergedError

pytestmark = pytest.mark.usefixtures("tiny")

# As in conftest.py: the run named reference was trained so, without a stop.
CONFIG = preset("notebook", batch_size=8, max_epochs=2, n_threads=1)
N_STEPS = 7


def weights_of(run: Path) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in load_tensors(run / "detector" / WEIGHTS)[0].items()}


def stop_at(patch, *, epoch: int, step: int) -> None:
    """Write the state after one step, and stop the run in whatever comes next."""
    do_step, validate, n_done = Loop.step, Loop.validate, [0]

    def is_over() -> bool:
        return n_done[0] == epoch * N_STEPS + step

    def counted(self, *batch):
        if is_over():
            raise KeyboardInterrupt
        n_done[0] += 1
        return do_step(self, *batch)

    def never_after_it(self):
        if is_over():
            raise KeyboardInterrupt
        return validate(self)

    patch.setattr(Loop, "step", counted)
    patch.setattr(Loop, "validate", never_after_it)
    patch.setattr(Loop, "_is_due", lambda self, saved_at: is_over())


def assert_same_run(run: Path, uninterrupted: Path) -> None:
    """All weights and each line of the history, but for the time it took, have the same bits."""
    assert weights_of(run) == weights_of(uninterrupted)
    ours, theirs = ((folder / "history.csv").read_text().splitlines() for folder in (run, uninterrupted))
    assert [line.split(",")[:5] for line in ours] == [line.split(",")[:5] for line in theirs]


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (0, N_STEPS), (1, 3), (1, N_STEPS)])
def test_a_run_stopped_after_any_step_goes_on_to_the_same_bits(reference, store, tmp_path, epoch, step):
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, epoch=epoch, step=step)
        with pytest.raises(KeyboardInterrupt):
            train(store, CONFIG, tmp_path / "run", shown=False)
    _, about = load_tensors(tmp_path / "run" / STATE)
    assert (about["epoch"], about["step"]) == (epoch, step)
    train(store, CONFIG, tmp_path / "run", resume=True, shown=False)
    assert_same_run(tmp_path / "run", reference)


# Everything with a state of its own: momentum, averaged weights, a step size that depends on the step.
BEST_LIKE = dataclasses.replace(
    preset("best", batch_size=8, max_epochs=2, patience=2, n_threads=1, validation_share=0.2, precision="32-true"),
    model="resnet18", ema_decay=0.5,
)  # fmt: skip


@pytest.mark.parametrize(("epoch", "step"), [(0, 3), (1, 2)])
def test_a_run_of_the_best_preset_goes_on_to_the_same_bits(store, tmp_path, epoch, step):
    train(store, BEST_LIKE, tmp_path / "straight", shown=False)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, epoch=epoch, step=step)
        with pytest.raises(KeyboardInterrupt):
            train(store, BEST_LIKE, tmp_path / "run", shown=False)
    train(store, BEST_LIKE, tmp_path / "run", resume=True, shown=False)
    assert_same_run(tmp_path / "run", tmp_path / "straight")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_run_killed_at_a_random_moment_goes_on_to_the_same_bits(reference, store, tmp_path):
    config, out = dataclasses.replace(CONFIG, checkpoint_every_s=0), tmp_path / "run"
    (tmp_path / "config.toml").write_text(to_toml(config))
    child_file = Path(__file__).with_name("conftest.py")
    child = subprocess.Popen([sys.executable, child_file, store.folder, tmp_path / "config.toml", out])
    try:
        wait_for(out / STATE, child)
        time.sleep(random.uniform(0, 1))  # the child sleeps more than twice as long before it ends
    finally:
        os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert not (out / "detector").exists()
    train(store, config, out, resume=True, shown=False)
    assert_same_run(out, reference)
    assert not list(out.glob(".*.part")), "what was half written is gone"


def wait_for(path: Path, child: subprocess.Popen, *, timeout_s: float = 300) -> None:
    stop = time.monotonic() + timeout_s
    while not path.exists():
        assert child.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < stop, f"no {path.name} after {timeout_s} s"
        time.sleep(0.01)


def test_a_finished_run_resumed_only_writes_its_detector_again(reference, store, tmp_path, monkeypatch):
    run = tmp_path / "reference"
    shutil.copytree(reference, run)
    shutil.rmtree(run / "detector")
    monkeypatch.setattr(Loop, "train_epoch", lambda self, position: pytest.fail("nothing is left to train"))
    assert train(store, CONFIG, run, resume=True, shown=False) == run / "detector"
    assert weights_of(run) == weights_of(reference)
    ours, theirs = (read_card(folder / "detector") for folder in (run, reference))
    for part in ("name", "model", "trained_on", "calibration", "metrics", "scope", "threshold"):
        assert ours[part] == theirs[part], part


def test_another_configuration_or_a_taken_folder_is_refused_before_anything_is_touched(reference, store):
    before = {path: path.stat().st_mtime_ns for path in reference.rglob("*")}
    with pytest.raises(UsageError, match=r"learning_rate was 0\.0005 and is now 0\.1"):
        train(store, dataclasses.replace(CONFIG, learning_rate=0.1), reference, resume=True, shown=False)
    with pytest.raises(UsageError, match="already exists and is not empty"):
        train(store, CONFIG, reference, shown=False)
    assert {path: path.stat().st_mtime_ns for path in reference.rglob("*")} == before


# ---------------------------------------------------------------- stopped by what goes wrong


def test_a_nan_loss_stops_and_the_last_good_checkpoint_goes_on(reference, store, tmp_path):
    cross_entropy, n_calls, run = loop.binary_cross_entropy_with_logits, [0], tmp_path / "run"

    def poisoned(logits, labels):
        n_calls[0] += 1
        return cross_entropy(logits, labels) * (math.nan if n_calls[0] > N_STEPS + 3 else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "binary_cross_entropy_with_logits", poisoned)
        with pytest.raises(DivergedError, match=r"epoch 2, step 7\): lower learning_rate; the last good checkpoint stays"):
            train(store, CONFIG, run, shown=False)
    tensors, about = load_tensors(run / STATE)
    assert (about["epoch"], about["step"]) == (1, 0)
    assert all(np.isfinite(value).all() for value in (*tensors.values(), *load_tensors(run / BEST)[0].values()))
    assert not (run / "detector").exists()
    train(store, CONFIG, run, resume=True, shown=False)
    assert_same_run(run, reference)


def test_a_disk_that_fills_under_a_checkpoint_is_named_and_the_run_goes_on_later(reference, store, tmp_path):
    replace, n_states, run = os.replace, [0], tmp_path / "run"

    def full(part, path):
        n_states[0] += Path(path).name == STATE
        if n_states[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(part, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.os, "replace", full)
        with pytest.raises(DiskFullError, match=r"state\.safetensors was not written; free some"):
            train(store, CONFIG, run, shown=False)
    assert load_tensors(run / STATE)[1]["epoch"] == 1
    assert not list(run.glob(".*.part"))
    train(store, CONFIG, run, resume=True, shown=False)
    assert_same_run(run, reference)
