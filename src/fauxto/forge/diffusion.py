"""A small DDPM (Ho et al. 2020), sampled step by step or by DDIM (Song et al. 2021), with or without guidance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fauxto.forge.pseudo import pseudo_classes
from fauxto.forge.unet import UNet
from fauxto.forge.workshop import Descent, Forged, Workshop
from fauxto.mapping import bounded, from_mapping
from fauxto.training.optimizers import averaged_copy

NO_CLASS_SHARE = 0.15  # of the training images are shown without their class, for classifier-free guidance


@dataclass(frozen=True)
class UNetConfig:
    """A U-Net and how it learns.

    Attributes:
        width: Channels of its first level.
        patch: Pixels a side that become one position of it.
        n_classes: Groups of like images that serve as classes for guidance; 0 for none. Classes that the photographs came with
            go before them, however many they are.
        predicts: Diffusion: the noise, or the velocity (Salimans and Ho 2022).
        decay: Of the running mean of the weights.
    """

    width: int = bounded(32, low=8, high=1024)
    patch: Literal[1, 2, 4] = 1
    n_classes: int = bounded(10, low=0, high=1000)
    predicts: Literal["noise", "velocity"] = "velocity"
    decay: float = bounded(0.995, low=0, high=0.99999)
    n_steps: int = bounded(1500, low=1)
    batch_size: int = bounded(64, low=2)
    learning_rate: float = bounded(2e-3, low=0, high=1, above_low=True)


@dataclass(frozen=True)
class Sampling:
    """How images are drawn.

    Attributes:
        n_steps: Evaluations from noise to image.
        noise: Share of DDPM's noise that is added at every step: 1 is DDPM, 0 is DDIM.
        guidance: How far beyond the class's own prediction to go (Ho and Salimans 2022); 0 asks for no class.
    """

    n_steps: int = bounded(50, low=1, high=10_000)
    noise: float = bounded(0.0, low=0, high=1)
    guidance: float = bounded(0.0, low=0, high=20)


Predict = Callable[[Tensor, Tensor], Tensor]  # images at a time, times -> prediction


class TimedNetwork(nn.Module):
    """A U-Net whose weights are a running mean, and what its prediction means."""

    def __init__(self, network: nn.Module, config: UNetConfig) -> None:
        super().__init__()
        self.network, self.config = network, config

    def guided(self, n: int, guidance: float, workshop: Workshop) -> Predict:
        """Return the prediction for ``n`` images, towards classes drawn by chance where there is guidance."""
        device = workshop.device
        nothing = torch.full((n,), self.config.n_classes, device=device)
        classes = torch.randint(max(1, self.config.n_classes), (n,)).to(device)

        def predict(x: Tensor, t: Tensor) -> Tensor:
            with workshop.autocast():
                plain: Tensor = self.network(x, t, nothing)
                return plain if not guidance else plain + (1 + guidance) * (self.network(x, t, classes) - plain)

        return predict


def train(config: UNetConfig, workshop: Workshop) -> TimedNetwork:
    """Return a network that has learned to take noise away."""

    def loss(predict: Predict, images: Tensor) -> Tensor:
        t, noise = torch.rand(len(images)).to(images.device), torch.randn_like(images)
        signal, rest = (part[:, None, None, None] for part in signal_and_noise(t))
        goal = noise if config.predicts == "noise" else signal * noise - rest * images
        return F.mse_loss(predict(signal * images + rest * noise, t), goal)

    return learned(config, workshop, loss)


def learned(config: UNetConfig, workshop: Workshop, loss_of: Callable[[Predict, Tensor], Tensor]) -> TimedNetwork:
    """Return a U-Net that has minimised a loss; also flow's way."""
    known = pseudo_classes(workshop, config.n_classes)
    if config.n_classes and workshop.kind is not None:
        config = replace(config, n_classes=int(known.max()) + 1)
    network = workshop.placed(UNet(width=config.width, patch=config.patch, n_classes=config.n_classes))
    mean = averaged_copy(network, decay=config.decay)
    descent = Descent(network, learning_rate=config.learning_rate, n_steps=config.n_steps)
    for images, positions in workshop.batches(config.n_steps, batch_size=config.batch_size):
        hidden = torch.rand(len(images)) < NO_CLASS_SHARE
        classes = torch.where(hidden, config.n_classes, known[positions]).to(workshop.device)
        with workshop.autocast():
            loss = loss_of(lambda x, t, seen=classes: network(x, t, seen), images)  # type: ignore[misc]
        workshop.note(loss)
        descent.step(loss)
        mean.update_parameters(network)
    return TimedNetwork(mean, config)


@torch.inference_mode()
def make(network: TimedNetwork, sampling: dict[str, Any], n: int, workshop: Workshop) -> Forged:
    """Draw ``n`` images."""
    how = from_mapping(Sampling, sampling)
    return workshop.drawn(lambda size: _drawn(network, how, size, workshop), n)


def _drawn(network: TimedNetwork, how: Sampling, n: int, workshop: Workshop) -> Tensor:
    predict = network.guided(n, how.guidance, workshop)
    x = torch.randn(n, 3, workshop.size, workshop.size).to(workshop.device)
    times = torch.linspace(1, 0, how.n_steps + 1).tolist()
    for now, then in itertools.pairwise(times):
        made = predict(x, torch.full((n,), now, device=x.device))
        x = _stepped(x, made, now, then, network.config.predicts, how.noise)
    return x


def _stepped(x: Tensor, made: Tensor, now: float, then: float, predicts: str, noise: float) -> Tensor:
    """Go from one time to an earlier one (Song et al. 2021, equation 12)."""
    (signal, rest), (signal_then, rest_then) = signal_and_noise(now), signal_and_noise(then)
    image: Tensor = (x - rest * made) / signal if predicts == "noise" else signal * x - rest * made
    image = image.clamp(-1, 1)
    if then <= 0:
        return image
    found = (x - signal * image) / rest
    fresh = noise * rest_then / rest * math.sqrt(max(0.0, 1 - (signal / signal_then) ** 2))
    straight = math.sqrt(max(0.0, rest_then**2 - fresh**2))
    result: Tensor = signal_then * image + straight * found + fresh * torch.randn(x.shape).to(x.device)
    return result


def signal_and_noise(t: Any) -> Any:
    """Return the shares of image and noise at a time in [0, 1], whose squares sum to 1 (Nichol and Dhariwal 2021).

    Example:
        >>> [round(share, 3) for share in signal_and_noise(0.5)]
        [0.707, 0.707]
    """
    angle = 0.02 + (math.pi / 2 - 0.04) * t
    return (angle.cos(), angle.sin()) if isinstance(t, Tensor) else (math.cos(angle), math.sin(angle))
