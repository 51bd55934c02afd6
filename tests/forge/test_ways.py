"""How a flow is walked and what autoencoders learn from: against answers that are known without a network."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from fauxto.forge.autoencoders import piece
from fauxto.forge.flow import Walk, _walked
from fauxto.forge.workshop import Workshop

SPREAD = 0.2


class OfGaussians:
    """What a perfect network would say of images whose pixels are independent and normal."""

    def guided(self, n: int, guidance: float, workshop: Workshop) -> Any:
        def slope(x: Tensor, t: Tensor) -> Tensor:
            now = float(t[0])
            variance = now**2 * SPREAD**2 + (1 - now) ** 2
            image, noise = now * SPREAD**2 / variance * x, (1 - now) / variance * x
            return image - noise

        return slope


@pytest.mark.parametrize(("method", "n_steps"), [("euler", 200), ("heun", 40), ("ancestral", 200)])
def test_a_perfect_network_leads_to_images_of_the_right_spread(method: Any, n_steps: int, workshop: Workshop) -> None:
    torch.manual_seed(0)
    drawn = _walked(cast(Any, OfGaussians()), Walk(n_steps=n_steps, method=method), 64, workshop)
    assert drawn.shape == (64, 3, workshop.size, workshop.size)
    assert drawn.std().item() == pytest.approx(SPREAD, rel=0.03)


def test_ancestral_steps_forget_the_noise_that_they_began_with(workshop: Workshop) -> None:
    ends = {}
    for method in ("euler", "ancestral"):
        torch.manual_seed(3)
        began = torch.randn(16, 3, workshop.size, workshop.size)
        torch.manual_seed(3)
        ends[method] = _walked(cast(Any, OfGaussians()), Walk(n_steps=100, method=cast(Any, method)), 16, workshop)
        ends[method] = torch.corrcoef(torch.stack([began.ravel(), ends[method].ravel()]))[0, 1]
    assert ends["euler"] > 0.99
    assert abs(ends["ancestral"]) < 0.3


def test_a_piece_is_a_square_of_the_images_and_small_ones_come_whole() -> None:
    images = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    assert piece(images, 8) is images
    assert piece(images, 64) is images
    places = set()
    for seed in range(20):
        torch.manual_seed(seed)
        cut = piece(images, 6)
        corner = int(cut[0, 0, 0, 0])
        top, left = divmod(corner, 8)
        torch.testing.assert_close(cut, images[:, :, top : top + 6, left : left + 6])
        places.add((top, left))
    assert len(places) > 4
