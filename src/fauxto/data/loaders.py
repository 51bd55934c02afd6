"""A store to seeded batches; every batch is a function of (seed, epoch, step) alone, so that a run can go on anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.preprocess import PreprocessSpec, fit_square, to_network_input


def n_steps(n_images: int, *, batch_size: int, world_size: int = 1) -> int:
    """Return how many optimizer steps one epoch takes; a last batch with under two images per process is dropped.

    Batch normalisation cannot learn from a single value, hence the two.

    Example:
        >>> n_steps(33, batch_size=16), n_steps(34, batch_size=16)
        (2, 3)
    """
    whole, rest = divmod(n_images, batch_size * world_size)
    return whole + (rest >= 2 * world_size)


def train_batches(
    store: Store,
    positions: Positions,
    spec: PreprocessSpec,
    *,
    batch_size: int,
    horizontal_flip: float,
    seed: int,
    epoch: int,
    first_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield shuffled, augmented batches of one epoch from ``first_step`` on.

    Args:
        store: Decoded images.
        positions: Those of the training part.
        spec: What the network's input must be.
        batch_size: Images per step and process.
        horizontal_flip: Probability of mirroring an image.
        seed: With ``epoch``, decides order and augmentation.
        epoch: Counted from 0.
        first_step: Where an interrupted epoch goes on.
        rank: This process's number.
        world_size: How many processes share the epoch.

    Yields:
        Images float32 (n, 3, size, size) and labels float32 (n,), 1 = fake.
    """
    order = np.random.default_rng([seed, epoch]).permutation(positions)
    labels = store.is_fake
    together = batch_size * world_size
    for step in range(first_step, n_steps(len(order), batch_size=batch_size, world_size=world_size)):
        mine = order[step * together : (step + 1) * together][rank::world_size]
        images = torch.from_numpy(network_input(store, mine, spec))
        flips = np.random.default_rng([seed, epoch, step, rank]).random(len(mine)) < horizontal_flip
        yield flipped(images, torch.from_numpy(flips)), torch.from_numpy(labels[mine].astype(np.float32))


def network_input(store: Store, positions: Positions, spec: PreprocessSpec) -> np.ndarray:
    """Return images as the network sees them: float32, shape (n, 3, size, size)."""
    if store.is_uniform and store.height[0] == store.width[0] == spec.size:
        return to_network_input(store.batch(positions), spec)
    return to_network_input(np.stack([fit_square(store.image(at), size=spec.size) for at in positions]), spec)


def flipped(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Mirror the chosen images left to right.

    Args:
        images: (n, c, h, w).
        chosen: Bool, (n,).

    Example:
        >>> flipped(torch.tensor([[[[1, 2]]], [[[3, 4]]]]), torch.tensor([True, False])).flatten().tolist()
        [2, 1, 3, 4]
    """
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)
