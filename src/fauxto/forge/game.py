"""The rules of an adversarial game: its settings, what each side minimises, and the noise that it begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fauxto.forge.workshop import Workshop
from fauxto.mapping import bounded


@dataclass(frozen=True)
class GanConfig:
    """A generator, its critic and how they learn.

    Attributes:
        block: "plain" (Radford et al. 2016), "residual" (Gulrajani et al. 2017), "style" (Karras et al. 2020), or "growing"
            (Karras et al. 2018; ``forge.growing``), which heeds width, noise, penalty, steps, batch, rate and decay alone.
        loss: "bce" (Goodfellow et al. 2014), "wasserstein", "hinge" (Miyato et al. 2018) or "softplus" with R1.
        up: How the generator doubles the size.
        kernel: Side of its convolutions.
        norm: Its normalisation; the style block has its own.
        critic_norm: The critic's: "none", "batch", or "spectral" (Miyato et al. 2018).
        penalty: Weight of the gradient penalty that belongs to the loss: WGAN-GP's, or R1 (Mescheder et al. 2018).
        n_critic: Steps of the critic for one of the generator.
        warm_steps: Steps in which the generator first decodes images that an encoder has turned into noise (Larsen et al. 2016);
            it then begins with the layout of images, which a short game alone does not reach.
        width: Channels at half the full size.
        n_noise: Length of the noise vector.
        decay: Of the running mean of the generator's weights.
        critic_haste: Learning rate of the critic over the generator's (Heusel et al. 2017).
        augmented: Whether the critic sees all images moved, recoloured and cut out (``forge.augment``).
    """

    block: Literal["plain", "residual", "style", "growing"] = "plain"
    loss: Literal["bce", "wasserstein", "hinge", "softplus"] = "bce"
    up: Literal["transposed", "nearest", "bilinear", "shuffle"] = "transposed"
    kernel: Literal[3, 4, 5] = 4
    norm: Literal["none", "batch", "group"] = "batch"
    critic_norm: Literal["none", "batch", "spectral"] = "none"
    penalty: float = bounded(0.0, low=0, high=1000)
    n_critic: int = bounded(1, low=1, high=100)
    width: int = bounded(32, low=4, high=1024)
    n_noise: int = bounded(64, low=1, high=4096)
    decay: float = bounded(0.99, low=0, high=0.99999)
    warm_steps: int = bounded(300, low=0)
    n_steps: int = bounded(600, low=1)
    batch_size: int = bounded(32, low=2)
    learning_rate: float = bounded(1e-3, low=0, high=1, above_low=True)
    critic_haste: float = bounded(1.0, low=0, high=100, above_low=True)
    augmented: bool = False


def critic_loss(real: Tensor, fake: Tensor, loss: str) -> Tensor:
    """Return what the critic minimises; its answers are higher for real images."""
    if loss == "wasserstein":
        return fake.mean() - real.mean()
    if loss == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor, loss: str) -> Tensor:
    """Return what the generator minimises."""
    return -fake.mean() if loss in ("wasserstein", "hinge") else F.softplus(-fake).mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], images: Tensor, made: Tensor, loss: str) -> Tensor:
    """Return WGAN-GP's penalty between real and made images, or R1 at real ones."""
    share = torch.rand(len(images), 1, 1, 1).to(images.device) if loss == "wasserstein" else 1.0
    at = (share * images + (1 - share) * made.float()).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    squares = slope.square().sum(dim=(1, 2, 3))
    return ((squares + 1e-12).sqrt() - 1).square().mean() if loss == "wasserstein" else squares.mean()


def noise_for(n_noise: int, n: int, workshop: Workshop) -> Tensor:
    """Return noise for ``n`` images: shape (n, n_noise)."""
    return torch.randn(n, n_noise).to(workshop.device)
