"""Mixtures of discretised logistic distributions over 256 levels of three colours, the later given the earlier (PixelCNN++)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

N_PER_MIXTURE = 10  # one weight; mean and scale of three colours; three slopes of colour on colour
LEAST_LOG_SCALE, FIRST_LOG_SCALE = -7.0, -2.5  # the latter is that of an untrained network


def pixel_loss(images: Tensor, found: Tensor) -> Tensor:
    """Return the mean bits per number.

    Args:
        images: Shape (n, 3, h, w), multiples of 1 / 127.5 in [-1, 1].
        found: Shape (n, 10 k, h, w).
    """
    values = images.permute(0, 2, 3, 1).reshape(-1, 3, 1)
    weights, means, log_scales, slopes = _split(found.permute(0, 2, 3, 1).flatten(0, 2))
    means = _given(means, slopes, values)
    centred, rate = values - means, torch.exp(-log_scales)
    upper, lower = rate * (centred + 1 / 255), rate * (centred - 1 / 255)
    inside = torch.log((torch.sigmoid(upper) - torch.sigmoid(lower)).clamp(min=1e-12))
    logs = torch.where(values < -0.999, F.logsigmoid(upper), torch.where(values > 0.999, F.logsigmoid(-lower), inside))
    total = torch.logsumexp(logs.sum(dim=1) + F.log_softmax(weights, dim=1), dim=1)
    return -total.mean() / (3 * math.log(2))


def draw_pixels(found: Tensor, temperature: float) -> Tensor:
    """Return one colour per row: shape (m, 3), multiples of 1 / 127.5 in [-1, 1].

    Args:
        found: Shape (m, 10 k).
        temperature: Multiplies every scale.
    """
    weights, means, log_scales, slopes = _split(found.float())
    chosen = torch.multinomial(torch.softmax(weights, dim=1).cpu(), 1).to(found.device)[:, None]
    means, log_scales, slopes = (part.gather(2, chosen.expand(-1, 3, -1))[:, :, 0] for part in (means, log_scales, slopes))
    even = torch.rand(means.shape).to(found.device).clamp(1e-5, 1 - 1e-5)
    noise = temperature * torch.exp(log_scales) * (torch.log(even) - torch.log1p(-even))
    red = _level(means[:, 0] + noise[:, 0])
    green = _level(means[:, 1] + slopes[:, 0] * red + noise[:, 1])
    blue = _level(means[:, 2] + slopes[:, 1] * red + slopes[:, 2] * green + noise[:, 2])
    return torch.stack([red, green, blue], dim=1)


def _split(found: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return weights (m, k), means, log scales and slopes (m, 3, k)."""
    k = found.shape[1] // N_PER_MIXTURE
    weights, rest = found[:, :k], found[:, k:].reshape(len(found), 9, k)
    return weights, rest[:, :3], (rest[:, 3:6] + FIRST_LOG_SCALE).clamp(min=LEAST_LOG_SCALE), torch.tanh(rest[:, 6:])


def _given(means: Tensor, slopes: Tensor, values: Tensor) -> Tensor:
    """Return the means of green given red, and of blue given both."""
    red, green = values[:, 0], values[:, 1]
    shift = [torch.zeros_like(means[:, 0]), slopes[:, 0] * red, slopes[:, 1] * red + slopes[:, 2] * green]
    return means + torch.stack(shift, dim=1)


def _level(values: Tensor) -> Tensor:
    return ((values.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
