"""What large images are asked by, over tiles: their frequencies and how their residual hangs together, or the finest traces."""

from __future__ import annotations

import copy

import numpy as np

from fauxto.errors import missing_extra
from fauxto.models.general import TraceNet
from fauxto.models.routing import block_dct, frozen

try:
    import torch
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

_LUMINANCE = (0.299, 0.587, 0.114)
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))  # how many rows and columns two pixels lie apart
_PLACE = 4  # pixels a side of what the residual's energy is local to
_FAINT = 0.1  # in squared levels of 255, as in ``audit.features``: added to energies before the logarithm
_TINY = 0.01  # keeps what is divided by the spread of a flat image at 0
STATISTICS = (
    "red and green", "green and blue", "red and blue", *(f"{down} down {across} across" for down, across in _NEIGHBOURS),
    "tails", "unevenness", "energy and brightness", "strong places", "strength",
)  # fmt: skip
REDUCED = (2, 4)  # how many times smaller the images are that the statistics are taken of
N_FREQUENCIES = 64
N_NUMBERS = N_FREQUENCIES + len(REDUCED) * len(STATISTICS)


class LargeNet(nn.Module):
    """The odds that an image's numbers are a generator's, and those of a generator's finest traces, added up.

    The first is a linear answer to ``numbers``, the second a ``TraceNet`` that learned from small images, asked at half the size.
    It is a weak sign (docs/generalisation.md).

    Args:
        traces: Is copied, and learns no more.

    Example:
        >>> LargeNet(TraceNet()).eval()(torch.zeros(2, 3, 128, 128)).shape
        torch.Size([2])
    """

    any_size = False  # a tile has the size that it has

    def __init__(self, traces: TraceNet) -> None:
        super().__init__()
        self.traces = frozen(copy.deepcopy(traces))
        self.linear = nn.Linear(N_NUMBERS, 1)
        self.register_buffer("level", torch.tensor((1.0, 0.0)))  # of the traces: what they are multiplied by, and what is added

    @staticmethod
    def of(traces: TraceNet, weights: np.ndarray, bias: float, level: tuple[float, float]) -> LargeNet:
        """Return the network with these numbers.

        Args:
            traces: As it was trained.
            weights: Of ``numbers``, shape (90,).
            bias: What is added to these.
            level: What the traces' logit is multiplied by, and what is added then.
        """
        network = LargeNet(traces)
        values = {"linear.weight": weights[None], "linear.bias": np.array([bias]), "level": np.array(level)}
        tensors = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in values.items()}
        network.load_state_dict(network.state_dict() | tensors)
        return network.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for images (n, 3, h, w) in [-1, 1], of at least 32 pixels a side."""
        times, added = self.get_buffer("level")
        one, other = self.linear(numbers(images)).squeeze(1), times * self.of_traces(images) + added
        # logaddexp, which ONNX would do by exponentials that overflow
        found: torch.Tensor = torch.maximum(one, other) + nn.functional.softplus(-(one - other).abs())
        return found

    def of_traces(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the finest traces at half the size say: logits (n,), on their own scale."""
        found: torch.Tensor = self.traces(nn.functional.avg_pool2d(images, 2))
        return found

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logit as a map of one place, (n, 1, 1): a logarithm of means is no mean of local evidence."""
        return self.forward(images)[:, None, None]


def numbers(images: torch.Tensor) -> torch.Tensor:
    """Return what is weighed: shape (n, 90), ``energies`` and then ``statistics``.

    Args:
        images: Float, shape (n, 3, h, w), in [-1, 1], of at least 32 pixels a side.
    """
    return torch.cat([energies(images), statistics(images)], dim=1)


def energies(images: torch.Tensor) -> torch.Tensor:
    """Return the logarithms of the mean energies of the luma's 8x8 block frequencies, as ``audit.features`` has them: (n, 64)."""
    return torch.log(block_dct(images.float()).square().mean(dim=1).flatten(1) + _FAINT)


def statistics(images: torch.Tensor) -> torch.Tensor:
    """Return how the residual hangs together: ``STATISTICS`` at half and at a quarter of the size, shape (n, 26).

    They are the correlations of its colours and of its neighbours, how heavy its tails are, how unevenly its energy is spread
    over the image, whether that follows brightness, whether a few places stand out, and how strong it is at all.

    Args:
        images: Float, shape (n, 3, h, w), in [-1, 1], of at least 32 pixels a side.
    """
    return torch.cat([_statistics(nn.functional.avg_pool2d(images, times)) for times in REDUCED], dim=1)


def _statistics(images: torch.Tensor) -> torch.Tensor:
    levels = 127.5 * images.float()
    residual = _residual(levels)
    weights = torch.tensor(_LUMINANCE, device=images.device).view(1, 3, 1, 1)
    luma, brightness = (residual * weights).sum(1), (levels * weights).sum(1)[:, 1:-1, 1:-1]
    red, green, blue = residual.unbind(1)
    energy = luma.square().mean(dim=(1, 2))
    found = [_correlation(one, other) for one, other in ((red, green), (green, blue), (red, blue))]
    found += [_correlation(*_apart(luma, *neighbour)) for neighbour in _NEIGHBOURS]
    found.append(torch.log(luma.pow(4).mean(dim=(1, 2)) / (energy.square() + _TINY) + 1))
    local, bright = (nn.functional.avg_pool2d(each, _PLACE) for each in (luma.square(), brightness))
    local = torch.log(local + _FAINT)
    beyond = local - local.mean(dim=(1, 2), keepdim=True)
    found += [beyond.square().mean(dim=(1, 2)).sqrt(), _correlation(local, bright), beyond.pow(3).mean(dim=(1, 2))]
    return torch.stack([*found, torch.log(energy + _FAINT)], dim=1)


def _residual(levels: torch.Tensor) -> torch.Tensor:
    """Return second differences both ways, those of ``TraceNet`` with the other sign and no border: (n, 3, h - 2, w - 2)."""
    down = levels[:, :, 1:-1] - (levels[:, :, :-2] + levels[:, :, 2:]) / 2
    return down[:, :, :, 1:-1] - (down[:, :, :, :-2] + down[:, :, :, 2:]) / 2


def _apart(values: torch.Tensor, down: int, across: int) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = values.shape[1:]
    return values[:, down:, across:], values[:, : height - down, : width - across]


def _correlation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return each pair's correlation, shape (n,); 0 where one of them is flat."""
    one, other = (each - each.mean(dim=(1, 2), keepdim=True) for each in (one, other))
    spreads = one.square().mean(dim=(1, 2)) * other.square().mean(dim=(1, 2))
    return (one * other).mean(dim=(1, 2)) / (spreads.sqrt() + _TINY)
