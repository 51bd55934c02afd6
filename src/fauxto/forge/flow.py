"""Flow matching (Lipman et al. 2023; Liu et al. 2023): a straight way from noise to image, walked in one of several ways."""

from __future__ import annotations

import itertools
import math
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
        method: "euler" or "heun"; "ancestral" takes all noise away at every step and adds some anew, as a DDPM does.
        guidance: As in diffusion.
    """

    n_steps: int = bounded(20, low=1, high=10_000)
    method: Literal["euler", "heun", "ancestral"] = "euler"
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
    x = torch.randn(n, 3, workshop.size, workshop.size).to(workshop.device)
    times = torch.linspace(0, 1, how.n_steps + 1).tolist()
    for now, then in itertools.pairwise(times):
        t = torch.full((n,), now, device=x.device)
        slope = predict(x, t)
        if how.method == "heun":
            slope = (slope + predict(x + (then - now) * slope, t + (then - now))) / 2
        x = _renoised(x, slope, now, then) if how.method == "ancestral" else x + (then - now) * slope
    return x


def _renoised(x: Tensor, slope: Tensor, now: float, then: float) -> Tensor:
    """Go to a later time as a DDPM does, whose shares of image and noise are the time and what is left of it.

    Source: Song et al. 2021, equations 12 and 16, for shares whose squares do not sum to 1.
    """
    image = (x + (1 - now) * slope).clamp(-1, 1)
    found = (x - now * image) / (1 - now)
    fresh = (1 - then) * math.sqrt(1 - (now * (1 - then) / (then * (1 - now))) ** 2)
    straight = math.sqrt((1 - then) ** 2 - fresh**2)
    result: Tensor = then * image + straight * found + fresh * torch.randn(x.shape).to(x.device)
    return result
