"""training: same seed, same weights; a run that is stopped anywhere, by anything, ends with the bits of one that was not."""

from __future__ import annotations

import dataclasses
import errno
import json
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
import torch

from fauxto import runs
from fauxto.checkpoint import MODEL, WEIGHTS, load_tensors, read_card, verified
from fauxto.config import preset, to_toml
from fauxto.data.splits import make_split
from fauxto.errors import DataError, DiskFullError, TrainingError, UsageError
from fauxto.models import factory
from fauxto.training import finish, fit, loop, train
from fauxto.training.loop import Loop, _is_done
from fauxto.training.state import BEST, STATE, DivergedError, Position

pytestmark = pytest.mark.usefixtures("tiny")

# As in conftest.py: the runs named reference (tiny network) and run_folder (ResNet-18) were trained so, without a stop.
CONFIG = preset("notebook", batch_size=8, max_epochs=2, n_threads=1)
N_STEPS = 7
RESNET18 = factory.MODELS["resnet18"]


def weights_of(run: Path) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in load_tensors(run / "detector" / WEIGHTS)[0].items()}


def stop_at(patch, *, epoch: int, step: int) -> None:
    """Write the state after one step, and stop the run in whatever comes next."""
    do_step, validate, n_done = Loop.step, Loop.validate, [0]

    def is_over() -> bool:
        return n_done[0] == epoch * N_STEPS + step

    def counted(self, images, labels):
        if is_over():
            raise KeyboardInterrupt
        n_done[0] += 1
        return do_step(self, images, labels)

    def never_after_it(self):
        if is_over():
            raise KeyboardInterrupt
        return validate(self)

    patch.setattr(Loop, "step", counted)
    patch.setattr(Loop, "validate", never_after_it)
    patch.setattr(Loop, "_is_due", lambda self, saved_at: is_over())


# ---------------------------------------------------------------- a run


def test_what_a_run_leaves_behind(run_folder, store):
    split = make_split(store, CONFIG)
    assert sorted(os.listdir(run_folder)) == [
        BEST, "config.toml", "curves.png", "detector", "history.csv", "run.json", STATE, "tensorboard",
    ]  # fmt: skip
    assert len((run_folder / "history.csv").read_text().splitlines()) == 3
    card = read_card(run_folder / "detector")
    assert [verified(run_folder / "detector", card, name).name for name in (MODEL, WEIGHTS)] == [MODEL, WEIGHTS]
    assert card["name"] == "small"
    assert card["trained_on"]["n_train"] == len(split.train)
    assert card["calibration"]["fitted_on"] == f"{len(split.validation)} validation images"
    assert card["scope"] == {"min_side": 16, "max_side": 64}
    assert card["threshold"] == 0.5
    assert card["environment"]["device"] == "cpu"


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(reference, store, tmp_path):
    train(store, CONFIG, tmp_path / "again", shown=False, name="again", note="a note")
    assert weights_of(tmp_path / "again") == weights_of(reference)
    card = read_card(tmp_path / "again" / "detector")
    assert (card["name"], card["trained_on"]["note"]) == ("again", "a note")
    assert card["calibration"] == read_card(reference / "detector")["calibration"]
    train(store, dataclasses.replace(CONFIG, seed=1), tmp_path / "other", shown=False)
    assert weights_of(tmp_path / "other") != weights_of(reference)


def without_tiny(monkeypatch) -> None:
    monkeypatch.setitem(factory.MODELS, "resnet18", RESNET18)


def test_resnet18_gives_the_same_bits_too(run_folder, store, tmp_path, monkeypatch):
    without_tiny(monkeypatch)
    found = fit(store, dataclasses.replace(CONFIG, max_epochs=1), tmp_path / "fit")
    first_epoch = (run_folder / "history.csv").read_text().splitlines()[1].split(",")
    assert [str(found[0][key]) for key in ("train_loss", "validation_loss")] == [first_epoch[1], first_epoch[3]]


@pytest.mark.parametrize(("precision", "stem"), [("bf16-mixed", "imagenet"), ("32-true", "cifar")])
def test_the_other_precision_and_the_other_stem_train_too(store, tmp_path, monkeypatch, precision, stem):
    without_tiny(monkeypatch)
    config = dataclasses.replace(CONFIG, precision=precision, stem=stem, max_epochs=1, limit=16)
    history = fit(store, config, tmp_path / "run")
    assert all(math.isfinite(value) for value in history[0].values())


def test_mixed_precision_keeps_float32_weights(store, tmp_path, reference):
    train(store, dataclasses.replace(CONFIG, precision="bf16-mixed"), tmp_path / "run", shown=False)
    tensors, _ = load_tensors(tmp_path / "run" / "detector" / WEIGHTS)
    assert {value.dtype.name for value in tensors.values()} == {"float32", "int64"}
    assert weights_of(tmp_path / "run") != weights_of(reference)


def test_the_test_part_is_never_looked_at(store, tmp_path, monkeypatch):
    seen = set()
    image_input = loop.network_input

    def noted(store, positions, spec):
        seen.update(int(at) for at in positions)
        return image_input(store, positions, spec)

    monkeypatch.setattr(loop, "network_input", noted)
    monkeypatch.setattr("fauxto.data.loaders.network_input", noted)
    config = dataclasses.replace(CONFIG, max_epochs=1, limit=24)
    train(store, config, tmp_path / "run", shown=False)
    split = make_split(store, config)
    assert seen == {*split.train.tolist(), *split.validation.tolist()}
    assert not seen & set(split.test.tolist())


# ---------------------------------------------------------------- early stopping


@pytest.mark.parametrize(
    ("epoch", "best_epoch", "done"),
    [(1, 1, False), (3, 1, False), (4, 1, True), (3, 0, True), (9, 7, False), (30, 30, True), (29, 28, False)],
)
def test_patience_by_hand(epoch, best_epoch, done):
    assert _is_done(Position(epoch=epoch, best_epoch=best_epoch), preset("notebook")) is done


def test_early_stopping_restores_the_best_epochs_weights(store, tmp_path, monkeypatch):
    losses = [0.5, 0.4, 0.4, 0.7]  # epoch 3 only equals epoch 2: not better
    monkeypatch.setattr(Loop, "validate", lambda self: (losses[len(seen)], 0.5))
    seen = []

    def kept(self, position, row, is_best):
        seen.append({name: value.numpy().tobytes() for name, value in self.network.state_dict().items()})
        keep(self, position, row, is_best)

    keep = Loop._keep
    monkeypatch.setattr(Loop, "_keep", kept)
    train(store, dataclasses.replace(CONFIG, max_epochs=30, patience=2, limit=16), tmp_path / "run", shown=False)
    assert len(seen) == 4
    assert read_card(tmp_path / "run" / "detector")["trained_on"]["best_epoch"] == 2
    assert weights_of(tmp_path / "run") == seen[1]
    assert seen[1] != seen[3]


# ---------------------------------------------------------------- stopped and resumed


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


# ---------------------------------------------------------------- what goes wrong


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


def test_a_validation_loss_that_is_no_number_stops_too(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Loop, "validate", lambda self: (math.nan, 0.5))
    with pytest.raises(DivergedError, match="not a finite number"):
        fit(store, dataclasses.replace(CONFIG, limit=16), tmp_path / "run")
    assert not (tmp_path / "run" / "history.csv").exists()


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


def test_a_disk_that_fills_under_the_detector_leaves_no_card(reference, store, tmp_path, monkeypatch):
    run = tmp_path / "reference"
    shutil.copytree(reference, run)
    shutil.rmtree(run / "detector")

    def full(network, spec, path):
        raise DiskFullError(f"the disk is full: {path}")

    monkeypatch.setattr(finish, "export_onnx", full)
    with pytest.raises(DiskFullError):
        train(store, CONFIG, run, resume=True, shown=False)
    assert os.listdir(run / "detector") == [WEIGHTS]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_named(store, tmp_path, device):
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("the device is there")
    with pytest.raises(TrainingError, match=rf"device '{device}' x 1 cannot be used .*: try --device cpu"):
        train(store, dataclasses.replace(CONFIG, device=device), tmp_path / "run", shown=False)
    assert not (tmp_path / "run").exists()


def test_too_few_images_for_one_step_are_refused(store, tmp_path, monkeypatch):
    split = make_split(store, CONFIG)
    monkeypatch.setattr("fauxto.training.make_split", lambda store, config: dataclasses.replace(split, train=split.train[:1]))
    with pytest.raises(DataError, match="1 training images are too few"):
        train(store, CONFIG, tmp_path / "run", shown=False)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- fit


def test_fit_keeps_the_record_and_no_weights(store, tmp_path):
    seen = []
    config = dataclasses.replace(CONFIG, limit=16, checkpoint_every_s=0)
    history = fit(store, config, tmp_path / "trial", on_epoch=lambda position: seen.append(position.epoch))
    assert seen == [1, 2]
    assert [row["epoch"] for row in history] == [1, 2]
    assert sorted(os.listdir(tmp_path / "trial")) == ["config.toml", "history.csv", "run.json"]
    assert json.loads((tmp_path / "trial" / "run.json").read_text())["device"] == "cpu"


def test_what_on_epoch_raises_ends_the_run(store, tmp_path):
    class Enough(Exception):
        pass

    def enough(position):
        raise Enough

    with pytest.raises(Enough):
        fit(store, dataclasses.replace(CONFIG, limit=16), tmp_path / "trial", on_epoch=enough)
    assert len((tmp_path / "trial" / "history.csv").read_text().splitlines()) == 2
