"""preprocess: pixels to numbers, equal to what torchvision does, and a card's spec that must make sense."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fauxto.errors import DetectorError
from fauxto.perturb import perturbed
from fauxto.preprocess import PreprocessSpec, cut_square, fit_square, normalised, recoded, to_network_input

GOOD = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


# ---------------------------------------------------------------- the spec


def test_the_spec_goes_out_and_comes_back():
    spec = PreprocessSpec(size=64, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert PreprocessSpec.from_dict(spec.to_dict()) == spec
    assert PreprocessSpec.from_dict(GOOD) == PreprocessSpec()


@pytest.mark.parametrize("key", ["size", "mean", "std"])
def test_a_missing_value_is_refused(key):
    with pytest.raises(DetectorError, match="cannot be read"):
        PreprocessSpec.from_dict({name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0}, {"size": -1}, {"size": 10**9}, {"size": True}, {"size": 32.5}, {"size": "32"}, {"size": None},
        {"mean": [0.5, 0.5]}, {"mean": [0.5] * 4}, {"mean": "abc"}, {"mean": None}, {"mean": 0.5}, {"mean": [float("nan")] * 3},
        {"mean": [10**400] * 3}, {"std": [0.5, 0.5, 0]}, {"std": [-1, 1, 1]}, {"std": [float("nan")] * 3},
        {"std": [float("inf")] * 3},
    ],
)  # fmt: skip
def test_a_value_without_sense_is_refused(change):
    with pytest.raises(DetectorError, match="export the detector again"):
        PreprocessSpec.from_dict({**GOOD, **change})


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_what_is_no_mapping_is_refused(values):
    with pytest.raises(DetectorError, match="cannot be read"):
        PreprocessSpec.from_dict(values)


# ---------------------------------------------------------------- size


def test_an_image_that_fits_is_not_touched():
    image = noise(32, 32)
    assert fit_square(image, size=32) is image


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 100), (7, 31), (1, 1), (32, 33)])
def test_any_other_size_becomes_the_square(height, width):
    found = fit_square(noise(height, width), size=32)
    assert (found.shape, found.dtype) == ((32, 32, 3), np.uint8)


def test_shrinking_by_two_averages_and_does_not_pick():
    checker = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    found = fit_square(np.repeat(checker[..., None], 3, 2), size=32)
    inner = found[1:-1, 1:-1].astype(int)  # at the border the filter's window is cut off and no longer balanced
    assert np.abs(inner - 127.5).max() <= 1, "without antialiasing this were all black or all white"


def test_resizing_agrees_with_torch():
    import torch

    image = noise(75, 50)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(planes, (32, 32), mode="bilinear", antialias=True, align_corners=False)
    found = fit_square(image, size=32)
    np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).numpy(), atol=1)  # Pillow rounds after each direction


def test_one_pixel_fills_the_square():
    assert (fit_square(np.full((1, 1, 3), 9, np.uint8), size=8) == 9).all()


# ---------------------------------------------------------------- numbers


def test_worked_by_hand():
    pixels = np.array([[[[0, 51, 255]]]], np.uint8)  # 0, 0.2 and 1 on a scale of [0, 1]
    spec = PreprocessSpec(size=1, mean=(0.5, 0.1, 0.0), std=(0.5, 0.2, 0.25))
    np.testing.assert_allclose(to_network_input(pixels, spec).ravel(), [-1, 0.5, 4], rtol=1e-6)


def test_it_agrees_with_torchvision():
    import torch
    from torchvision.transforms.functional import normalize

    images = np.stack([noise(32, 32), noise(32, 32)[::-1]])
    spec = PreprocessSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    expected = normalize(planes, list(spec.mean), list(spec.std)).numpy()
    np.testing.assert_allclose(to_network_input(images, spec), expected, atol=2e-6)


def test_shape_type_and_layout():
    found = to_network_input(np.zeros((5, 32, 32, 3), np.uint8), PreprocessSpec())
    assert (found.shape, found.dtype, found.flags.c_contiguous) == ((5, 3, 32, 32), np.float32, True)
    assert to_network_input(np.zeros((0, 32, 32, 3), np.uint8), PreprocessSpec()).shape == (0, 3, 32, 32)


def test_an_image_gives_the_same_alone_and_in_a_batch():
    images = np.stack([noise(32, 32), 255 - noise(32, 32)])
    together = to_network_input(images, PreprocessSpec())
    for number in range(2):
        np.testing.assert_array_equal(to_network_input(images[number : number + 1], PreprocessSpec())[0], together[number])


# ---------------------------------------------------------------- recoding


def textured(n: int, *, noise: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = 120 + 40 * np.sin(np.linspace(0, 6, 32))[:, None, None] * np.ones((1, 32, 3))
    return np.clip(smooth + rng.normal(0, noise, (n, 32, 32, 3)), 0, 255).astype(np.uint8)


def test_recoding_shows_the_network_what_a_jpeg_file_would():
    images = textured(3, noise=4)
    spec = PreprocessSpec(recode=75)
    saved = perturbed(images, "jpeg-75")
    assert not np.array_equal(saved, images)
    np.testing.assert_array_equal(recoded(images, spec), saved)
    np.testing.assert_array_equal(to_network_input(images, spec), normalised(saved, spec))
    np.testing.assert_array_equal(recoded(images, PreprocessSpec()), images)


def test_recoding_leaves_an_image_alone_that_it_would_change_too_much():
    images = np.concatenate([textured(1, noise=4), textured(1, noise=40)])
    found = recoded(images, PreprocessSpec(recode=75))
    np.testing.assert_array_equal(found[0], perturbed(images, "jpeg-75")[0])
    np.testing.assert_array_equal(found[1], images[1])
    every = recoded(images, PreprocessSpec(recode=75, recode_limit=255))
    np.testing.assert_array_equal(every, perturbed(images, "jpeg-75"))
    assert recoded(images[:0], PreprocessSpec(recode=75)).shape == (0, 32, 32, 3)


def test_recoding_leaves_an_image_alone_that_was_saved_like_that_already():
    fresh = textured(1, noise=8)
    images = np.concatenate([fresh, perturbed(fresh, "jpeg-75")])
    change = [float(np.sqrt(np.mean((perturbed(images, "jpeg-75")[at].astype(float) - images[at]) ** 2))) for at in (0, 1)]
    assert change[1] < 2 < 4 < change[0], "the pair does not show what the test is about"
    found = recoded(images, PreprocessSpec(recode=75, recode_from=2))
    np.testing.assert_array_equal(found[0], images[1])
    np.testing.assert_array_equal(found[1], images[1])
    just = recoded(images, PreprocessSpec(recode=75, recode_from=change[0]))
    np.testing.assert_array_equal(just[0], images[1], err_msg="a change of just so much is not less")


def test_a_card_from_before_recoding_is_read_and_a_wrong_one_refused():
    card = {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert PreprocessSpec.from_dict(card).recode == 0
    spec = PreprocessSpec(recode=75)
    assert PreprocessSpec.from_dict(spec.to_dict()) == spec
    for wrong in (
        {"recode": 101},
        {"recode": "75"},
        {"recode": True},
        {"recode_limit": -1},
        {"recode_from": 256},
        {"recode_from": [1]},
        {"recode_limit": float("nan")},
    ):
        with pytest.raises(DetectorError, match="makes no sense|cannot be read"):
            PreprocessSpec.from_dict(card | wrong)


# ---------------------------------------------------------------- the middle


def test_the_middle_is_taken_at_native_pixels():
    image = noise(33, 50)
    np.testing.assert_array_equal(fit_square(image, size=32, fit="centre"), image[0:32, 9:41])
    np.testing.assert_array_equal(fit_square(image, size=33, fit="centre"), image[:, 8:41])


def test_an_image_that_is_too_small_is_enlarged_from_its_largest_square():
    image = noise(10, 4)
    expected = np.asarray(Image.fromarray(image[3:7]).resize((8, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(fit_square(image, size=8, fit="centre"), expected)
    assert fit_square(noise(1, 5000), size=64, fit="centre").shape == (64, 64, 3)


@pytest.mark.parametrize(("at", "top", "left"), [((0, 0), 0, 0), ((1, 1), 2, 6), ((0.5, 0.5), 1, 3)])
def test_a_square_is_cut_between_the_corners(at, top, left):
    image = noise(6, 10)
    np.testing.assert_array_equal(cut_square(image, at=at, size=4), image[top : top + 4, left : left + 4])


def test_a_card_that_does_not_speak_of_it_means_the_whole_image():
    assert PreprocessSpec.from_dict(GOOD).fit == "resize"
    assert PreprocessSpec.from_dict({**GOOD, "fit": "centre"}).fit == "centre"
    for bad in ("crop", None, 1, ["centre"]):
        with pytest.raises(DetectorError, match="makes no sense"):
            PreprocessSpec.from_dict({**GOOD, "fit": bad})
