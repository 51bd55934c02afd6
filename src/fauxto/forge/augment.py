"""What a critic sees of real and of made images alike, so that it cannot learn few photographs by heart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_SHIFT, CUT_OUT = 8, 2  # parts of the side: moved by an eighth at most, a square of half the side cut out


def seen(images: Tensor) -> Tensor:
    """Return images moved, recoloured and with a square cut out, each by chance, so that gradients pass (Zhao et al. 2020).

    Args:
        images: Shape (n, 3, h, w), in [-1, 1].

    Example:
        >>> seen(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """
    return _cut_out(_moved(_recoloured(images)))


def _recoloured(images: Tensor) -> Tensor:
    """Change brightness by up to a half, saturation to at most twice, contrast to between a half and one and a half times."""
    bright, saturated, contrast = (_uniform(images) for _ in range(3))
    images = images + bright - 0.5
    grey = images.mean(dim=1, keepdim=True)
    images = grey + 2 * saturated * (images - grey)
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return middle + (0.5 + contrast) * (images - middle)


def _moved(images: Tensor) -> Tensor:
    """Move each image by whole pixels; what comes in is 0."""
    n, _, height, width = images.shape
    most = max(1, height // MOST_SHIFT)
    wide = F.pad(images, (most,) * 4)
    down, right = (torch.randint(2 * most + 1, (n, 1)).to(images.device) for _ in range(2))
    rows = (down + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (right + torch.arange(width, device=images.device))[:, None, None, :]
    each = torch.arange(n, device=images.device)[:, None, None, None]
    colours = torch.arange(3, device=images.device)[None, :, None, None]
    return wide[each, colours, rows, columns]


def _cut_out(images: Tensor) -> Tensor:
    """Set a square around a point drawn by chance to 0."""
    n, _, height, width = images.shape
    half = height // CUT_OUT // 2
    inside = []
    for length, axis in ((height, 2), (width, 3)):
        middle = torch.randint(length, (n, 1)).to(images.device)
        far = (torch.arange(length, device=images.device) - middle).abs()
        inside.append((far < half).reshape(n, 1, *(length if at == axis else 1 for at in (2, 3))))
    return images * ~(inside[0] & inside[1])


def _uniform(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1).to(images.device)
