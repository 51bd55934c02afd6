"""One number after the other: PixelCNN++ on pixels (Salimans et al. 2017), and PixelCNN on the codes of a VQ autoencoder.

Masked 3 x 3 convolutions look one column to the right for each row further up, so that all positions with the same
``column + 2 * row`` are drawn at once: 94 passes for 32 x 32 pixels instead of 1,024, with the very same distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fauxto.forge.autoencoders import Autoencoder, AutoencoderConfig
from fauxto.forge.autoencoders import train as train_autoencoder
from fauxto.forge.blocks import begin_at_zero, begin_evenly
from fauxto.forge.logistics import N_PER_MIXTURE, draw_pixels, pixel_loss
from fauxto.forge.workshop import Descent, Forged, Workshop
from fauxto.mapping import bounded, from_mapping


@dataclass(frozen=True)
class AutoregressiveConfig:
    """A PixelCNN and how it learns.

    Attributes:
        over: What it draws: "pixels", or the "codes" of an autoencoder that is trained first.
        width: Channels.
        n_blocks: Residual blocks.
        n_mixtures: Pixels: logistic distributions that are mixed.
        code_steps: Codes: steps of the autoencoder.
        n_codes: Codes: size of its book.
        code_width: Codes: channels that share one code.
    """

    over: Literal["pixels", "codes"] = "pixels"
    width: int = bounded(48, low=4, high=1024)
    n_blocks: int = bounded(5, low=1, high=100)
    n_mixtures: int = bounded(5, low=1, high=100)
    code_steps: int = bounded(300, low=1)
    n_codes: int = bounded(256, low=2, high=65536)
    code_width: int = bounded(4, low=1, high=256)
    n_steps: int = bounded(600, low=1)
    batch_size: int = bounded(32, low=2)
    learning_rate: float = bounded(4e-3, low=0, high=1, above_low=True)


@dataclass(frozen=True)
class Drawing:
    """How images are drawn.

    Attributes:
        temperature: Below 1, what is likely becomes likelier.
    """

    temperature: float = bounded(1.0, low=0.05, high=2)


class Masked(nn.Conv2d):
    """A 3 x 3 convolution that sees the rows above and what is left of it; with ``sees_itself`` also its own position."""

    mask: Tensor

    def __init__(self, n_in: int, n_out: int, *, sees_itself: bool) -> None:
        super().__init__(n_in, n_out, 3, padding=1)
        mask = torch.ones(3, 3)
        mask[1, 1 + sees_itself :] = 0
        mask[2] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, n_in, h, w) to (n, n_out, h, w)."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=1)


class Gated(nn.Module):
    """A masked residual block with a gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Masked(width, width, sees_itself=True)
        self.second = nn.Conv2d(width, 2 * width, 1)
        begin_at_zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, width, h, w) to the same."""
        change, gate = self.second(F.silu(self.first(F.silu(x)))).chunk(2, dim=1)
        result: Tensor = x + change * torch.sigmoid(gate)
        return result


class PixelCNN(nn.Module):
    """Every position's distribution from what stands above and left of it."""

    def __init__(self, n_in: int, n_out: int, config: AutoregressiveConfig) -> None:
        super().__init__()
        blocks = [Gated(config.width) for _ in range(config.n_blocks)]
        # A border of ones tells positions at the edge from dark ones.
        self.first = Masked(n_in + 1, config.width, sees_itself=False)
        self.layers = nn.Sequential(*blocks, nn.SiLU(), nn.Conv2d(config.width, n_out, 1))
        begin_evenly(self)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, n_in, h, w) to (n, n_out, h, w), float32."""
        result: Tensor = self.layers(self.first(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))).float()
        return result


class Pixels(nn.Module):
    """PixelCNN++ over the colours of pixels."""

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__()
        self.network = PixelCNN(3, N_PER_MIXTURE * config.n_mixtures, config)

    def loss(self, images: Tensor) -> Tensor:
        """Return bits per number of images in [-1, 1]."""
        return pixel_loss(images, self.answers(images))

    def answers(self, images: Tensor) -> Tensor:
        """Return every position's mixture, whose means begin at the mean of the pixels on the left and above."""
        left, above = F.pad(images, (1, 0))[..., :-1], F.pad(images, (0, 0, 1, 0))[..., :-1, :]
        found = self.network(images)
        k = found.shape[1] // N_PER_MIXTURE
        means = found[:, k : 4 * k] + ((left + above) / 2).repeat_interleave(k, dim=1)
        return torch.cat([found[:, :k], means, found[:, 4 * k :]], dim=1)

    def drawn(self, n: int, size: int, temperature: float, device: torch.device) -> Tensor:
        """Return images in [-1, 1]."""
        start = torch.zeros(n, 3, size, size, device=device)
        return in_waves(start, self.answers, lambda found: draw_pixels(found, temperature))


class Codes(nn.Module):
    """PixelCNN over the codes of an autoencoder; those of one position stand side by side in a wider grid."""

    def __init__(self, config: AutoregressiveConfig, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder, self.n_codes = autoencoder, config.n_codes
        self.n_groups = 16 // config.code_width
        self.known = nn.Embedding(config.n_codes, config.width)
        self.place = nn.Parameter(torch.zeros(1, config.width, 1, self.n_groups))
        self.network = PixelCNN(2 * config.width, config.n_codes, config)

    def loss(self, images: Tensor) -> Tensor:
        """Return nats per code of images in [-1, 1]."""
        with torch.no_grad():
            index = self.autoencoder.codes(images)
        return F.cross_entropy(self.answers(index), index)

    def answers(self, index: Tensor) -> Tensor:
        """Shape (n, h, w * n_groups) to (n, n_codes, h, w * n_groups)."""
        embedded = self.known(index).permute(0, 3, 1, 2)
        place = self.place.expand(len(index), -1, index.shape[1], -1).repeat(1, 1, 1, index.shape[2] // self.n_groups)
        answers: Tensor = self.network(torch.cat([embedded, place], dim=1))
        return answers

    def drawn(self, n: int, size: int, temperature: float, device: torch.device) -> Tensor:
        """Return images in [-1, 1]."""
        start = torch.zeros(n, 1, size // 4, size // 4 * self.n_groups, dtype=torch.int64, device=device)
        index = in_waves(start, lambda known: self.answers(known[:, 0]), lambda found: draw_codes(found, temperature))
        return self.autoencoder.decode(self.autoencoder.latents(index[:, 0]))


def train(config: AutoregressiveConfig, workshop: Workshop) -> Pixels | Codes:
    """Return a network that has learned how pixels or codes follow one another."""
    network = workshop.placed(Pixels(config) if config.over == "pixels" else Codes(config, _coder(config, workshop)))
    descent = Descent(network, learning_rate=config.learning_rate, n_steps=config.n_steps)
    for images, _ in workshop.batches(config.n_steps, batch_size=config.batch_size):
        with workshop.autocast():
            loss = network.loss(images)
        workshop.note(loss)
        descent.step(loss)
    return network


@torch.inference_mode()
def make(network: Pixels | Codes, sampling: dict[str, Any], n: int, workshop: Workshop) -> Forged:
    """Draw ``n`` images."""
    how = from_mapping(Drawing, sampling)
    with workshop.autocast():
        return workshop.drawn(lambda size: network.drawn(size, workshop.size, how.temperature, workshop.device), n)


def in_waves(start: Tensor, answers: Callable[[Tensor], Tensor], draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Fill a grid position by position, all of one wave at once.

    Args:
        start: Shape (n, c, h, w).
        answers: From the grid as it is to the distribution of every position, shape (n, k, h, w).
        draw: From the distributions of m positions, shape (m, k), to their values, shape (m, c).
    """
    grid, (height, width) = start.clone(), start.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for wave in range(width + 2 * (height - 1)):
        at = ((columns + 2 * rows) == wave).to(grid.device)
        found = answers(grid)[:, :, at].permute(0, 2, 1)
        values = draw(found.reshape(-1, found.shape[2]))
        grid[:, :, at] = values.reshape(len(grid), -1, grid.shape[1]).permute(0, 2, 1)
    return grid


def draw_codes(found: Tensor, temperature: float) -> Tensor:
    """Return one code per row of logits: int64, shape (m, 1)."""
    shares = torch.softmax(found.float() / temperature, dim=1).cpu()
    return torch.multinomial(shares, 1).to(found.device)


def _coder(config: AutoregressiveConfig, workshop: Workshop) -> Autoencoder:
    settings = AutoencoderConfig(
        latent="vq",
        factor=4,
        n_codes=config.n_codes,
        code_width=config.code_width,
        up="nearest",
        loss="l1",
        n_steps=config.code_steps,
    )
    return train_autoencoder(settings, workshop).requires_grad_(False)
