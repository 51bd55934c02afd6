"""perturb: values by hand, agreement with scipy and Pillow, names, refusals, and what the training policy draws."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageEnhance, JpegImagePlugin

from fauxto import perturb
from fauxto.errors import ConfigError, UsageError
from fauxto.perturb import AGAIN_SHARE, KINDS, STANDARD, TRAINING, TRAINING_AGAIN, perturbed, steps, training_perturbed


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


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("policy", [TRAINING, TRAINING_AGAIN])
def test_the_policies_make_sense(policy):
    assert sum(row[0] for row in policy) == pytest.approx(1)
    for weight, kind, low, high, spacing in policy:
        _, lowest, highest, number_type = KINDS[kind]
        assert weight > 0
        assert lowest <= low < high <= highest
        assert spacing in ("even", "log", "whole")
        assert (spacing == "whole") == (number_type is int)


def test_training_perturbs_the_share_that_it_is_told():
    images = noise(400, 8, 8)
    for share, margin in ((0.0, 0.0), (0.3, 0.07), (1.0, 0.02)):  # the mildest blur leaves a few images as they were
        result = training_perturbed(images, np.random.default_rng(0), share=share)
        assert result.dtype == np.uint8
        changed = np.mean((result != images).any(axis=(1, 2, 3)))
        assert changed == pytest.approx(share, abs=margin)
    np.testing.assert_array_equal(images, noise(400, 8, 8))


def test_training_is_a_function_of_the_generator():
    images = noise(64, 8, 8)
    one, same, other = (training_perturbed(images, np.random.default_rng(seed), share=0.7) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_training_draws_by_weight_and_within_the_ranges(monkeypatch):
    drawn: list[tuple[str, float]] = []

    def noted(kind):
        def apply(images, severities, rng_of):
            drawn.extend((kind, float(severity)) for severity in severities)
            return images

        return apply

    monkeypatch.setattr(perturb, "KINDS", {kind: (noted(kind), *rest) for kind, (_, *rest) in KINDS.items()})
    n_images, share = 20_000, 0.5
    training_perturbed(np.zeros((n_images, 1, 1, 3), np.uint8), np.random.default_rng(0), share=share)
    for kind in {row[1] for row in TRAINING}:
        severities = np.array([severity for drawn_kind, severity in drawn if drawn_kind == kind])
        rows = [row for row in TRAINING if row[1] == kind]
        weight = sum(row[0] for row in rows) + AGAIN_SHARE * sum(row[0] for row in TRAINING_AGAIN if row[1] == kind)
        assert len(severities) / n_images == pytest.approx(share * weight, rel=0.2)
        assert all(any(low <= severity <= high for _, _, low, high, _ in rows) for severity in severities)
        low, high = min(row[2] for row in rows), max(row[3] for row in rows)
        assert severities.min() - low < 0.1 * (high - low)
        assert high - severities.max() < 0.1 * (high - low)
        if kind == "jpeg":
            assert {30, 95} <= set(severities) <= set(range(30, 96))
        if kind == "noise":  # once: even from 0.01 to 0.13; again: even in its logarithm, half under the geometric mean
            middle = np.sqrt(0.02 * 0.13)
            expected = (0.33 * (middle - 0.01) / 0.12 + AGAIN_SHARE * 0.30 * 0.5) / (0.33 + AGAIN_SHARE * 0.30)
            assert np.mean(severities < middle) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ConfigError, match="share"):
        training_perturbed(noise(), np.random.default_rng(0), share=share)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (40, 1, 1, 3), (40, 1, 5, 3), (40, 9, 7, 3)])
def test_training_takes_any_size(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert training_perturbed(images, np.random.default_rng(0), share=1.0).shape == shape


def test_the_documented_policy_is_the_one_that_training_draws_from():
    page = (Path(__file__).parents[2] / "docs" / "perturb.md").read_text(encoding="utf-8")
    table = re.search(r"\| weight \| kind .*?\n\n", page, re.DOTALL).group().strip()
    found: list[tuple[float, str, tuple[float, ...]]] = []
    for line in table.splitlines()[2:]:
        weights, kinds, ranges, _ = (cell.strip() for cell in line.strip("|").split("|"))
        kind_of, ends = re.findall(r"`(\w+)`", kinds), re.findall(r"([\d.]+) to ([\d.]+)", ranges)
        for at, weight in enumerate(re.findall(r"[\d.]+", weights)):
            low, high = ends[at % len(ends)]
            found.append((float(weight), kind_of[at % len(kind_of)], (float(low), float(high))))
    expected = [(round(100 * weight, 6), kind, (low, high)) for weight, kind, low, high, _ in TRAINING]
    assert sorted(found) == sorted(expected)
    again = " ".join(f"`{kind}` {100 * weight:.0f} %," for weight, kind, *_ in TRAINING_AGAIN)
    assert again.rstrip(",") in " ".join(page.split())
    assert f"{100 * AGAIN_SHARE:.0f} % of the perturbed images get a second perturbation" in page
