"""What every perturbation must satisfy: the standard ones, and one of each kind."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fauxto.perturb import KINDS, STANDARD, perturbed, steps

# "0.8" and "40" are possible severities of every kind that is not among the standard names.
OTHERS = sorted(set(KINDS) - {kind for name in STANDARD for kind, _ in steps(name)})
NAMES = (*STANDARD, *(f"{kind}-{40 if KINDS[kind][3] is int else 0.8}" for kind in OTHERS))
RANDOM = ("noise", "_any")  # kinds that draw: the same pixels at another index become something else
STRONGER = {
    "jpeg": (95, 85, 75, 60, 40, 30, 10),
    "jpeg444": (95, 60, 30, 10),
    "webp": (95, 80, 50, 10),
    "blur": (0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 3),
    "noise": (0.01, 0.02, 0.05, 0.1, 0.3),
    "resize": (0.75, 0.5, 0.25, 0.1),
    "brightness": (0.95, 0.8, 0.5, 0),
    "contrast": (0.95, 0.8, 0.5, 0),
    "saturation": (0.95, 0.8, 0.5, 0),
}


def pictures(n: int = 3, height: int = 32, width: int = 32) -> np.ndarray:
    """Shapes with shading and a little grain, as photographs have: pure noise would make codecs behave oddly."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width] / 8
    waves = [np.sin(x * a + y * b + c)[..., None] for a, b, c in rng.uniform(0.3, 2, (n, 3))]
    colours = rng.uniform(30, 60, (n, 1, 1, 3))
    return np.clip(120 + colours * np.stack(waves) + rng.normal(0, 8, (n, height, width, 3)), 0, 255).astype(np.uint8)


def draws(name: str) -> bool:
    return any(part in name for part in RANDOM)


@pytest.mark.parametrize("name", NAMES)
def test_shape_and_type_stay_and_the_input_is_untouched(name: str) -> None:
    images, original = pictures(), pictures()
    images.flags.writeable = False
    result = perturbed(images, name)
    assert result.shape == original.shape
    assert result.dtype == np.uint8
    assert result.flags.writeable
    assert not np.shares_memory(result, images)
    np.testing.assert_array_equal(images, original)
    assert (result != original).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_can_still_be_recognised(name: str) -> None:
    images = pictures().astype(float)
    result = perturbed(pictures(), name).astype(float)
    for before, after in zip(images, result, strict=True):
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_the_same_call_gives_the_same_bytes(name: str) -> None:
    np.testing.assert_array_equal(perturbed(pictures(), name, seed=5), perturbed(pictures(), name, seed=5))


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_matters_exactly_where_something_is_drawn(name: str) -> None:
    first, other = (perturbed(pictures(8), name, seed=seed) for seed in (0, 1))
    assert (first != other).any() == draws(name)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_gets_the_same_alone_and_among_others(name: str) -> None:
    images = pictures(8)
    together = perturbed(images, name)
    np.testing.assert_array_equal(perturbed(images[:1], name), together[:1])
    np.testing.assert_array_equal(perturbed(images[:5], name), together[:5])
    others = np.concatenate([255 - images[:7], images[7:]])
    np.testing.assert_array_equal(perturbed(others, name)[7], together[7])
    one_by_one = np.concatenate([perturbed(images[i : i + 1], name) for i in range(8)])
    assert (one_by_one == together).all() == (not draws(name))  # what is drawn depends on the index


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (2, 3), (5, 17), (33, 31), (1, 300)])
def test_every_size_works(name: str, shape: tuple[int, int]) -> None:
    images = pictures(2, *shape)
    assert perturbed(images, name).shape == images.shape


@pytest.mark.parametrize("name", NAMES)
def test_a_flat_grey_image_stays_flat_but_for_noise(name: str) -> None:
    if name.startswith("noise"):
        return
    result = perturbed(np.full((1, 20, 20, 3), 100, np.uint8), name)[0]
    assert np.ptp(result) <= 1
    if not name.startswith("brightness"):
        assert np.abs(result.astype(int) - 100).max() <= 2


@pytest.mark.parametrize("kind", STRONGER)
def test_a_stronger_severity_goes_further(kind: str) -> None:
    images = pictures(8, 48, 48)
    distances = [np.abs(perturbed(images, f"{kind}-{value}").astype(float) - images).mean() for value in STRONGER[kind]]
    assert all(weak < strong for weak, strong in pairwise(distances)), distances
