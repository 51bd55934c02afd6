"""Flow matching (Lipman et al. 2023; Liu et al. 2023): a straight way from noise to image, walked by Euler or Heun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fauxto.forge.diffusion import Predict, TimedNetwork, UNetConfig, learned
from fauxto.forge.workshop import Forged, Workshop
from fauxto.mapping import bounded, from_mapping


@dataclass(frozen=True)
class Walk:
    """How images are drawn.

    Attributes:
        n_steps: Steps from noise to image; Heun evaluates twice in each.
        method: "euler" or "heun".
        guidance: As in diffusion.
    """

    n_steps: int = bounded(20, low=1, high=10_000)
    method: Literal["euler", "heun"] = "euler"
    guidance: float = bounded(0.0, low=0, high=20)


def train(config: UNetConfig, workshop: Workshop) -> TimedNetwork:
    """Return a network that has learned the direction from noise to image."""

    def loss(predict: Predict, images: Tensor) -> Tensor:
        t, noise = torch.sigmoid(torch.randn(len(images))).to(images.device), torch.randn_like(images)
        share = t[:, None, None, None]
        return F.mse_loss(predict((1 - share) * noise + share * images, t), images - noise)

    return learned(config, workshop, loss)


@torch.inference_mode()
def make(network: TimedNetwork, sampling: dict[str, Any], n: int, workshop: Workshop) -> Forged:
    """Draw ``n`` images."""
    how = from_mapping(Walk, sampling)
    return workshop.drawn(lambda size: _walked(network, how, size, workshop), n)


def _walked(network: TimedNetwork, how: Walk, n: int, workshop: Workshop) -> Tensor:
    predict = network.guided(n, how.guidance, workshop)
    x, length = torch.randn(n, 3, workshop.size, workshop.size).to(workshop.device), 1 / how.n_steps
    for step in range(how.n_steps):
        t = torch.full((n,), step * length, device=x.device)
        slope = predict(x, t)
        if how.method == "heun":
            slope = (slope + predict(x + length * slope, t + length)) / 2
        x = x + length * slope
    return x
