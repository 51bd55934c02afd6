"""What the members' networks are built of: convolutions, up-sampling, normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky": partial(nn.LeakyReLU, 0.2),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


def normalised(name: str, channels: int) -> nn.Module:
    """Return a normalisation: "none", "batch" or "group"."""
    if name == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(8, channels), channels) if name == "group" else nn.Identity()


def conv(n_in: int, n_out: int, kernel: int = 3, *, stride: int = 1) -> nn.Module:
    """Return a convolution that keeps the size, or halves it at stride 2; any kernel from 1."""
    if stride == 1 and kernel % 2 == 0:
        before = (kernel - 1) // 2
        padding = nn.ZeroPad2d((before, kernel - 1 - before) * 2)
        return nn.Sequential(padding, nn.Conv2d(n_in, n_out, kernel))
    return nn.Conv2d(n_in, n_out, kernel, stride, padding=(kernel - 1) // 2)


def up(n_in: int, n_out: int, how: str, kernel: int) -> nn.Module:
    """Return what doubles the size: "transposed", "nearest" and "bilinear" before a convolution, or "shuffle" after one."""
    if how == "transposed":
        return nn.ConvTranspose2d(n_in, n_out, kernel, 2, padding=(kernel - 1) // 2, output_padding=kernel % 2)
    if how == "shuffle":
        return nn.Sequential(conv(n_in, 4 * n_out, kernel), nn.PixelShuffle(2))
    larger = nn.Upsample(scale_factor=2, mode=how, align_corners=False if how == "bilinear" else None)
    return nn.Sequential(larger, conv(n_in, n_out, kernel))


class Residual(nn.Module):
    """Two convolutions beside a straight way; it begins as the identity."""

    def __init__(self, channels: int, *, kernel: int = 3, norm: str = "group", activation: str = "silu") -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        first, second = conv(channels, channels, kernel), conv(channels, channels, kernel)
        self.change = nn.Sequential(normalised(norm, channels), act(), first, normalised(norm, channels), act(), second)
        begin_at_zero(second)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, channels, h, w) to the same."""
        changed: Tensor = x + self.change(x)
        return changed


def begin_at_zero(layer: nn.Module) -> None:
    """Set all weights to zero, so that a residual block begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def begin_evenly(network: nn.Module) -> None:
    """Draw convolutions that keep the size of their input's numbers, where PyTorch's own shrink them and cost many steps.

    Those that begin at zero stay there.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and bool(layer.weight.any()):
            n_shared = math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1
            n_in = layer.in_channels * math.prod(layer.kernel_size) / n_shared
            nn.init.normal_(layer.weight, std=n_in**-0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
