"""A GAN that grows: it learns images of 4 x 4 pixels first, and each larger size by fading it in (Karras et al. 2018)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fauxto.forge.game import GanConfig, critic_loss, generator_loss, gradient_penalty, noise_for
from fauxto.forge.workshop import Descent, Workshop
from fauxto.training.optimizers import averaged_copy

SMALLEST = 4  # pixels a side
DRIFT = 1e-3  # weight of the critic's squared answers, which else wander off


class Stage(NamedTuple):
    """How far a game has grown: sizes in use, from the smallest, and the share of the largest in the images."""

    n_sizes: int
    share: float


def stage_at(step: int, n_steps: int, n_sizes: int) -> Stage:
    """Return the stage of a step: each size takes twice as many as the one before, and is faded in during the first half of them.

    Example:
        >>> stage_at(0, 15, 4), stage_at(4, 15, 4), stage_at(14, 15, 4)
        (Stage(n_sizes=1, share=1.0), Stage(n_sizes=3, share=0.75), Stage(n_sizes=4, share=1.0))
    """
    done = (step + 0.5) / n_steps * (2**n_sizes - 1)
    at = min(n_sizes, int(done + 1).bit_length())
    within = (done + 1) / 2 ** (at - 1) - 1  # of this size's steps
    return Stage(at, min(1.0, 2 * within) if at > 1 else 1.0)


class Even(nn.Module):
    """A layer whose weights begin with variance 1 and are scaled in use, so that all learn equally fast."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, *, gain: float = 2**0.5) -> None:
        super().__init__()
        nn.init.normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        self.layer, self.scale = layer, gain / layer.weight[0].numel() ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """As the layer's."""
        result: Tensor = self.layer(x * self.scale)
        return result


class Pair(nn.Module):
    """Two convolutions of one size."""

    def __init__(self, n_in: int, n_between: int, n_out: int, *, is_normalised: bool = False) -> None:
        super().__init__()
        ways = ((n_in, n_between), (n_between, n_out))
        self.layers = nn.ModuleList(Even(nn.Conv2d(*channels, 3, padding=1)) for channels in ways)
        self.is_normalised = is_normalised

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, n_in, h, w) to (n, n_out, h, w)."""
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            x = _pixel_norm(x) if self.is_normalised else x
        return x


class GrowingGenerator(nn.Module):
    """Noise to images by two convolutions at each size, each pixel's vector normalised after each."""

    def __init__(self, config: GanConfig, size: int) -> None:
        super().__init__()
        widths = _widths(config.width, size)
        self.first = Even(nn.Linear(config.n_noise, widths[0] * SMALLEST**2), gain=2**0.5 / SMALLEST)
        ways_in = [widths[0], *widths]
        self.blocks = nn.ModuleList(
            Pair(n_in, n_out, n_out, is_normalised=True) for n_in, n_out in zip(ways_in, widths, strict=False)
        )
        self.to_rgb = nn.ModuleList(Even(nn.Conv2d(width, 3, 1), gain=1.0) for width in widths)

    def forward(self, noise: Tensor, stage: Stage | None = None) -> Tensor:
        """Shape (n, n_noise) to (n, 3, s, s), s the size of the stage; the largest by default."""
        n_sizes, share = stage or Stage(len(self.blocks), 1.0)
        x = _pixel_norm(self.first(_pixel_norm(noise))).reshape(len(noise), -1, SMALLEST, SMALLEST)
        x = smaller = x.contiguous(memory_format=torch.channels_last)
        for number in range(n_sizes):
            smaller = x
            x = self.blocks[number](_doubled(x) if number else x)
        images: Tensor = self.to_rgb[n_sizes - 1](x).float()
        return images if share == 1 else torch.lerp(_doubled(self.to_rgb[n_sizes - 2](smaller).float()), images, share)


class GrowingCritic(nn.Module):
    """The generator's mirror image, which also sees how much the images of a batch differ."""

    def __init__(self, config: GanConfig, size: int) -> None:
        super().__init__()
        widths = _widths(config.width, size)
        self.from_rgb = nn.ModuleList(Even(nn.Conv2d(3, width, 1)) for width in widths)
        ways_out = [widths[0], *widths]
        self.blocks = nn.ModuleList(
            Pair(n_in + (not number), n_in, n_out) for number, (n_in, n_out) in enumerate(zip(widths, ways_out, strict=False))
        )
        self.last = Even(nn.Linear(widths[0] * SMALLEST**2, 1), gain=1.0)

    def forward(self, images: Tensor, stage: Stage | None = None) -> Tensor:
        """Shape (n, 3, s, s), s the size of the stage, to (n,)."""
        n_sizes, share = stage or Stage(len(self.blocks), 1.0)
        x = F.leaky_relu(self.from_rgb[n_sizes - 1](images), 0.2)
        for number in reversed(range(n_sizes)):
            x = self.blocks[number](x if number else _with_spread(x))
            x = F.avg_pool2d(x, 2) if number else x
            if number == n_sizes - 1 and share < 1:
                seen = F.leaky_relu(self.from_rgb[n_sizes - 2](F.avg_pool2d(images, 2)), 0.2)
                x = torch.lerp(seen, x, share)
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 would round the answers to 3 digits
            answers: Tensor = self.last(x.float().flatten(1)).squeeze(1)
        return answers


def grown(config: GanConfig, workshop: Workshop) -> nn.Module:
    """Return the running mean of a generator that has grown beside its critic, by the loss of WGAN-GP."""
    generator = workshop.placed(GrowingGenerator(config, workshop.size))
    critic = workshop.placed(GrowingCritic(config, workshop.size))
    mean = averaged_copy(generator, decay=config.decay)
    descents = [
        Descent(network, learning_rate=config.learning_rate, n_steps=config.n_steps, betas=(0.0, 0.99), is_constant=True)
        for network in (generator, critic)
    ]
    for step, (images, _) in enumerate(workshop.batches(config.n_steps, batch_size=config.batch_size)):
        stage = stage_at(step, config.n_steps, len(generator.blocks))
        loss = _of_critic(generator, partial(critic, stage=stage), shrunk(images, stage), stage, config, workshop)
        workshop.note(loss)
        descents[1].step(loss)
        with workshop.autocast():
            verdict = critic(generator(noise_for(config.n_noise, len(images), workshop), stage), stage)
        descents[0].step(generator_loss(verdict, "wasserstein"))
        mean.update_parameters(generator)
    mean.n_noise = config.n_noise  # type: ignore[assignment]
    return mean.eval()


def _of_critic(
    generator: nn.Module, critic: partial[Tensor], images: Tensor, stage: Stage, config: GanConfig, workshop: Workshop
) -> Tensor:
    """Return what the critic minimises."""
    with torch.no_grad(), workshop.autocast():
        made = generator(noise_for(config.n_noise, len(images), workshop), stage)
    with workshop.autocast():
        answers = critic(images)
        loss = critic_loss(answers, critic(made), "wasserstein")
    drift = DRIFT * answers.square().mean()
    return loss + drift + config.penalty * gradient_penalty(critic, images, made, "wasserstein")


def shrunk(images: Tensor, stage: Stage) -> Tensor:
    """Return images at the size of a stage; while it is faded in, mixed with what the size below leaves of them."""
    size = SMALLEST * 2 ** (stage.n_sizes - 1)
    images = F.avg_pool2d(images, images.shape[-1] // size)
    return images if stage.share == 1 else torch.lerp(_doubled(F.avg_pool2d(images, 2)), images, stage.share)


def _widths(width: int, size: int) -> list[int]:
    """Return channels at 4 x 4, 8 x 8 and so on up to the full size."""
    n_sizes = (size // SMALLEST).bit_length()
    return [2 * width] * (n_sizes - 1) + [width]


def _pixel_norm(x: Tensor) -> Tensor:
    """Give every pixel's vector a mean square of 1."""
    result: Tensor = x * torch.rsqrt(x.float().square().mean(dim=1, keepdim=True) + 1e-8).to(x.dtype)
    return result


def _with_spread(x: Tensor) -> Tensor:
    """Add a channel: the mean standard deviation over the batch."""
    spread = (x.float().var(dim=0, unbiased=False) + 1e-8).sqrt().mean().to(x.dtype)
    return torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], dim=1)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)
