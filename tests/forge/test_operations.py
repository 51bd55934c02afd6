"""Operations: the same shares for every set, pure and seeded, each what it says."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fauxto.forge.operations import OPERATIONS, draw_operations, operated
from fauxto.perturb import perturbed


def kinds(operations: list[str]) -> Counter[str]:
    return Counter(operation.partition("-")[0] for operation in operations)


def test_both_classes_get_the_same_share_of_every_kind() -> None:
    real, fake = (kinds(draw_operations(1000, seed=0, name=name)) for name in ("real", "gan/a"))
    assert real == fake
    assert real[""] == 750
    shares = Counter[str]()
    for share, kind, *_ in OPERATIONS:
        shares[kind] += round(1000 * share)
    assert {kind: n for kind, n in real.items() if kind} == dict(shares)


def test_who_gets_one_is_drawn_anew_for_every_set_and_seed() -> None:
    drawn = [draw_operations(200, seed=seed, name=name) for seed, name in ((0, "real"), (0, "real"), (1, "real"), (0, "gan/a"))]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0] != drawn[3]
    assert draw_operations(0, seed=0, name="real") == []
    assert draw_operations(1, seed=0, name="real") == [""], "the middle of the order is left alone"


def test_each_kind_is_what_it_says(photographs: np.ndarray) -> None:
    names = ["", "jpeg-60", "blur-0.5", "sharpen-90", "median-3", "bilateral-20", "resize_any-0.5"]
    images = photographs[: len(names)]
    found = operated(images, names, seed=3)
    np.testing.assert_array_equal(found[0], images[0])
    np.testing.assert_array_equal(found[1], perturbed(images[1:2], "jpeg-60")[0])
    np.testing.assert_array_equal(found[2], perturbed(images[2:3], "blur-0.5")[0])
    mask = ImageFilter.UnsharpMask(1, 90, 0)
    np.testing.assert_array_equal(found[3], np.asarray(Image.fromarray(images[3]).filter(mask)))
    np.testing.assert_array_equal(found[4], np.asarray(Image.fromarray(images[4]).filter(ImageFilter.MedianFilter(3))))
    np.testing.assert_array_equal(found[6], perturbed(images[6:7], "resize_any-0.5", seed=3, first=6)[0])
    assert found[5].astype(float).std() < images[5].astype(float).std()


def test_bilateral_leaves_edges_and_takes_noise() -> None:
    edge = np.zeros((1, 4, 4, 3), np.uint8)
    edge[:, :, 2:] = 200
    np.testing.assert_array_equal(operated(edge, ["bilateral-8"], seed=0), edge)
    dot = np.full((1, 3, 3, 3), 100, np.uint8)
    dot[0, 1, 1] = 104
    beside, corner = np.exp(-0.5), np.exp(-1.0)
    unlike = np.exp(-(4**2) / (2 * 20**2))
    others = unlike * (4 * beside + 4 * corner)
    by_hand = round((104 + 100 * others) / (1 + others))
    assert operated(dot, ["bilateral-20"], seed=0)[0, 1, 1].tolist() == [by_hand] * 3


def test_one_pixel(photographs: np.ndarray) -> None:
    pixel = photographs[:1, :1, :1]
    for name in ("sharpen-100", "median-3", "bilateral-10", "blur-0.5", "resize_any-0.5"):
        np.testing.assert_array_equal(operated(pixel, [name], seed=0), pixel)


@pytest.mark.parametrize("row", OPERATIONS)
def test_every_row_can_be_done(row: tuple[float, str, float, float, int], photographs: np.ndarray) -> None:
    _, kind, low, high, _ = row
    for severity in (low, high):
        assert operated(photographs[:1], [f"{kind}-{severity:g}"], seed=0).shape == photographs[:1].shape
