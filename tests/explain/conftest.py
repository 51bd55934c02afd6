"""Networks small enough to know their maps by hand, and a trained-like one in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fauxto.checkpoint import MODEL, WEIGHTS, save_tensors, write_card
from fauxto.detector import Detector
from fauxto.explain.cam import Explainer
from fauxto.models import factory
from fauxto.preprocess import PreprocessSpec

PLAIN = PreprocessSpec(size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class RedMinusGreen(nn.Module):
    """Logit = mean red - mean green, through one layer whose two maps are the red and the green plane."""

    def __init__(self) -> None:
        super().__init__()
        self.planes = nn.Conv2d(3, 2, 1, bias=False)
        self.small = nn.AvgPool2d(4)
        with torch.no_grad():
            self.planes.weight.copy_(torch.eye(3)[:2, :, None, None])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.small(self.planes(images))
        return (maps[:, 0] - maps[:, 1]).mean(dim=(1, 2))


def card(**changes) -> dict:
    values = {
        "name": "tiny",
        "model": {"name": "resnet18", "stem": "imagenet"},
        "preprocessing": PreprocessSpec(size=32).to_dict(),
        "calibration": {"temperature": 2.0},
        "threshold": 0.5,
        "trained_on": {},
        "scope": {"min_side": 1, "max_side": 64},
    }
    return {**values, **changes}


def by_hand(threshold: float = 0.5) -> Explainer:
    about = card(preprocessing=PLAIN.to_dict(), threshold=threshold)
    return Explainer(Detector(Path("nowhere"), about), RedMinusGreen(), ("small", "planes"))


def red_left_green_right() -> np.ndarray:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :3, 0] = 255
    image[:, 3:6, 1] = 51
    return image


def random_images(n_images: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_images, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector folder with random weights; nothing here runs its ONNX file."""
    where = tmp_path_factory.mktemp("detector")
    torch.manual_seed(0)
    network = factory.build("resnet18", stem="imagenet").eval()
    # Other than the fresh ones, such batch statistics leave both signs in every map.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
    save_tensors(where / WEIGHTS, {name: value.numpy() for name, value in network.state_dict().items()})
    (where / MODEL).write_bytes(b"not used")
    write_card(where, card())
    return where


@pytest.fixture(scope="module")
def explainer(folder: Path) -> Explainer:
    return Explainer.load(folder)
