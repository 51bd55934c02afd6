"""A network that trains in milliseconds, for tests of what surrounds a network; also what their subprocesses run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from fauxto import runs
from fauxto.config import TrainConfig, from_mapping, preset, read_toml
from fauxto.data.store import Store, read_store
from fauxto.models import factory
from fauxto.preprocess import PreprocessSpec
from fauxto.training import finish, logs, train
from fauxto.training.loop import Loop

# 51 training images make 6 steps of 8 and one of 3; 13 validate.
N_STEPS = 7
CONFIG = preset("notebook", batch_size=8, max_epochs=2, n_threads=1)


class Tiny(nn.Module):
    """A convolution, batch normalisation and one logit."""

    def __init__(self, *, stem: str = "imagenet") -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.Linear(4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.norm(self.conv(images))).mean((2, 3))).squeeze(1)


def blueprint() -> factory.Blueprint:
    return factory.Blueprint(build=Tiny, options=("stem",), preprocess=PreprocessSpec(size=32), map_layers=("conv",))


def no_export(network: nn.Module, spec: PreprocessSpec, path: Path) -> float:
    path.write_bytes(b"stand-in")
    return 0.0


def no_curves(folder: Path, history: logs.History, *, best_epoch: int) -> Path:
    return folder / "curves.png"


@pytest.fixture
def tiny(monkeypatch):
    """Train the tiny network; leave out the pictures and the ONNX exporter, which have tests of their own."""
    monkeypatch.setitem(factory.MODELS, "resnet18", blueprint())
    monkeypatch.setattr(finish, "export_onnx", no_export)
    monkeypatch.setattr(logs, "draw_curves", no_curves)


@pytest.fixture(scope="session")
def reference(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network's run that nothing has interrupted; treat it as read-only."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(factory.MODELS, "resnet18", blueprint())
        patch.setattr(finish, "export_onnx", no_export)
        patch.setattr(logs, "draw_curves", no_curves)
        train(store, CONFIG, folder, shown=False)
    return folder


def slow_child(store: str, config: str, out: str) -> None:
    """Train so slowly, half of the time inside of a write, that a test can kill this process at any moment of it."""
    factory.MODELS["resnet18"] = blueprint()
    finish.export_onnx, logs.draw_curves = no_export, no_curves  # type: ignore[assignment]
    do_step, flush = Loop.step, runs._flush

    def step(self: Loop, *batch: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return do_step(self, *batch)

    def slow_flush(path: Path) -> None:
        time.sleep(0.1)
        flush(path)

    Loop.step, runs._flush = step, slow_flush  # type: ignore[method-assign]
    train(read_store(Path(store)), from_mapping(TrainConfig, read_toml(Path(config))), Path(out), shown=False)


if __name__ == "__main__":
    slow_child(*sys.argv[1:])
