"""A cast is found whatever the pictures show; other contents are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.audit.cast import Cast, find_cast
from fauxto.data.store import Store, load_data

from .conftest import picture


def tinted(folder: Path, tint: tuple[int, int, int], *, green_fakes: bool = False) -> Store:
    rng = np.random.default_rng(2)
    for label in ("real", "fake"):
        (folder / "data" / label).mkdir(parents=True)
        for number in range(60):
            pixels = picture(rng).astype(int)
            if label == "fake":
                pixels = pixels + tint
                if green_fakes:
                    pixels[:12, :, 1] += 60  # a meadow
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"data/{label}/{number}.png")
    return load_data(folder / "data", cache=folder / "cache")


def cartoons(folder: Path, seed: int) -> Store:
    """Pictures of one flat colour each, as cartoons without a grey have; labels by chance."""
    rng = np.random.default_rng(seed)
    for label in ("real", "fake"):
        (folder / "data" / label).mkdir(parents=True)
        for number in range(60):
            Image.new("RGB", (8, 8), tuple(rng.integers(0, 256, 3).tolist())).save(folder / f"data/{label}/{number}.png")
    return load_data(folder / "data", cache=folder / "cache")


@pytest.mark.parametrize("seed", range(3))
def test_pictures_without_a_grey_peak_have_no_cast(tmp_path: Path, seed: int) -> None:
    found = find_cast(cartoons(tmp_path, seed), np.arange(120))
    assert max(abs(found.red), abs(found.blue)) >= 3  # the peaks do lie apart, by chance
    assert not found.is_sure


@pytest.mark.parametrize("tint", [(6, 0, -6), (0, 7, 0)])
def test_a_cast_is_found(tmp_path: Path, tint: tuple[int, int, int]) -> None:
    found = find_cast(tinted(tmp_path, tint), np.arange(120))
    assert found.is_sure
    assert abs(found.red - (tint[0] - tint[1])) <= 2
    assert abs(found.blue - (tint[2] - tint[1])) <= 2


def test_other_contents_are_no_cast(tmp_path: Path) -> None:
    found = find_cast(tinted(tmp_path, (0, 0, 0), green_fakes=True), np.arange(120))
    assert not found.is_sure
    assert max(abs(found.red), abs(found.blue)) < 3


def test_equal_pictures_have_none(tmp_path: Path) -> None:
    for label, value in (("real", 10), ("fake", 90)):
        (tmp_path / "data" / label).mkdir(parents=True)
        Image.new("RGB", (1, 1), (value, value, value)).save(tmp_path / f"data/{label}/1.png")
    assert find_cast(load_data(tmp_path / "data", cache=tmp_path / "c"), np.arange(2)) == Cast(0, 0, False)
