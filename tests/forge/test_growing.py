"""The GAN that grows: its stages, its fading, its scaled layers."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fauxto.errors import ConfigError
from fauxto.forge import gans
from fauxto.forge.game import GanConfig
from fauxto.forge.growing import SMALLEST, Even, GrowingCritic, GrowingGenerator, Stage, _with_spread, shrunk, stage_at
from fauxto.forge.workshop import Workshop
from fauxto.mapping import from_mapping

CONFIG = GanConfig(block="growing", penalty=10.0, width=8, n_noise=6, n_steps=30, batch_size=8, decay=0.9)


@pytest.mark.parametrize(("n_steps", "n_sizes"), [(150, 4), (70, 3), (7, 3), (5, 1)])
def test_each_size_takes_twice_as_long_as_the_one_before_and_none_is_left_out(n_steps: int, n_sizes: int) -> None:
    stages = [stage_at(step, n_steps, n_sizes) for step in range(n_steps)]
    counts = [len(list(together)) for _, together in itertools.groupby(stage.n_sizes for stage in stages)]
    assert len(counts) == n_sizes
    assert counts == pytest.approx([n_steps * 2**at / (2**n_sizes - 1) for at in range(n_sizes)], abs=1)
    assert stages[-1] == (n_sizes, 1.0)
    assert all(0 < stage.share <= 1 for stage in stages)


def test_the_share_of_a_new_size_rises_and_stays_whole_for_half_of_its_steps() -> None:
    shares = [stage_at(step, 150, 4).share for step in range(70, 150)]
    assert shares == sorted(shares)
    assert shares[0] < 0.05
    assert sum(share == 1 for share in shares) == 40


@pytest.mark.parametrize("n_sizes", [1, 2, 3])
def test_images_have_the_size_of_their_stage(n_sizes: int) -> None:
    side, stage = SMALLEST * 2 ** (n_sizes - 1), Stage(n_sizes, 0.5 if n_sizes > 1 else 1.0)
    made = GrowingGenerator(CONFIG, 16)(torch.randn(3, 6), stage)
    assert made.shape == (3, 3, side, side)
    assert GrowingCritic(CONFIG, 16)(made, stage).shape == (3,)
    assert shrunk(torch.zeros(3, 3, 16, 16), stage).shape == made.shape
    assert GrowingGenerator(CONFIG, 16)(torch.randn(3, 6)).shape == (3, 3, 16, 16)


def test_a_size_that_begins_to_fade_in_changes_next_to_nothing() -> None:
    torch.manual_seed(0)
    generator, critic, noise = GrowingGenerator(CONFIG, 16), GrowingCritic(CONFIG, 16), torch.randn(4, 6)
    before, after = Stage(2, 1.0), Stage(3, 1e-6)
    small = generator(noise, before)
    torch.testing.assert_close(generator(noise, after), F.interpolate(small, scale_factor=2.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(critic(F.interpolate(small, scale_factor=2.0), after), critic(small, before), atol=1e-3, rtol=0)
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(shrunk(images, after), F.interpolate(shrunk(images, before), scale_factor=2.0), atol=1e-4, rtol=0)


def test_an_even_layer_keeps_the_size_of_its_numbers_whatever_its_width() -> None:
    torch.manual_seed(0)
    for width in (16, 256):
        layer = Even(nn.Linear(width, 400), gain=1.0)
        assert layer.layer.weight.std().item() == pytest.approx(1, rel=0.05)
        assert layer(torch.randn(400, width)).std().item() == pytest.approx(1, rel=0.1)


def test_the_critic_sees_how_much_a_batch_differs() -> None:
    x = torch.randn(1, 2, 4, 4).expand(5, -1, -1, -1)
    assert _with_spread(x)[:, 2].max() < 1e-3
    spread = _with_spread(torch.cat([x, -x]))[:, 2]
    assert spread.shape == (10, 4, 4)
    assert spread.unique().numel() == 1
    assert spread[0, 0, 0].item() == pytest.approx(x.abs().mean().item(), rel=1e-3)


def test_it_learns_the_colour_of_its_photographs() -> None:
    red = np.zeros((16, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    torch.manual_seed(0)
    workshop = Workshop(red, device="cpu")
    images = gans.make(gans.train(replace(CONFIG, n_steps=400), workshop), {}, 16, workshop).images
    mean = images.reshape(-1, 3).mean(axis=0)
    assert mean[0] > 170
    assert max(mean[1:]) < 85


def test_a_block_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="growing"):
        from_mapping(GanConfig, {"block": "growin"})
