"""training: same seed, same weights; validation picks the epoch; what goes wrong is named."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from pathlib import Path

import pytest
import torch

from fauxto.checkpoint import MODEL, WEIGHTS, load_tensors, read_card, verified
from fauxto.config import preset
from fauxto.data import loaders
from fauxto.data.splits import make_split
from fauxto.errors import DataError, DiskFullError, TrainingError
from fauxto.models import factory
from fauxto.training import finish, fit, train
from fauxto.training.loop import Loop, _is_done
from fauxto.training.state import BEST, STATE, DivergedError, Position

pytestmark = pytest.mark.usefixtures("tiny")

# As in conftest.py: the runs named reference (tiny network) and run_folder (ResNet-18) were trained so, without a stop.
CONFIG = preset("notebook", batch_size=8, max_epochs=2, n_threads=1)
RESNET18 = factory.MODELS["resnet18"]


def weights_of(run: Path) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in load_tensors(run / "detector" / WEIGHTS)[0].items()}


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
    # 13 validation images are too few to promise anything: neither operating points nor an unsure range nor statistics.
    assert card["scope"] == {"min_side": 16, "max_side": 64, "stable_under": ["jpeg-90"]}
    assert not {"operating_points", "unsure"} & set(card)
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
    as_squares = loaders.squares

    def noted(store, positions, spec, **rng):
        seen.update(int(at) for at in positions)
        return as_squares(store, positions, spec, **rng)

    monkeypatch.setattr(loaders, "squares", noted)
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


# ---------------------------------------------------------------- what goes wrong


def test_a_validation_loss_that_is_no_number_stops_too(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Loop, "validate", lambda self: (math.nan, 0.5))
    with pytest.raises(DivergedError, match="not a finite number"):
        fit(store, dataclasses.replace(CONFIG, limit=16), tmp_path / "run")
    assert not (tmp_path / "run" / "history.csv").exists()


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
