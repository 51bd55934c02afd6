"""The network of diffusion and flow: a small U-Net that knows the time and, where asked, a class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fauxto.forge.blocks import begin_at_zero


class UNet(nn.Module):
    """Noisy images, times and classes to what is predicted, of the images' shape.

    Args:
        width: Channels at the first level; the other two have twice as many.
        patch: Pixels a side that become one position of the first level.
        n_classes: Classes; one more stands for "any".
    """

    def __init__(self, *, width: int, patch: int, n_classes: int) -> None:
        super().__init__()
        n_time, widths = 4 * width, (width, 2 * width, 2 * width)
        self.patch, self.width = patch, width
        self.time = nn.Sequential(nn.Linear(width, n_time), nn.SiLU(), nn.Linear(n_time, n_time))
        self.classes = nn.Embedding(n_classes + 1, n_time)
        self.first = nn.Conv2d(3 * patch**2, width, 3, padding=1)
        self.down = nn.ModuleList(
            TimedResidual(n_in, n_out, n_time) for n_in, n_out in zip((width, *widths), widths, strict=False)
        )
        self.middle = TimedResidual(widths[-1], widths[-1], n_time)
        self.attention = Attention(widths[-1])
        ways_in = [widths[2] * 2, widths[2] + widths[1], widths[1] + widths[0]]
        self.up = nn.ModuleList(TimedResidual(n_in, n_out, n_time) for n_in, n_out in zip(ways_in, widths[::-1], strict=True))
        self.last = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, 3 * patch**2, 3, padding=1))
        begin_at_zero(self.last[2])

    def forward(self, x: Tensor, t: Tensor, classes: Tensor) -> Tensor:
        """Return the prediction, float32.

        Args:
            x: Shape (n, 3, s, s).
            t: Shape (n,), in [0, 1].
            classes: int64, shape (n,); ``n_classes`` itself means any.
        """
        known = F.silu(self.time(frequencies(t, self.width)) + self.classes(classes))
        x = self.first(F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        skipped = []
        for number, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if number else x, known)
            skipped.append(x)
        x = self.attention(self.middle(x, known))
        for number, block in enumerate(self.up):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0) if number else x, skipped.pop()], dim=1), known)
        return F.pixel_shuffle(self.last(x).float(), self.patch)


class TimedResidual(nn.Module):
    """Two convolutions, scaled and shifted by the time between them."""

    def __init__(self, n_in: int, n_out: int, n_time: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(8, n_in), nn.GroupNorm(8, n_out)])
        self.convs = nn.ModuleList([nn.Conv2d(n_in, n_out, 3, padding=1), nn.Conv2d(n_out, n_out, 3, padding=1)])
        self.scale = nn.Linear(n_time, 2 * n_out)
        self.straight = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        begin_at_zero(self.convs[1])

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Shape (n, n_in, h, w) and (n, n_time) to (n, n_out, h, w)."""
        scale, shift = self.scale(known)[:, :, None, None].chunk(2, dim=1)
        changed = self.norms[1](self.convs[0](F.silu(self.norms[0](x)))) * (1 + scale) + shift
        result: Tensor = self.straight(x) + self.convs[1](F.silu(changed))
        return result


class Attention(nn.Module):
    """Every position of the lowest level looks at all others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.ask = nn.GroupNorm(8, channels), nn.Conv2d(channels, 3 * channels, 1)
        self.answer = nn.Conv2d(channels, channels, 1)
        begin_at_zero(self.answer)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, channels, h, w) to the same."""
        query, key, value = self.ask(self.norm(x)).flatten(2).transpose(1, 2).contiguous().chunk(3, dim=2)
        seen = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = x + self.answer(seen.transpose(1, 2).reshape(x.shape))
        return result


def frequencies(t: Tensor, n: int) -> Tensor:
    """Return sines and cosines of times in [0, 1]: shape (n_times, n)."""
    rates = torch.exp(torch.linspace(0, math.log(1000), n // 2, device=t.device))
    angles = t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
