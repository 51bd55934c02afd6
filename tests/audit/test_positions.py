"""The map finds a stamp and its place; smooth differences and chance leave it empty."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fauxto.audit.positions import map_picture, position_map


def noise(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    light = rng.uniform(-50, 50, (n, 1, 1, 1))
    return np.clip(128 + light + rng.normal(0, 20, (n, 32, 32, 3)), 0, 255).astype(np.uint8), np.arange(n) % 2 == 1


def test_a_stamp_is_found_where_it_is() -> None:
    images, is_fake = noise(400)
    images[is_fake, 2:5, 20:28] = (250, 30, 30)
    found = position_map(images, is_fake)
    assert found.box == (20, 2, 28, 5)
    assert found.n_hits == 24
    with Image.open(io.BytesIO(map_picture(found))) as picture:
        assert picture.format == "PNG"


def test_a_stamp_of_mean_colour_shows_in_the_spread() -> None:
    images, is_fake = noise(400)
    images[is_fake, :3, :3] = images[is_fake].mean(axis=(0, 1, 2)).astype(np.uint8)
    assert position_map(images, is_fake).box == (0, 0, 3, 3)


@pytest.mark.parametrize("seed", range(8))
def test_chance_leaves_it_empty(seed: int) -> None:
    assert position_map(*noise(60, seed)).n_hits == 0


def test_a_smooth_difference_is_no_stamp() -> None:
    images, is_fake = noise(600)
    slope = np.linspace(-30, 30, 32)[None, :, None, None]
    images = np.where(is_fake[:, None, None, None], np.clip(images + slope, 0, 255), images).astype(np.uint8)
    found = position_map(images, is_fake)
    assert found.n_hits == 0
    assert abs(found.mean_fake - found.mean_real).max() > 20


def test_the_picture_of_an_empty_map() -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    found = position_map(images, np.array([False, True, False, True]))
    assert (found.n_hits, found.effect.max()) == (0, 0.0)
    assert map_picture(found).startswith(b"\x89PNG")
