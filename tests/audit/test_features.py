"""Features against numpy and SciPy, on images of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from PIL import Image

from fauxto.audit import features
from fauxto.data.store import load_data

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)
LUMA = IMAGES @ np.array([0.299, 0.587, 0.114])


def test_colour_against_numpy() -> None:
    found = features.colour(IMAGES)
    for part, expected in zip(np.split(found, [3, 6, 9, 12], axis=1), (np.mean, np.std, np.min, np.max), strict=False):
        assert np.allclose(part, expected(IMAGES.astype(float), axis=(1, 2)), atol=1e-3)
    assert np.allclose(found[:, 12], (IMAGES[..., 0].astype(float) - IMAGES[..., 1]).mean(axis=(1, 2)), atol=1e-3)


def test_dct_energies_against_scipy() -> None:
    blocks = (LUMA - 128).reshape(3, 2, 8, 3, 8).swapaxes(2, 3)
    expected = np.log((scipy.fft.dctn(blocks, axes=(3, 4), norm="ortho") ** 2).mean(axis=(1, 2)) + 0.1)
    assert np.allclose(features.dct_energies(IMAGES), expected.reshape(3, 64), atol=1e-4)
    assert np.allclose(features.dct_basis(), scipy.fft.dct(np.eye(8), axis=0, norm="ortho"), atol=1e-6)


def test_spectrum_against_a_plain_sum() -> None:
    window = np.outer(np.hanning(18)[1:-1], np.hanning(26)[1:-1])
    power = np.abs(np.fft.fft2((LUMA[0] - LUMA[0].mean()) * window)[:, :13]) ** 2 / (window**2).sum()
    rings: dict[int, list[float]] = {}
    for row, vertical in enumerate(np.fft.fftfreq(16)):
        for column in range(13):
            radius = np.hypot(vertical, column / 24)
            rings.setdefault(min(int(radius * 32), 15), []).append(power[row, column])
    found = features.spectrum(IMAGES)[0]
    for ring, values in rings.items():
        assert found[ring] == pytest.approx(np.log(np.mean(values) + 0.1), abs=1e-3)
    assert found[1] == found[0] if 1 not in rings else True


def test_a_wave_stands_in_its_own_ring() -> None:
    wave = np.repeat((128 + 100 * np.cos(2 * np.pi * 0.25 * np.arange(32)))[None, :, None], 32, axis=0).repeat(3, axis=2)
    assert features.spectrum(wave[None].astype(np.uint8))[0].argmax() == 8  # 0.25 of 0.5 cycles, in 16 rings


@pytest.mark.parametrize("feature", [features.colour, features.spectrum, features.dct_energies, features.corners_and_edges])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 9)])
def test_tiny_images_have_finite_features(feature: features.Feature, shape: tuple[int, int]) -> None:
    assert np.isfinite(feature(np.full((2, *shape, 3), 7, np.uint8))).all()


def test_corners_by_hand() -> None:
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[0, 0, 0] = 64
    found = features.corners_and_edges(image)[0]
    assert found[:4].tolist() == [63.0, 63.0, 63.0, 0.0]  # the mean of the picture is 1
    assert found[4:8].tolist() == [-1.0, -1.0, -1.0, 0.0]


def test_a_table_of_mixed_sizes_keeps_the_order(tmp_path: Path) -> None:
    for number, size in enumerate([(8, 8), (300, 9), (8, 8), (5, 40)]):
        folder = tmp_path / "data" / ("real" if number % 2 else "fake")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (10 * number, 0, 0)).save(folder / f"{number}.png")
    store = load_data(tmp_path / "data", cache=tmp_path / "cache")
    at = np.arange(4)[::-1]
    found = features.table(store, at, features.colour, view=features.middle)
    expected = [10 * int(Path(store.path[i]).stem) for i in at]
    assert found[:, 0].tolist() == expected
    assert (
        features.views(store, at, features.corners).shape == features.views(store, at, features.thumbnail).shape == (4, 32, 32, 3)
    )


def test_corners_and_thumbnail_of_a_large_image() -> None:
    image = np.zeros((2000, 1000, 3), np.uint8)
    image[:16, -16:] = 200
    assert (features.corners(image)[:16, 16:] == 200).all()
    assert features.corners(image)[16:].max() == 0
    image[:] = 90
    assert (features.thumbnail(image) == 90).all()
