"""A store to seeded batches; every batch is a function of (seed, epoch, step) alone, so that a run can go on anywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from fauxto.config import TrainConfig
from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.perturb import training_perturbed
from fauxto.preprocess import PreprocessSpec, cut_square, fit_square, normalised, recoded, to_network_input

T = TypeVar("T")


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
    config: TrainConfig,
    *,
    epoch: int,
    weight: np.ndarray | None = None,
    first_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    n_workers: int = 0,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, Positions]]:
    """Yield shuffled, augmented batches of one epoch from ``first_step`` on.

    Args:
        store: Decoded images.
        positions: Those of the training part.
        spec: What the network's input must be.
        config: Batch size per process, augmentation and seed.
        epoch: Counted from 0; with ``config.seed``, decides order and augmentation.
        weight: How often each of the positions is wanted, up to a factor, (n,): an epoch then draws as many images as there are,
            with replacement. None takes each once.
        first_step: Where an interrupted epoch goes on.
        rank: This process's number.
        world_size: How many processes share the epoch.
        n_workers: Threads that make batches ahead; 0 makes each when it is asked for. The batches are the same.

    Yields:
        Images float32 (n, 3, size, size), smaller while only cut-outs are shown, labels float32 (n,), 1 = fake,
        and the images' positions in the store, (n,).
    """
    shuffled = np.random.default_rng([config.seed, epoch])
    order = shuffled.permutation(positions) if weight is None else _drawn(positions, weight, shuffled)
    together = config.batch_size * world_size

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor, Positions]:
        mine = order[step * together : (step + 1) * together][rank::world_size]
        rng = np.random.default_rng([config.seed, epoch, step, rank])
        images = augmented(squares(store, mine, spec, rng=rng), spec, config, rng)
        if 0 < config.crop < spec.size and epoch < round(config.crop_share * config.max_epochs):
            images = cropped(images, rng.integers(0, spec.size - config.crop + 1, (len(images), 2)), size=config.crop)
        return torch.from_numpy(normalised(images, spec)), torch.from_numpy(store.is_fake[mine].astype(np.float32)), mine

    steps = range(first_step, n_steps(len(order), batch_size=config.batch_size, world_size=world_size))
    yield from _made_ahead(batch, steps, n_workers=n_workers) if n_workers else map(batch, steps)


def augmented(images: np.ndarray, spec: PreprocessSpec, config: TrainConfig, rng: np.random.Generator) -> np.ndarray:
    """Return images mirrored, perturbed, recoded and moved as the configuration says: uint8, shape (n, size, size, 3).

    They are recoded before they are moved or cut out, while they still lie on the codec's grid, as every later image will.
    """
    images = flipped(images, rng.random(len(images)) < config.horizontal_flip)
    if config.perturb_share:
        images = training_perturbed(images, rng, share=config.perturb_share)
    images = _partly_recoded(images, config, rng) if config.recode_share < 1 else recoded(images, spec)
    if config.shift:
        images = shifted(images, rng.integers(-config.shift, config.shift + 1, (len(images), 2)))
    return images


def _partly_recoded(images: np.ndarray, config: TrainConfig, rng: np.random.Generator) -> np.ndarray:
    """The finished detector will see images as they are: what the codec leaves of an image must be no sign of its class."""
    spec = PreprocessSpec(recode=config.recode, recode_from=config.recode_from)
    chosen = rng.random(len(images)) < config.recode_share
    saved = recoded(images[chosen], spec)
    if config.jitter:
        is_new = (saved != images[chosen]).any(axis=(1, 2, 3))  # what lies on the codec's grid would be saved twice
        saved[is_new] = recoded(jittered(images[chosen][is_new], rng, amount=config.jitter), spec)
    images = images.copy()
    images[chosen] = saved
    return images


def jittered(images: np.ndarray, rng: np.random.Generator, *, amount: float) -> np.ndarray:
    """Return images sharper or softer and with more or less contrast, so that neither is a sign of anything.

    Args:
        images: uint8, shape (n, h, w, 3).
        rng: Decides how much.
        amount: Of what a [1, 2, 1] blur takes away, at most so much is added or taken; contrast changes by a third of it at most.

    Example:
        >>> grey = np.full((1, 4, 4, 3), 100, np.uint8)
        >>> bool((jittered(grey, np.random.default_rng(0), amount=0.8) == grey).all())
        True
    """
    exact, n = images.astype(np.float32), (len(images), 1, 1, 1)
    wide = np.pad(exact, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    soft = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    soft = (soft[:, :, :-2] + 2 * soft[:, :, 1:-1] + soft[:, :, 2:]) / 4
    sharper = exact + rng.uniform(-amount, amount, n).astype(np.float32) * (exact - soft)
    mean = exact.mean(axis=(1, 2, 3), keepdims=True)
    contrast = np.exp(rng.uniform(-amount / 3, amount / 3, n)).astype(np.float32)
    found: np.ndarray = np.rint(mean + contrast * (sharper - mean)).clip(0, 255).astype(np.uint8)
    return found


def _drawn(positions: Positions, weight: np.ndarray, rng: np.random.Generator) -> Positions:
    return rng.choice(positions, len(positions), p=weight / weight.sum())


def network_input(store: Store, positions: Positions, spec: PreprocessSpec) -> np.ndarray:
    """Return images as the network sees them: float32, shape (n, 3, size, size)."""
    return to_network_input(squares(store, positions, spec), spec)


def squares(store: Store, positions: Positions, spec: PreprocessSpec, *, rng: np.random.Generator | None = None) -> np.ndarray:
    """Return images in the network's size: uint8, shape (n, size, size, 3).

    Args:
        store: Decoded images.
        positions: Which of them.
        spec: What the network's input must be.
        rng: Where a spec takes the middle of larger images, decides instead which square of their own pixels is taken.
    """
    if store.is_uniform and store.height[0] == store.width[0] == spec.size:
        return store.batch(positions)
    images = (store.image(at) for at in positions)
    if rng is not None and spec.fit == "centre":
        images = (cut_square(image, at=(rng.random(), rng.random()), size=spec.size) for image in images)
    found = [fit_square(image, size=spec.size, fit=spec.fit) for image in images]
    return np.stack(found) if found else np.zeros((0, spec.size, spec.size, 3), np.uint8)


def flipped(images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mirror the chosen images left to right.

    Args:
        images: (n, h, w, c).
        chosen: Bool, (n,).

    Example:
        >>> flipped(np.array([[[[1], [2]]], [[[3], [4]]]]), np.array([True, False])).ravel().tolist()
        [2, 1, 3, 4]
    """
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def shifted(images: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Move each image by whole pixels; what comes in at the border is the image mirrored there.

    Args:
        images: (n, h, w, c).
        offsets: Int, (n, 2): down and to the right; each below the image's own side.

    Example:
        >>> shifted(np.array([[[[1], [2], [3]]]]), np.array([[0, 1]])).ravel().tolist()
        [2, 1, 2]
    """
    height, width = images.shape[1:3]
    rows = _mirrored(np.arange(height) - offsets[:, :1], height)
    columns = _mirrored(np.arange(width) - offsets[:, 1:], width)
    each = np.arange(len(images))[:, None, None]
    moved: np.ndarray = images[each, rows[:, :, None], columns[:, None, :]]
    return moved


def cropped(images: np.ndarray, corners: np.ndarray, *, size: int) -> np.ndarray:
    """Cut a square out of each image.

    Args:
        images: (n, h, w, c).
        corners: Int, (n, 2): the row and the column where its square begins.
        size: Its side.

    Example:
        >>> cropped(np.array([[[[1], [2]], [[3], [4]]]]), np.array([[1, 0]]), size=1).ravel().tolist()
        [3]
    """
    each, along = np.arange(len(images))[:, None, None], np.arange(size)
    cut: np.ndarray = images[each, (corners[:, :1] + along)[:, :, None], (corners[:, 1:] + along)[:, None, :]]
    return cut


def _mirrored(index: np.ndarray, n: int) -> np.ndarray:
    """Return indices outside of 0 to n - 1 reflected at the first and last one."""
    inside: np.ndarray = (n - 1) - np.abs((n - 1) - np.abs(index))
    return inside


def _made_ahead(make: Callable[[int], T], steps: range, *, n_workers: int) -> Iterator[T]:
    """Yield ``make(step)`` in order, made by threads that are at most two steps each ahead."""
    with ThreadPoolExecutor(n_workers) as pool:
        waiting: deque[Future[T]] = deque()
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) > 2 * n_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
