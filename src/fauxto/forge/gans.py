"""Adversarial generators: DCGAN, WGAN-GP, SN-GAN, a light StyleGAN and one that grows, told apart by their settings alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fauxto.forge.augment import seen
from fauxto.forge.blocks import Residual, begin_evenly, conv, normalised, up
from fauxto.forge.game import GanConfig, critic_loss, generator_loss, gradient_penalty, noise_for
from fauxto.forge.growing import grown
from fauxto.forge.workshop import Descent, Forged, Workshop
from fauxto.training.optimizers import averaged_copy


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
    if config.block == "growing":
        return grown(config, workshop)
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
            made = shown(generator(noise_for(config.n_noise, len(images), workshop)))
        images = shown(images)
        with workshop.autocast():
            loss = critic_loss(critic(images), critic(made), config.loss)
        if config.penalty and (config.loss == "wasserstein" or step % 8 == 0):
            loss = loss + config.penalty * gradient_penalty(critic, images, made, config.loss)
        workshop.note(loss)
        descents[1].step(loss)
        if step % config.n_critic == 0:
            with workshop.autocast():
                verdict = critic(shown(generator(noise_for(config.n_noise, len(images), workshop))))
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
    return workshop.drawn(lambda size: network(noise_for(network.n_noise, size, workshop)), n)


def _widths(config: GanConfig, size: int) -> list[int]:
    """Return channels at 4 x 4, 8 x 8 and so on up to half the size."""
    n = int(np.log2(size)) - 2
    return [config.width * min(4, 2**step) for step in reversed(range(n))]


def _last_with_conv(width: int, config: GanConfig) -> list[nn.Module]:
    half = max(8, width // 2)
    return [up(width, half, config.up, config.kernel), nn.ReLU(), conv(half, 3, 3)]
