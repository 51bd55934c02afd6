"""What each part of EvidenceNet and its recipe buys: ``python benchmarks/design_search.py --data cifake.tar.xz --out FOLDER``.

Every variant differs from the preset ``best`` as ``VARIANTS`` says and is trained for a few epochs on the same split; the
validation part judges, the test part is not touched. Finished variants are skipped. ``--subset`` takes a share of the training
images, for a search in an hour. Writes results/design_search.csv and .json.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import record
import torch
from rich.progress import track
from torch import nn

from fauxto.config import preset
from fauxto.data.splits import make_split
from fauxto.data.store import Store, load_data
from fauxto.metrics import wilson
from fauxto.models import factory
from fauxto.models.nets import EvidenceNet
from fauxto.training import fit


class CoarseStem(EvidenceNet):
    """Sees nothing at full resolution: one 4x4 convolution of stride 2, and a second residual block at half resolution."""

    def __init__(self) -> None:
        super().__init__(blocks=(2, 2))
        self.stem = nn.Sequential(nn.Conv2d(3, 64, kernel_size=4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.stage1 = self.stage1[1:]


class HighPass(EvidenceNet):
    """Is shown each pixel's difference from its neighbourhood's mean beside the colours."""

    def __init__(self) -> None:
        super().__init__()
        first = self.stem[0][0]
        self.stem[0][0] = nn.Conv2d(6, first.out_channels, kernel_size=3, padding=1, bias=False)

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        around = nn.functional.avg_pool2d(nn.functional.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
        return super().evidence(torch.cat([images, 4 * (images - around)], dim=1))


class Excited(nn.Module):
    """A residual block with squeeze and excitation (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block, channels = block, block.second.out_channels
        self.gate = nn.Sequential(nn.Conv2d(channels, channels // 8, 1), nn.ReLU(), nn.Conv2d(channels // 8, channels, 1))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        change = self.block.norm(self.block.second(self.block.first(hidden)))
        weight = torch.sigmoid(self.gate(change.mean(dim=(2, 3), keepdim=True)))
        return torch.relu(hidden + weight * change)


def with_large_kernels() -> EvidenceNet:
    """Return EvidenceNet with a first layer of 5x5 pixels."""
    network = EvidenceNet()
    first = network.stem[0][0]
    network.stem[0][0] = nn.Conv2d(3, first.out_channels, kernel_size=5, padding=2, bias=False)
    return network


def normalised_by_image() -> EvidenceNet:
    """Return EvidenceNet with group instead of batch normalisation (Wu and He 2018, arXiv 1803.08494)."""
    network = EvidenceNet()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(8, child.num_features))
    return network


def excited() -> EvidenceNet:
    """Return EvidenceNet with every residual block excited; its evidence is no longer local."""
    network = EvidenceNet()
    for stage in (network.stage1, network.stage2):
        for at, block in enumerate(stage):
            stage[at] = Excited(block) if at else block
    return network


VARIANTS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "as shipped": (EvidenceNet, {}),
    "Adam, 0.002": (EvidenceNet, {"optimizer": "adam", "learning_rate": 0.002}),
    "Muon, 0.05": (EvidenceNet, {"learning_rate": 0.05}),
    "whole images throughout": (EvidenceNet, {"crop": 0}),
    "moved by up to 2 pixels": (EvidenceNet, {"crop": 0, "shift": 2}),
    "no perturbations": (EvidenceNet, {"perturb_share": 0.0}),
    "nothing at full resolution": (CoarseStem, {}),
    "deeper at half resolution": (partial(EvidenceNet, widths=(32, 64, 112), blocks=(3, 1)), {}),
    "squeeze and excitation": (excited, {}),
    "high-pass beside the colours": (HighPass, {}),
    "first layer 5x5": (with_large_kernels, {}),
    "group normalisation": (normalised_by_image, {}),
    "weights not averaged": (EvidenceNet, {"ema_decay": 0.0}),
    "labels not smoothed": (EvidenceNet, {"label_smoothing": 0.0}),
    "images not recoded": (EvidenceNet, {"recode": 0, "recode_from": 0.0}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, outside of the project")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--subset", type=float, default=1.0, help="share of the training images; above 0.12")
    arguments = parser.parse_args()
    store = load_data(arguments.data)
    shared = {"max_epochs": arguments.epochs, "patience": arguments.epochs, "n_threads": arguments.threads}
    shared |= {"subset": arguments.subset, "validation_share": 0.1 / arguments.subset}  # a tenth of all, whatever the subset
    split = make_split(store, preset("best", **shared))
    rows = [
        row_of(name, trained(name, store, arguments.out, shared), n_validation=len(split.validation))
        for name in track(VARIANTS, description="variants")
    ]
    about = {"epochs": arguments.epochs, "subset": arguments.subset, "n_train": len(split.train), "seed": 0}
    record.write_result("design_search", about | {"n_validation": len(split.validation), "variants": rows})
    record.write_table("design_search", rows)


def trained(name: str, store: Store, out: Path, shared: dict[str, Any]) -> Path:
    """Return a variant's run folder, trained now if it is not there."""
    build, changes = VARIANTS[name]
    folder = out / name.replace(" ", "-").replace(",", "")
    history = folder / "history.csv"
    config = preset("best", **shared | changes)
    if history.is_file() and len(history.read_text(encoding="utf-8").splitlines()) > config.max_epochs:
        return folder
    own = factory.MODELS["evidence"]
    factory.MODELS["evidence"] = replace(own, build=build)
    try:
        fit(store, config, folder)
    finally:
        factory.MODELS["evidence"] = own
    return folder


def row_of(name: str, folder: Path, *, n_validation: int) -> dict[str, Any]:
    """Return a variant's line: its last epoch, the accuracy with Wilson's interval, and its weights and seconds."""
    with (folder / "history.csv").open(encoding="utf-8") as stream:
        epochs = list(csv.DictReader(stream))
    accuracy = float(epochs[-1]["validation_accuracy"])
    interval = wilson(round(accuracy * n_validation), n_validation)
    return {
        "variant": name,
        "parameters": sum(weight.numel() for weight in VARIANTS[name][0]().parameters()),
        "epochs": len(epochs),
        "validation_accuracy": accuracy,
        "low": interval.low,
        "high": interval.high,
        "validation_loss": float(epochs[-1]["validation_loss"]),
        "seconds": sum(float(row["seconds"]) for row in epochs),
    }


if __name__ == "__main__":
    main()
