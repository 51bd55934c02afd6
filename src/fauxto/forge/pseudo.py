"""Classes for guidance; where nobody has named any, groups of like images: k-means on small versions (Lloyd 1982)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fauxto.forge.workshop import Workshop

SIDE, N_ROUNDS = 4, 10


def pseudo_classes(workshop: Workshop, n_classes: int) -> Tensor:
    """Return the class of each real image, or its group: int64, shape (n,), on the CPU; all 0 without classes."""
    n = len(workshop.reals)
    if n_classes and workshop.kind is not None:
        return workshop.kind
    if n_classes < 2:
        return torch.zeros(n, dtype=torch.int64)
    small = torch.cat(
        [F.adaptive_avg_pool2d(part.float(), SIDE).flatten(1) for part in torch.tensor_split(workshop.reals, max(1, n // 1024))]
    ).cpu()
    middles = small[torch.randperm(n)[:n_classes]]
    for _ in range(N_ROUNDS):
        nearest = torch.cdist(small, middles).argmin(dim=1)
        sums = torch.zeros_like(middles).index_add_(0, nearest, small)
        counts = torch.bincount(nearest, minlength=len(middles))[:, None]
        middles = torch.where(counts > 0, sums / counts.clamp(min=1), middles)
    return nearest
