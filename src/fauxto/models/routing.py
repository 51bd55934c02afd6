"""Which images are encoded as the training's were, and layers that treat these otherwise than all others."""

from __future__ import annotations

import copy
import math
from typing import TypeAlias, TypeVar

from fauxto.errors import missing_extra

try:
    import torch
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

Module = TypeVar("Module", bound="nn.Module")
# Bool, shape (n,): which images are on the grid; or where these come first, as in training, how many they are.
Route: TypeAlias = "torch.Tensor | int"

# The luminance table of the JPEG standard (ITU-T T.81, annex K), which libjpeg's quality 75 halves, rounding up.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
STEPS = tuple(tuple((step + 1) // 2 for step in row) for row in _LUMINANCE)
BLOCK = 8
OFF_GRID = 1.5  # as far from a multiple of its step, a coefficient was not rounded to it: decoding moves it by 0.3 to 0.5
MAX_SHARE_OFF = 0.45  # 1 % of CIFAKE's images lie above, 1 % of those saved at quality 40 under 0.56 (docs/LOG.md)


def is_on_grid(images: torch.Tensor) -> torch.Tensor:
    """Tell which images were last saved as JPEG of quality 75, and not moved since: bool, shape (n,).

    The DCT coefficients of such an image's luminance lie close to multiples of the codec's steps (Fan and de Queiroz 2003). Told
    by the share of coefficients, among those that are not next to 0, that do not.

    Args:
        images: Float, shape (n, 3, h, w), in [-1, 1]; rows and columns beyond the last whole 8x8 block have no say.

    Example:
        >>> is_on_grid(torch.zeros(2, 3, 32, 32)).tolist()
        [True, True]
    """
    with torch.autocast(images.device.type, enabled=False):
        coefficients = block_dct(images.float())
        steps = torch.tensor(STEPS, dtype=torch.float32, device=images.device)
        multiples = torch.round(coefficients / steps)
        is_used = (multiples != 0).flatten(1).float()
        is_off = ((coefficients - multiples * steps).abs() > OFF_GRID).flatten(1).float()
        return (is_off * is_used).sum(1) < MAX_SHARE_OFF * is_used.sum(1).clamp(min=1)


def block_dct(images: torch.Tensor) -> torch.Tensor:
    """Return the orthonormal DCT-II of each whole block's luminance, in levels of 255: shape (n, blocks, 8, 8)."""
    weights = torch.tensor((0.299, 0.587, 0.114), device=images.device).view(1, 3, 1, 1)
    luminance = 127.5 * (images * weights).sum(1) - 0.5  # 0 is level 128
    rows, columns = (side // BLOCK for side in luminance.shape[1:])
    blocks = luminance[:, : rows * BLOCK, : columns * BLOCK].reshape(images.shape[0], rows, BLOCK, columns, BLOCK)
    at = torch.arange(BLOCK, dtype=torch.float32, device=images.device)
    basis = math.sqrt(2 / BLOCK) * torch.cos((2 * at + 1) * at[:, None] * math.pi / (2 * BLOCK))
    basis = torch.cat([basis[:1] / math.sqrt(2), basis[1:]])
    found: torch.Tensor = basis @ blocks.transpose(2, 3).flatten(1, 2) @ basis.T
    return found


class RoutedNorm(nn.Module):
    """Batch normalisation with statistics of their own for images on the grid (Xie et al. 2020, arXiv 1911.09665).

    Args:
        norm: That of all others; it learns nothing more.
    """

    takes_route = True

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.on_grid, self.off_grid = _learning_copy(norm), frozen(norm)

    def forward(self, hidden: torch.Tensor, route: Route) -> torch.Tensor:
        """Return (n, channels, h, w) normalised."""
        other_scale, other_shift = _affine(self.off_grid)
        if isinstance(route, int):
            others = (hidden[route:] * other_scale + other_shift).to(hidden.dtype)
            return torch.cat([_normalised(self.on_grid, hidden[:route]), others])
        scale, shift = _affine(self.on_grid)
        chosen = route.view(-1, 1, 1, 1)
        return hidden * torch.where(chosen, scale, other_scale) + torch.where(chosen, shift, other_shift)


class RoutedConvolution(nn.Module):
    """A convolution to whose kernel one of low rank is added for images on the grid (Hu et al. 2022, arXiv 2106.09685).

    Args:
        convolution: That of all others, 3x3; it learns nothing more.
        rank: Of what is added, which begins as nothing at all.
    """

    takes_route = True

    def __init__(self, convolution: nn.Conv2d, *, rank: int) -> None:
        super().__init__()
        self.base, stride = frozen(convolution), convolution.stride[0]
        self.down = nn.Conv2d(convolution.in_channels, rank, kernel_size=3, stride=stride, padding=1, bias=False)
        self.up = nn.Conv2d(rank, convolution.out_channels, kernel_size=1, bias=False)
        nn.init.kaiming_normal_(self.down.weight)
        nn.init.zeros_(self.up.weight)

    def forward(self, hidden: torch.Tensor, route: Route) -> torch.Tensor:
        """Return (n, channels, h, w) convolved."""
        if not isinstance(route, int):
            return self.base(hidden) + route.view(-1, 1, 1, 1) * self.up(self.down(hidden))  # type: ignore[no-any-return]
        added = torch.einsum("or,rihw->oihw", self.up.weight[:, :, 0, 0], self.down.weight)
        kernel = (self.base.weight + added).contiguous(memory_format=torch.channels_last)
        on_grid = nn.functional.conv2d(hidden[:route], kernel, None, self.base.stride, self.base.padding)
        return torch.cat([on_grid, self.base(hidden[route:])])


class RoutedHead(nn.Module):
    """Two layers of the same kind: one for images on the grid, one, which learns nothing more, for all others."""

    takes_route = True

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.on_grid, self.off_grid = _learning_copy(layer), frozen(layer)

    def forward(self, hidden: torch.Tensor, route: Route) -> torch.Tensor:
        """Return what each image's own layer makes of it."""
        if isinstance(route, int):
            return torch.cat([self.on_grid(hidden[:route]), self.off_grid(hidden[route:])])
        return torch.where(route.view(-1, 1, 1, 1), self.on_grid(hidden), self.off_grid(hidden))


def frozen(module: Module) -> Module:
    """Return a module whose weights no optimizer moves any more."""
    return module.requires_grad_(False)


def _learning_copy(module: Module) -> Module:
    return copy.deepcopy(module).requires_grad_(True)


def _normalised(norm: nn.BatchNorm2d, hidden: torch.Tensor) -> torch.Tensor:
    """No image has no statistics; the weights must still be part of the answer, or several processes would wait for them."""
    if hidden.shape[0]:
        return norm(hidden)  # type: ignore[no-any-return]
    return hidden * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def _affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what normalising with known statistics multiplies by and adds: (1, channels, 1, 1) each."""
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return scale.view(1, -1, 1, 1), (norm.bias - mean * scale).view(1, -1, 1, 1)
