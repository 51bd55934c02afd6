"""A linear answer to how much energy each frequency of an image's 8x8 blocks has: what large images are asked by, over tiles."""

from __future__ import annotations

import numpy as np

from fauxto.errors import missing_extra
from fauxto.models.routing import block_dct

try:
    import torch
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

FAINT = 0.1  # as in ``audit.features``: added to energies, in squared levels of 255, before the logarithm
N_FREQUENCIES = 64


class SpectralNet(nn.Module):
    """The logarithms of the mean energies of the luma's 64 block frequencies, standardised, times a weight each.

    It is mostly a measure of sharpness, and no more than that is claimed for it (docs/generalisation.md).

    Example:
        >>> SpectralNet()(torch.zeros(2, 3, 32, 50)).shape
        torch.Size([2])
    """

    any_size = True  # for export: height and width of its input are free

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(N_FREQUENCIES))
        self.register_buffer("spread", torch.ones(N_FREQUENCIES))
        self.linear = nn.Linear(N_FREQUENCIES, 1)

    @staticmethod
    def of(mean: np.ndarray, spread: np.ndarray, weights: np.ndarray, bias: float) -> SpectralNet:
        """Return the network with these numbers: (64,) each, in the order of ``audit.features.dct_energies``."""
        network = SpectralNet()
        tensors = {"mean": mean, "spread": spread, "linear.weight": weights[None], "linear.bias": np.array([bias])}
        network.load_state_dict({name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in tensors.items()})
        return network.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for images (n, 3, h, w) in [-1, 1], of at least 8 pixels a side."""
        energies = block_dct(images).square().mean(dim=1).flatten(1)
        features = (torch.log(energies + FAINT) - self.get_buffer("mean")) / self.get_buffer("spread")
        return self.linear(features).squeeze(1)  # type: ignore[no-any-return]

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logit as a map of one place, (n, 1, 1): a logarithm of means is no mean of local evidence."""
        return self.forward(images)[:, None, None]
