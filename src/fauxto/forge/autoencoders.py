"""Autoencoders that reconstruct the very images: KL (Kingma and Welling 2014) and VQ (van den Oord et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fauxto.forge.blocks import ACTIVATIONS, Residual, begin_evenly, conv, normalised, up
from fauxto.forge.workshop import Descent, Forged, Workshop, batch_sizes, to_pixels
from fauxto.mapping import bounded


@dataclass(frozen=True)
class AutoencoderConfig:
    """An autoencoder and how it learns.

    Attributes:
        latent: What is in the middle: "kl" (Gaussian) or "vq" (a codebook).
        factor: Side of the image over side of the latents.
        channels: Of the latents; 0 takes ``factor`` squared, a third of the image's numbers.
        code_width: VQ: channels that share one code.
        n_codes: VQ: codes in the book.
        up: How the decoder doubles the size; ``last_up`` lets the last doubling end in the image, with no convolution after it.
        loss: L1, L2, "perceptual" (L1 on pixels and on gradients at three scales) or "adversarial" (L1 and a patch critic).
        norm: Normalisation of all blocks.
        activation: Of all blocks.
        kernel: Side of the decoder's convolutions; 4 and 5 too.
        output: What maps the last layer to [-1, 1].
        width: Channels of the first layer.
        crop: Side of the pieces that it learns from, where the images are larger; it reconstructs them whole.
    """

    latent: Literal["kl", "vq"] = "kl"
    factor: Literal[2, 4, 8] = 4
    channels: int = bounded(0, low=0, high=1024)
    code_width: int = bounded(4, low=1, high=256)
    n_codes: int = bounded(256, low=2, high=65536)
    up: Literal["transposed", "nearest", "bilinear", "shuffle"] = "nearest"
    last_up: bool = False
    loss: Literal["l1", "l2", "perceptual", "adversarial"] = "l2"
    norm: Literal["none", "batch", "group"] = "group"
    activation: Literal["relu", "leaky", "silu", "gelu"] = "silu"
    kernel: Literal[3, 4, 5] = 3
    output: Literal["tanh", "sigmoid", "clamp"] = "tanh"
    width: int = bounded(24, low=4, high=1024)
    crop: int = bounded(64, low=16, high=1024)
    n_steps: int = bounded(600, low=1)
    batch_size: int = bounded(32, low=2)
    learning_rate: float = bounded(6e-3, low=0, high=1, above_low=True)


class Autoencoder(nn.Module):
    """Encoder, bottleneck and decoder; images and reconstructions in [-1, 1], shape (n, 3, s, s)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        n_latent = config.channels or config.factor**2
        is_kl = config.latent == "kl"
        self.encoder = _encoder(config, n_latent * 2 if is_kl else n_latent)
        self.bottleneck: Gaussian | Codebook = Gaussian() if is_kl else Codebook(n_latent, config.code_width, config.n_codes)
        self.decoder = _decoder(config, n_latent)
        self.output = config.output
        begin_evenly(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions and the bottleneck's own loss."""
        latents, loss = self.bottleneck(self.encoder(images).float())
        return self.decode(latents), loss

    def codes(self, images: Tensor) -> Tensor:
        """Return the codes of images, where there is a codebook: int64, shape (n, h, w * groups)."""
        assert isinstance(self.bottleneck, Codebook)
        latents = self.encoder(images).float()
        index = self.bottleneck.nearest(self.bottleneck.flat(latents))
        return index.reshape(len(latents), latents.shape[2], -1)

    def latents(self, codes: Tensor) -> Tensor:
        """Return the latents that codes stand for: shape (n, c, h, w)."""
        assert isinstance(self.bottleneck, Codebook)
        n, height, width = codes.shape
        latents = self.bottleneck.codes[codes].reshape(n, height, width // self.bottleneck.n_groups, -1)
        return latents.permute(0, 3, 1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the images of latents, float32."""
        images = self.decoder(latents).float()
        if self.output == "tanh":
            return torch.tanh(images)
        return 2 * torch.sigmoid(images) - 1 if self.output == "sigmoid" else images


class Gaussian(nn.Module):
    """Mean and logarithm of the variance to a sample of them; the mean itself in evaluation."""

    weight = 1e-4

    def forward(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Shape (n, 2c, h, w) to (n, c, h, w), and the weighted distance from a standard normal distribution."""
        mean, log_variance = moments.chunk(2, dim=1)
        log_variance = log_variance.clamp(-20, 10)
        distance = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        sample = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean) if self.training else mean
        return sample, self.weight * distance


class Codebook(nn.Module):
    """Each group of channels becomes the nearest code; codes that nothing uses begin again at a latent."""

    n_used: Tensor

    def __init__(self, channels: int, code_width: int, n_codes: int, *, renew_every: int = 25) -> None:
        super().__init__()
        self.code_width, self.renew_every = min(code_width, channels), renew_every
        self.n_groups = channels // self.code_width
        self.codes = nn.Parameter(torch.randn(n_codes, self.code_width))
        self.register_buffer("n_used", torch.zeros(n_codes))
        self.n_steps = 0

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Shape (n, c, h, w) to the same; the gradient goes straight through (Bengio et al. 2013)."""
        flat = self.flat(latents)
        with torch.no_grad():
            index = self.nearest(flat)
            if self.training:
                self._renew(flat, index)
        chosen = F.embedding(index, self.codes)
        loss = F.mse_loss(chosen, flat.detach()) + 0.25 * F.mse_loss(flat, chosen.detach())
        return self._unflat(flat + (chosen - flat).detach(), latents), loss

    def nearest(self, flat: Tensor) -> Tensor:
        """Return the code of each latent: int64, shape (m,)."""
        return torch.cdist(flat, self.codes).argmin(dim=1)

    def _renew(self, flat: Tensor, index: Tensor) -> None:
        if self.n_steps % self.renew_every == 0:
            unused = (self.n_used == 0).nonzero()[:, 0]
            drawn = torch.randint(len(flat), (len(unused),)).to(flat.device)
            self.codes.data[unused] = flat[drawn]
            self.n_used.zero_()
        self.n_used += torch.bincount(index, minlength=len(self.codes))
        self.n_steps += 1

    def flat(self, latents: Tensor) -> Tensor:
        """Shape (n, c, h, w) to (n * h * w * groups, code_width)."""
        return latents.permute(0, 2, 3, 1).reshape(-1, self.code_width)

    def _unflat(self, flat: Tensor, like: Tensor) -> Tensor:
        n, channels, height, width = like.shape
        return flat.reshape(n, height, width, channels).permute(0, 3, 1, 2)


def train(config: AutoencoderConfig, workshop: Workshop) -> Autoencoder:
    """Return an autoencoder that has learned the real images."""
    network = workshop.placed(Autoencoder(config))
    descent = Descent(network, learning_rate=config.learning_rate, n_steps=config.n_steps)
    critic = PatchCritic(config, workshop) if config.loss == "adversarial" else None
    for whole, _ in workshop.batches(config.n_steps, batch_size=config.batch_size):
        images = piece(whole, config.crop)
        with workshop.autocast():
            made, loss = network(images)
        loss = loss + distance(made, images, config.loss)
        workshop.note(loss)
        descent.step(loss + 0.01 * critic.verdict(made) if critic else loss)
        if critic:
            critic.learn(images, made.detach())
    return network.eval()


@torch.inference_mode()
def make(network: Autoencoder, sampling: dict[str, Any], n: int, workshop: Workshop) -> Forged:
    """Reconstruct ``n`` real images drawn by chance, none of them twice; all where there are fewer."""
    positions = torch.randperm(len(workshop.reals))[:n].sort().values
    n_parts = len(batch_sizes(len(positions), size=workshop.size))
    parts = [to_pixels(network(workshop.real(part))[0]) for part in torch.tensor_split(positions, n_parts)]
    return Forged(np.concatenate(parts), positions.numpy())


def piece(images: Tensor, side: int) -> Tensor:
    """Return the same square of all images, at a place drawn by chance; images that are no larger, as they are."""
    room = images.shape[-1] - side
    if room <= 0:
        return images
    top, left = torch.randint(room + 1, (2,)).tolist()
    return images[:, :, top : top + side, left : left + side]


def distance(made: Tensor, images: Tensor, loss: str) -> Tensor:
    """Return the mean distance of reconstructions from the images."""
    if loss == "l2":
        return F.mse_loss(made, images)
    total = F.l1_loss(made, images)
    if loss == "perceptual":
        for _ in range(3):
            for axis in (2, 3):
                total = total + F.l1_loss(made.diff(dim=axis), images.diff(dim=axis))
            made, images = F.avg_pool2d(made, 2), F.avg_pool2d(images, 2)
    return total


class PatchCritic:
    """A small network that tells real patches from made ones, trained beside the autoencoder (Isola et al. 2017)."""

    def __init__(self, config: AutoencoderConfig, workshop: Workshop) -> None:
        layers = (conv(3, 24, 4, stride=2), nn.LeakyReLU(0.2), conv(24, 48, 4, stride=2), nn.LeakyReLU(0.2), conv(48, 1, 3))
        self.network, self.workshop = workshop.placed(nn.Sequential(*layers)), workshop
        self.descent = Descent(self.network, learning_rate=1e-3, n_steps=config.n_steps, is_constant=True)

    def verdict(self, made: Tensor) -> Tensor:
        """Return how much is missing to pass for real."""
        with self.workshop.autocast():
            verdict: Tensor = -self.network(made).float().mean()
        return verdict

    def learn(self, images: Tensor, made: Tensor) -> None:
        """Take one step with the hinge loss."""
        with self.workshop.autocast():
            real, fake = self.network(images).float(), self.network(made).float()
        self.descent.step(F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def _encoder(config: AutoencoderConfig, n_out: int) -> nn.Sequential:
    width, layers = config.width, [conv(3, config.width, 4, stride=2)]
    for _ in range(_n_doublings(config) - 1):
        layers += [_residual(config, width, kernel=3), ACTIVATIONS[config.activation](), conv(width, 2 * width, 4, stride=2)]
        width *= 2
    return nn.Sequential(*layers, _residual(config, width, kernel=3), ACTIVATIONS[config.activation](), conv(width, n_out, 1))


def _decoder(config: AutoencoderConfig, n_in: int) -> nn.Sequential:
    n_doublings, activation = _n_doublings(config), ACTIVATIONS[config.activation]
    width = config.width * 2 ** (n_doublings - 1)
    layers: list[nn.Module] = [conv(n_in, width, 3), _residual(config, width, kernel=config.kernel)]
    for _ in range(n_doublings - 1):
        layers += [up(width, width // 2, config.up, config.kernel), _residual(config, width // 2, kernel=config.kernel)]
        width //= 2
    layers += [normalised(config.norm, width), activation()]
    if config.last_up:
        return nn.Sequential(*layers, up(width, 3, config.up, config.kernel))
    last = [up(width, width // 2, config.up, config.kernel), activation(), conv(width // 2, 3, config.kernel)]
    return nn.Sequential(*layers, *last)


def _residual(config: AutoencoderConfig, channels: int, *, kernel: int) -> Residual:
    return Residual(channels, kernel=kernel, norm=config.norm, activation=config.activation)


def _n_doublings(config: AutoencoderConfig) -> int:
    return int(np.log2(config.factor))
