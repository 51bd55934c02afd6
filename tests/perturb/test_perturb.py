"""perturb: values by hand, agreement with scipy and Pillow, names, refusals, and what the training policy draws."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageEnhance, JpegImagePlugin

from fauxto import perturb
from fauxto.errors import ConfigError, UsageError
from fauxto.perturb import KINDS, STANDARD, perturbed, steps, training_perturbed


def noise(n: int = 3, height: int = 13, width: int = 18) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), np.uint8)


def recoded(image: np.ndarray, codec: str, **options: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, codec, **options)
    return np.asarray(Image.open(stream).convert("RGB"))


# ---------------------------------------------------------------- names


def test_a_name_says_kinds_and_severities():
    assert steps("jpeg-40") == [("jpeg", 40)]
    assert steps("blur-1.0") == [("blur", 1.0)]
    assert steps("noise-5e-2") == [("noise", 0.05)]
    assert steps("resize-0.5+jpeg444-70+blur-1") == [("resize", 0.5), ("jpeg444", 70), ("blur", 1.0)]


def test_the_standard_names_are_possible_and_differ():
    assert len(set(STANDARD)) == len(STANDARD) == 27
    assert all(steps(name) for name in STANDARD)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jpg-40", "did you mean 'jpeg'"),
        ("sepia-1", "known: jpeg, jpeg444"),
        ("", "known: jpeg"),
        ("jpeg-40+", "known: jpeg"),
        ("jpeg-40+blurr-1", "did you mean 'blur'"),
        ("jpeg", "a whole number from 1 to 100"),
        ("jpeg-", "a whole number from 1 to 100"),
        ("jpeg-0", "a whole number from 1 to 100"),
        ("jpeg-101", "a whole number from 1 to 100"),
        ("jpeg-40.5", "a whole number from 1 to 100"),
        ("webp-best", "a whole number from 1 to 100"),
        ("blur-0", "a number from 0.1 to 20"),
        ("blur-nan", "a number from 0.1 to 20"),
        ("blur-inf", "a number from 0.1 to 20"),
        ("noise--0.1", "a number from 0 to 1"),
        ("noise-2", "a number from 0 to 1"),
        ("resize-0", "a number from 0.05 to 4"),
        ("crop-1.2", "a number from 0.05 to 1"),
        ("brightness-5", "a number from 0 to 4"),
    ],
)
def test_an_impossible_name_is_refused_with_what_is_possible(name, message):
    with pytest.raises(ConfigError, match=message):
        perturbed(noise(), name)


@pytest.mark.parametrize(
    "images",
    [
        noise().astype(np.float32), noise()[0], noise()[..., :1], noise()[..., 0], noise()[:, :0], noise()[:, :, :0],
        np.zeros((1, 4, 4, 4), np.uint8),
    ],
)  # fmt: skip
def test_what_is_no_batch_of_rgb_images_is_refused(images):
    with pytest.raises(UsageError, match="uint8 of shape"):
        perturbed(images, "jpeg-40")
    with pytest.raises(UsageError, match="uint8 of shape"):
        training_perturbed(images, np.random.default_rng(0), share=0.5)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None, "0"])
def test_an_impossible_seed_is_refused(seed):
    with pytest.raises(ConfigError, match="seed"):
        perturbed(noise(), "noise-0.1", seed=seed)


@pytest.mark.parametrize(("name", "side"), [("webp-80", 16_384), ("jpeg-80", 65_501)])
def test_an_image_that_the_codec_cannot_hold_is_refused(name, side):
    with pytest.raises(UsageError, match=f"got {side:,}"):
        perturbed(np.zeros((1, 1, side, 3), np.uint8), name)


@pytest.mark.parametrize("name", STANDARD)
def test_no_images_give_no_images(name):
    assert perturbed(noise(0), name).shape == (0, 13, 18, 3)


# ---------------------------------------------------------------- codecs


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("jpeg-40", "JPEG", {"quality": 40, "subsampling": 2}),
        ("jpeg444-90", "JPEG", {"quality": 90, "subsampling": 0}),
        ("webp-50", "WEBP", {"quality": 50}),
    ],
)
def test_codecs_are_what_pillow_writes(name, codec, options):
    images = noise()
    expected = np.stack([recoded(image, codec, **options) for image in images])
    np.testing.assert_array_equal(perturbed(images, name), expected)


def test_jpeg_halves_the_colour_and_jpeg444_keeps_it(monkeypatch):
    streams = []
    written = Image.Image.save
    monkeypatch.setattr(
        Image.Image, "save", lambda self, stream, *a, **k: (streams.append(stream), written(self, stream, *a, **k))
    )
    perturbed(noise(1), "jpeg-40")
    perturbed(noise(1), "jpeg444-40")
    assert [JpegImagePlugin.get_sampling(Image.open(stream)) for stream in streams] == [2, 0]


# ---------------------------------------------------------------- blur and noise


@pytest.mark.parametrize("sigma", [0.4, 0.6, 1.0, 1.5, 5.0])
@pytest.mark.parametrize("shape", [(13, 18), (1, 1), (1, 7), (3, 2), (32, 32)])
def test_blur_agrees_with_scipy(sigma, shape):
    images = noise(2, *shape)
    expected = scipy.ndimage.gaussian_filter(images.astype(np.float64), (0, sigma, sigma, 0), mode="reflect", truncate=4)
    assert np.abs(perturbed(images, f"blur-{sigma}") - expected).max() <= 0.51  # half a grey level from rounding


def test_blur_of_one_bright_pixel_by_hand():
    image = np.zeros((1, 9, 9, 3), np.uint8)
    image[0, 4, 4] = 255
    # sigma 0.5: weights exp(-2 t^2) = 1, 0.13534, 0.00034 over their sum 1.27134
    blurred = perturbed(image, "blur-0.5")[0, :, :, 0]
    assert blurred[4, 4] == round(255 * 0.78657**2)
    assert blurred[4, 5] == blurred[3, 4] == round(255 * 0.78657 * 0.10645)
    assert blurred[3, 3] == round(255 * 0.10645**2)
    assert blurred[4, 7] == 0


def test_blurs_of_several_strengths_in_one_batch_are_the_single_ones():
    images, sigmas = noise(3), (0.4, 3.0, 1.1)
    together = KINDS["blur"][0](images, np.array(sigmas), np.random.default_rng)
    alone = np.concatenate([perturbed(images[i : i + 1], f"blur-{sigma}") for i, sigma in enumerate(sigmas)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("deviation", [0.02, 0.1])
def test_noise_has_its_deviation_and_no_shift(deviation):
    images = np.full((4, 64, 64, 3), 128, np.uint8)
    difference = perturbed(images, f"noise-{deviation}").astype(float) - 128
    assert difference.std() == pytest.approx(255 * deviation, rel=0.02)
    assert abs(difference.mean()) < 5 * 255 * deviation / np.sqrt(difference.size)


def test_noise_is_clipped_and_not_wrapped():
    images = np.zeros((1, 16, 16, 3), np.uint8)
    assert np.mean(perturbed(images, "noise-0.05") == 0) == pytest.approx(0.5, abs=0.06)
    assert perturbed(images, "noise-0.05").max() < 128
    np.testing.assert_array_equal(perturbed(noise(), "noise-0"), noise())


def test_noise_differs_between_images_seeds_steps_and_names():
    images = np.full((2, 8, 8, 3), 128, np.uint8)
    first = perturbed(images, "noise-0.1")
    assert (first[0] != first[1]).any()
    assert (first != perturbed(images, "noise-0.1", seed=1)).any()
    twice = perturbed(images, "noise-0.1+noise-0.1").astype(float) - 128
    assert twice.std() == pytest.approx(25.5 * np.sqrt(2), rel=0.15)  # the same noise again would give 2 instead
    assert (first != perturbed(images, "noise-0.1000")).any()  # the name is a part of the seed, as it is written


def test_noise_is_the_same_in_every_process():
    image = np.full((1, 1, 1, 3), 128, np.uint8)
    own = np.random.default_rng([3, 2_512_644_494, 0, 0]).standard_normal((1, 1, 3), dtype=np.float32)
    assert zlib.crc32(b"noise-0.1") == 2_512_644_494
    np.testing.assert_array_equal(perturbed(image, "noise-0.1", seed=3)[0], np.rint(128 + 25.5 * own))


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize(("factor", "other"), [(0.5, (9, 6)), (0.75, (14, 10)), (2, (36, 26)), (0.05, (1, 1))])
def test_resize_goes_there_and_back(factor, other):
    images = noise()
    pillow = [Image.fromarray(image).resize(other, Image.Resampling.BICUBIC) for image in images]
    expected = np.stack([np.asarray(image.resize((18, 13), Image.Resampling.BICUBIC)) for image in pillow])
    np.testing.assert_array_equal(perturbed(images, f"resize-{factor}"), expected)


def test_crop_takes_the_centre():
    image = noise(1, 16, 16)
    expected = np.asarray(Image.fromarray(image[0, 2:14, 2:14]).resize((16, 16), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(perturbed(image, "crop-0.75")[0], expected)


@pytest.mark.parametrize("name", ["crop-1", "resize-1", "crop_any-1", "brightness-1", "contrast-1", "saturation-1"])
def test_a_factor_of_one_changes_nothing(name):
    np.testing.assert_array_equal(perturbed(noise(), name), noise())


@pytest.mark.parametrize("kind", ["resize_any", "crop_any"])
def test_the_kinds_in_any_draw_anew_for_each_image(kind):
    images = np.repeat(noise(1), 12, axis=0)
    results = {image.tobytes() for image in perturbed(images, f"{kind}-0.7")}
    assert 3 <= len(results) <= (3 if kind == "resize_any" else 12)
    np.testing.assert_array_equal(perturbed(images, f"{kind}-0.7"), perturbed(images, f"{kind}-0.7"))


# ---------------------------------------------------------------- colour


@pytest.mark.parametrize(
    ("kind", "pillow"),
    [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)],
)
@pytest.mark.parametrize("factor", [0.0, 0.5, 0.8, 1.25, 4.0])
def test_colour_agrees_with_pillow(kind, pillow, factor):
    images = noise() // 2 + 40
    expected = np.stack([np.asarray(pillow(Image.fromarray(image)).enhance(factor)) for image in images])
    difference = perturbed(images, f"{kind}-{factor}").astype(int) - expected
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.01


def test_contrast_by_hand():
    image = np.array([100, 200], np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    assert perturbed(image, "contrast-0.5")[0, 0, :, 0].tolist() == [125, 175]


# ---------------------------------------------------------------- many images


def test_a_large_set_is_worked_on_in_parts_without_a_seam(monkeypatch):
    images, name = noise(7), "noise-0.1+blur-0.6+crop_any-0.8"
    whole = perturbed(images, name)
    monkeypatch.setattr(perturb, "_PIXELS_AT_ONCE", 13 * 18 * 2)
    np.testing.assert_array_equal(perturbed(images, name), whole)
    monkeypatch.setattr(perturb, "_PIXELS_AT_ONCE", 1)
    np.testing.assert_array_equal(perturbed(images, name), whole)


def test_images_that_lie_scattered_in_memory_work():
    images = noise(4, 12, 12)
    scattered = np.asfortranarray(images)[::-1]
    for name in STANDARD:
        np.testing.assert_array_equal(perturbed(scattered, name), perturbed(images[::-1].copy(), name))
