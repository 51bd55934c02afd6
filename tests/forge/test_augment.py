"""What a critic sees in place of the images themselves."""

from __future__ import annotations

import torch

from fauxto.forge import augment


def test_moved_images_keep_their_pixels_and_are_filled_with_nothing() -> None:
    torch.manual_seed(0)
    images = torch.arange(1.0, 1 + 8 * 8).reshape(1, 1, 8, 8).expand(50, 3, 8, 8)
    moved = augment._moved(images)
    ways = set()
    for one in moved:
        assert (one[0] == one[2]).all(), "all colours alike"
        row, column = divmod(int(one[0].max()) - 1, 8)
        at = (one[0] == one[0].max()).nonzero()[0].tolist()
        ways.add((at[0] - row, at[1] - column))
    assert ways == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}, "an eighth of the side, each way"
    assert (moved[:, :, 1:-1, 1:-1] > 0).all(), "nothing but the border comes in"


def test_a_square_around_any_point_is_cut_out() -> None:
    torch.manual_seed(0)
    cut = augment._cut_out(torch.ones(400, 3, 8, 8))
    lost = (cut == 0).float().mean(dim=0)
    assert (lost > 0).all(), "every pixel, by chance"
    n_lost = (cut[:, 0] == 0).sum(dim=(1, 2))
    assert int(n_lost.max()) == 3 * 3, "fewer than two pixels away from the point, on both axes"


def test_colours_change_and_gradients_pass() -> None:
    torch.manual_seed(0)
    images = (torch.rand(64, 3, 16, 16) - 0.5).requires_grad_()
    seen = augment.seen(images)
    assert seen.shape == images.shape
    brightness = augment._recoloured(torch.zeros(500, 3, 4, 4))[:, 0, 0, 0]
    assert -0.5 <= float(brightness.min()) < -0.4
    assert 0.4 < float(brightness.max()) <= 0.5
    seen.square().sum().backward()
    assert images.grad is not None
    assert bool((images.grad != 0).flatten(1).any(dim=1).all()), "each image has pixels that are seen"
