"""Adversarial generators: DCGAN, WGAN-GP, SN-GAN and a light StyleGAN, told apart by their settings alone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fauxto.forge.augment import seen
from fauxto.forge.blocks import Residual, begin_evenly, conv, normalised, up
from fauxto.forge.workshop import Descent, Forged, Workshop
from fauxto.mapping import bounded
from fauxto.training.optimizers import averaged_copy


@dataclass(frozen=True)
class GanConfig:
    """A generator, its critic and how they learn.

    Attributes:
        block: "plain" (Radford et al. 2016), "residual" (Gulrajani et al. 2017) or "style" (Karras et al. 2020).
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

    block: Literal["plain", "residual", "style"] = "plain"
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


class Convolutional(nn.Module):
    """Noise to images in [-1, 1] by a stack of up-samplings; plain ones end in the up-sampling itself, as DCGAN does."""

    def __init__(self, config: GanConfig, size: int) -> None:
        super().__init__()
        widths = _widths(config, size)
        self.first = nn.Linear(config.n_noise, widths[0] * 16)
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [normalised(config.norm, n_in), nn.ReLU(), up(n_in, n_out, config.up, config.kernel)]
            layers += [Residual(n_out, norm=config.norm, activation="relu")] if config.block == "residual" else []
        layers += [normalised(config.norm, widths[-1]), nn.ReLU()]
        ends_in_up = config.block == "plain" and config.up in ("transposed", "shuffle")
        last = [up(widths[-1], 3, config.up, config.kernel)] if ends_in_up else _last_with_conv(widths[-1], config)
        self.layers = nn.Sequential(*layers, *last)

    def forward(self, noise: Tensor) -> Tensor:
        """Shape (n, n_noise) to (n, 3, size, size)."""
        x = self.first(noise).reshape(len(noise), -1, 4, 4).contiguous(memory_format=torch.channels_last)
        images: Tensor = torch.tanh(self.layers(x).float())
        return images


class Styled(nn.Module):
    """A light StyleGAN2: a mapping network, modulated convolutions, noise at every size, images summed over the sizes."""

    def __init__(self, config: GanConfig, size: int) -> None:
        super().__init__()
        widths = [*_widths(config, size), max(8, config.width // 2)]
        n, act = config.n_noise, nn.LeakyReLU(0.2)
        self.mapping = nn.Sequential(nn.Linear(n, n), act, nn.Linear(n, n), act)
        self.start = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.blocks = nn.ModuleList(Modulated(n_in, n_out, n) for n_in, n_out in zip([widths[0], *widths], widths, strict=False))
        self.to_rgb = nn.ModuleList(nn.Conv2d(width, 3, 1) for width in widths)
        self.mode = config.up if config.up in ("nearest", "bilinear") else "bilinear"

    def forward(self, noise: Tensor) -> Tensor:
        """Shape (n, n_noise) to (n, 3, size, size)."""
        style = self.mapping(F.normalize(noise, dim=1) * noise.shape[1] ** 0.5)
        x, images = self.start.expand(len(noise), -1, -1, -1), None
        for number, (block, to_rgb) in enumerate(zip(self.blocks, self.to_rgb, strict=True)):
            x = block(self._doubled(x) if number else x, style)
            colours: Tensor = to_rgb(x).float()
            images = colours if images is None else self._doubled(images) + colours
        assert images is not None
        return images

    def _doubled(self, x: Tensor) -> Tensor:
        doubled: Tensor = F.interpolate(
            x, scale_factor=2, mode=self.mode, align_corners=False if self.mode == "bilinear" else None
        )
        return doubled


class Modulated(nn.Module):
    """A convolution whose input channels a style scales, and whose output is scaled back (Karras et al. 2020)."""

    def __init__(self, n_in: int, n_out: int, n_style: int) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(n_in, n_out, 3, padding=1), nn.Linear(n_style, n_in)
        self.noise = nn.Parameter(torch.zeros(1, n_out, 1, 1))
        nn.init.ones_(self.scale.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Shape (n, n_in, h, w) and (n, n_style) to (n, n_out, h, w)."""
        scale = self.scale(style).float()
        power = self.conv.weight.float().square().sum(dim=(2, 3))
        back = torch.rsqrt(scale.square() @ power.T + 1e-8)
        made = self.conv(x * scale[:, :, None, None].to(x.dtype)) * back[:, :, None, None]
        noise = torch.randn(len(x), 1, *made.shape[2:], device=x.device)
        result: Tensor = F.leaky_relu(made + self.noise * noise, 0.2) * 2**0.5
        return result


class Leaky(nn.Module):
    """A leaky rectifier that gives back the size that it takes from its input's numbers."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return F.leaky_relu(x, 0.2) * self.gain


class Critic(nn.Module):
    """Images to one number each, or to ``n_answers``, by convolutions that halve the size down to 4 x 4."""

    def __init__(self, config: GanConfig, size: int, *, n_answers: int = 1) -> None:
        super().__init__()
        widths = [3, *reversed(_widths(config, size))]
        layers: list[nn.Module] = []
        for number, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            layer = nn.Conv2d(n_in, n_out, 4, 2, padding=1)
            layers.append(spectral_norm(layer) if config.critic_norm == "spectral" else layer)
            layers += [nn.BatchNorm2d(n_out)] if config.critic_norm == "batch" and number else []
            layers.append(Leaky(2.0 if config.critic_norm == "spectral" else 2**0.5))
        # The last layer is free, so that the answers can be as far apart as the loss wants them.
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * 16, n_answers))
        if config.critic_norm != "spectral":
            begin_evenly(self)

    def forward(self, images: Tensor) -> Tensor:
        """Shape (n, 3, size, size) to (n,), or (n, n_answers)."""
        answers: Tensor = self.layers(images)
        return answers.squeeze(1).float()


def train(config: GanConfig, workshop: Workshop) -> nn.Module:
    """Return the running mean of a generator that has played against a critic."""
    build = Styled if config.block == "style" else Convolutional
    generator, critic = workshop.placed(build(config, workshop.size)), workshop.placed(Critic(config, workshop.size))
    _warm_up(generator, config, workshop)
    mean = averaged_copy(generator, decay=config.decay)
    rates = (config.learning_rate, config.learning_rate * config.critic_haste)
    descents = [
        Descent(network, learning_rate=rate, n_steps=config.n_steps, betas=(0.5, 0.99), is_constant=True)
        for network, rate in zip((generator, critic), rates, strict=True)
    ]
    shown = seen if config.augmented else nn.Identity()
    for step, (images, _) in enumerate(workshop.batches(config.n_steps, batch_size=config.batch_size)):
        with torch.no_grad(), workshop.autocast():
            made = shown(generator(_noise(config.n_noise, len(images), workshop)))
        images = shown(images)
        with workshop.autocast():
            loss = critic_loss(critic(images), critic(made), config.loss)
        if config.penalty and (config.loss == "wasserstein" or step % 8 == 0):
            loss = loss + config.penalty * gradient_penalty(critic, images, made, config.loss)
        workshop.note(loss)
        descents[1].step(loss)
        if step % config.n_critic == 0:
            with workshop.autocast():
                verdict = critic(shown(generator(_noise(config.n_noise, len(images), workshop))))
            descents[0].step(generator_loss(verdict, config.loss))
            mean.update_parameters(generator)
    mean.n_noise = config.n_noise  # type: ignore[assignment]
    return mean.eval()


def _warm_up(generator: nn.Module, config: GanConfig, workshop: Workshop) -> None:
    """Let the generator decode real images from vectors that are spread as noise is."""
    encoder = Critic(replace(config, critic_norm="batch"), workshop.size, n_answers=config.n_noise)
    whole = workshop.placed(nn.Sequential(encoder, nn.BatchNorm1d(config.n_noise, affine=False), generator))
    descent = Descent(whole, learning_rate=3e-3, n_steps=max(1, config.warm_steps))
    for images, _ in workshop.batches(config.warm_steps, batch_size=config.batch_size):
        with workshop.autocast():
            loss = F.mse_loss(whole(images), images)
        descent.step(loss)


@torch.inference_mode()
def make(network: Any, sampling: dict[str, Any], n: int, workshop: Workshop) -> Forged:
    """Draw ``n`` images."""
    return workshop.drawn(lambda size: network(_noise(network.n_noise, size, workshop)), n)


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


def gradient_penalty(critic: nn.Module, images: Tensor, made: Tensor, loss: str) -> Tensor:
    """Return WGAN-GP's penalty between real and made images, or R1 at real ones."""
    share = torch.rand(len(images), 1, 1, 1).to(images.device) if loss == "wasserstein" else 1.0
    at = (share * images + (1 - share) * made.float()).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    squares = slope.square().sum(dim=(1, 2, 3))
    return ((squares + 1e-12).sqrt() - 1).square().mean() if loss == "wasserstein" else squares.mean()


def _noise(n_noise: int, n: int, workshop: Workshop) -> Tensor:
    return torch.randn(n, n_noise).to(workshop.device)


def _widths(config: GanConfig, size: int) -> list[int]:
    """Return channels at 4 x 4, 8 x 8 and so on up to half the size."""
    n = int(np.log2(size)) - 2
    return [config.width * min(4, 2**step) for step in reversed(range(n))]


def _last_with_conv(width: int, config: GanConfig) -> list[nn.Module]:
    half = max(8, width // 2)
    return [up(width, half, config.up, config.kernel), nn.ReLU(), conv(half, 3, 3)]
