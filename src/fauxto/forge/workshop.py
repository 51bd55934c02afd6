"""Where a member learns: the real images on a device, the precision, seeded batches, and the loss that it ended with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fauxto.errors import TrainingError
from fauxto.training.processes import computes_in_bf16, keep_large_blocks

Network = TypeVar("Network", bound=nn.Module)
AT_ONCE = 128 * 64**2  # pixels in one go where no gradient is needed
MOST, MOST_ON_GPU = 128, 512  # images in one go; with as few as a processor's caches like, a GPU would wait for its orders


@dataclass(frozen=True, eq=False)
class Forged:
    """Images that a member made.

    Attributes:
        images: uint8, shape (n, size, size, 3).
        source: int64, shape (n,): position of the real image that was reconstructed; -1 where there is none.
    """

    images: np.ndarray
    source: np.ndarray


class Workshop:
    """The real images and the machine that the members of a forge share.

    Attributes:
        reals: uint8, shape (n, 3, size, size), on the device.
        device: Where members learn.
        in_bf16: Whether convolutions are computed in bfloat16.
        progress: Called with (done, total) steps.
        kind: int64, shape (n,), on the CPU: what each image shows, counted from 0; None where nobody has said.
    """

    def __init__(
        self,
        reals: np.ndarray,
        *,
        kinds: Sequence[str] = (),
        device: str = "auto",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        keep_large_blocks()
        torch.backends.cudnn.deterministic = True
        self.device = found_device(device)
        self.in_bf16 = computes_in_bf16(self.device.type)
        self.reals = torch.from_numpy(reals).permute(0, 3, 1, 2).contiguous().to(self.device)
        self.kind = torch.from_numpy(np.unique(kinds, return_inverse=True)[1]) if kinds else None
        self.progress = progress or (lambda done, total: None)
        self._losses: list[Tensor] = []

    @property
    def size(self) -> int:
        """Height and width of the images, pixels."""
        return self.reals.shape[-1]

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in bfloat16 where the device does so itself."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bf16)

    def placed(self, network: Network) -> Network:
        """Return the network on the device."""
        placed: Network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed

    def real(self, positions: Tensor) -> Tensor:
        """Return real images as float32 in [-1, 1]: shape (n, 3, size, size)."""
        images = self.reals[positions.to(self.device)].float() / 127.5 - 1
        return images.to(memory_format=torch.channels_last)

    def batches(self, n_steps: int, *, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of real images drawn by chance, half of them mirrored, with their positions; tell how far it is."""
        self._losses.clear()
        for step in range(n_steps):
            positions = torch.randint(len(self.reals), (batch_size,))
            mirrored = torch.rand(batch_size, 1, 1, 1).to(self.device) < 0.5
            images = self.real(positions)
            yield torch.where(mirrored, images.flip(3), images), positions
            self.progress(step + 1, n_steps)

    def drawn(self, draw: Callable[[int], Tensor], n: int) -> Forged:
        """Return ``n`` images that reconstruct nothing; tell how far it is.

        Args:
            draw: Returns so many images in [-1, 1], shape (n, 3, size, size).
            n: How many in all.
        """
        parts: list[np.ndarray] = []
        for size in batch_sizes(n, size=self.size, most=MOST_ON_GPU if self.device.type == "cuda" else MOST):
            parts.append(to_pixels(draw(size)))
            self.progress(sum(map(len, parts)), n)
        return Forged(np.concatenate(parts), np.full(n, -1, np.int64))

    def note(self, loss: Tensor) -> None:
        """Remember the loss of a step."""
        self._losses.append(loss.detach().float())

    def final_loss(self) -> float:
        """Return the mean loss of the last steps, a tenth of all.

        Raises:
            TrainingError: It is not a number.
        """
        last = self._losses[-max(1, len(self._losses) // 10) :]
        loss = float(torch.stack(last).mean())
        if not np.isfinite(loss):
            raise TrainingError("the loss became NaN: lower the learning rate of this member in the recipe")
        return loss


class Descent:
    """Adam with a short warm-up and, unless it stays constant, a cosine to zero."""

    def __init__(
        self,
        network: nn.Module,
        *,
        learning_rate: float,
        n_steps: int,
        betas: tuple[float, float] = (0.9, 0.99),
        is_constant: bool = False,
    ) -> None:
        self.parameters = [one for one in network.parameters() if one.requires_grad]
        self.adam = torch.optim.Adam(self.parameters, lr=learning_rate, betas=betas)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.adam, lambda step: _share_of_rate(step, n_steps, is_constant))

    def step(self, loss: Tensor) -> None:
        """Go one step down."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adam.step()
        self.schedule.step()


def to_pixels(images: Tensor) -> np.ndarray:
    """Return images in [-1, 1] as uint8, shape (n, h, w, 3); what lies outside is cut off.

    Example:
        >>> to_pixels(torch.tensor([[[[-1.0]], [[0.0]], [[2.0]]]])).ravel().tolist()
        [0, 128, 255]
    """
    levels = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())


def batch_sizes(n: int, *, size: int, most: int = MOST) -> list[int]:
    """Return how many of ``n`` images of a size to make in one go, and in the next; ``most`` at most.

    Example:
        >>> batch_sizes(300, size=32), batch_sizes(20, size=256)
        ([128, 128, 44], [8, 8, 4])
        >>> batch_sizes(600, size=32, most=512), batch_sizes(20, size=256, most=512)
        ([512, 88], [8, 8, 4])
    """
    at_once = max(1, min(most, AT_ONCE // size**2))
    return [min(at_once, n - start) for start in range(0, n, at_once)]


def found_device(name: str) -> torch.device:
    """Return a device by its name; "auto" takes the fastest that is there.

    Raises:
        TrainingError: It is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name!r} cannot be used ({' '.join(str(error).split())[:100]}): try --device cpu") from error
    return torch.device(name)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch, and give its generators back as they were."""
    devices: list[Any] = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _share_of_rate(step: int, n_steps: int, is_constant: bool) -> float:
    warm = min(1.0, (step + 1) / max(1, n_steps // 20))
    return warm if is_constant else warm * 0.5 * (1 + float(np.cos(np.pi * min(1.0, step / n_steps))))
