"""Duplicates: planted copies of made-up pictures are found, different pictures are not, and every count is worked out by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from fauxto.audit import duplicates, likeness, sameness
from fauxto.audit.duplicates import DuplicateReport, PairCount, find_duplicates
from fauxto.audit.effect import score_without
from fauxto.audit.pairs import pair_sheet
from fauxto.data.decoding import pixel_digest
from fauxto.data.store import Store
from fauxto.errors import DataError, ScoreError, UsageError
from fauxto.metrics import all_metrics
from fauxto.perturb import perturbed


def picture(seed: int, side: int = 32) -> np.ndarray:
    """A picture with structure at all scales, as photographs have: noise whose amplitude falls with its frequency."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    noise = np.fft.rfft2(rng.standard_normal((3, side, side))) / np.maximum(frequency, 1 / side) ** 1.2
    grey, *tints = np.fft.irfft2(noise)
    pixels = grey[..., None] / grey.std() * 45 + np.stack([tints[0], 0 * grey, tints[1]], axis=-1) / grey.std() * 8
    return np.clip(pixels + 128, 0, 255).astype(np.uint8)


def store_of(images: list[np.ndarray], split: str = "", label: str = "") -> Store:
    """A store in memory; one letter per image: split a = train, v = val, e = test, label f = fake."""
    n_bytes = np.array([image.size for image in images], np.int64)
    splits = {"a": "train", "v": "val", "e": "test", "-": ""}
    blank = np.full(len(images), "")
    return Store(
        folder=Path("memory"), path=np.array([f"{at}.png" for at in range(len(images))]),
        label=np.array([letter == "f" for letter in label or "r" * len(images)], np.uint8), generator=blank, group=blank,
        split=np.array([splits[letter] for letter in split or "-" * len(images)]),
        height=np.array([len(image) for image in images], np.int32),
        width=np.array([image.shape[1] for image in images], np.int32),
        pixel_hash=np.array([pixel_digest(image) for image in images], "S32"),
        file_format=np.full(len(images), "PNG"), file_bytes=n_bytes, broken=(),
        _offset=np.cumsum(n_bytes) - n_bytes, _pixels=np.concatenate([image.ravel() for image in images]),
    )  # fmt: skip


def once(image: np.ndarray, name: str) -> np.ndarray:
    return perturbed(image[None], name)[0]


def resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


COPIES: dict[str, tuple[Any, str]] = {
    "jpeg": (lambda image: once(image, "jpeg-60"), "re-encoded"),
    "webp": (lambda image: once(image, "webp-60"), "re-encoded"),
    "mirror": (lambda image: np.ascontiguousarray(image[:, ::-1]), "mirrored"),
    "shift": (lambda image: likeness.shifted(image[None], 2, -3)[0], "shifted"),
    "size": (lambda image: resized(image, 48), "resized"),
    "brighter": (lambda image: once(image, "brightness-1.15"), "brightness or contrast"),
    "two": (
        lambda image: once(np.ascontiguousarray(image[:, ::-1]), "brightness-0.85+jpeg-80"),
        "mirrored, brightness or contrast",
    ),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_planted_copy_is_found_and_named(name):
    change, word = COPIES[name]
    images = [picture(seed) for seed in range(6)]
    report = find_duplicates(store_of([*images, change(images[2])]))
    assert [(pair.first, pair.second, pair.kind) for pair in report.pairs] == [(2, 6, "near")]
    assert report.pairs[0].change == word
    assert 0 <= report.pairs[0].distance <= 1 - sameness.MIN_CORRELATION
    assert report.groups == ((2, 6),)
    assert (report.n_equal_groups, report.n_near_pairs, report.n_not_compared) == (0, 1, 0)


def test_large_images_of_other_sizes_are_compared_too():
    large = np.asarray(Image.fromarray(picture(1, 64)).resize((300, 200), Image.Resampling.BICUBIC))
    moved = likeness.shifted(large[None], 3, 3)[0]
    tiny = np.zeros((1, 1, 3), np.uint8)
    report = find_duplicates(store_of([large, picture(2), once(moved, "jpeg-75"), tiny]))
    assert [(pair.first, pair.second) for pair in report.pairs] == [(0, 2)]
    assert report.n_not_compared == 1


def test_large_images_that_differ_only_in_finer_detail_are_two_pictures():
    """Aligned faces: alike at 32x32 pixels, different beyond."""
    rng = np.random.default_rng(0)
    rough = np.asarray(Image.fromarray(picture(1)).resize((128, 128), Image.Resampling.BICUBIC)).astype(np.float64)
    details = [np.kron(rng.normal(0, 60, (64, 64, 1)), np.array([[1], [1]])[..., None]).repeat(2, axis=1) for _ in range(2)]
    one, other = (np.clip(rough + detail, 0, 255).astype(np.uint8) for detail in details)
    base, unlike, again, moved = map(
        sameness.finer_detail, (one, other, once(one, "jpeg-75"), likeness.shifted(one[None], 12, -8)[0])
    )
    assert sameness.finer_correlation(base, unlike) < sameness.MIN_FINER
    assert sameness.finer_correlation(base, again) > sameness.MIN_FINER
    assert sameness.finer_correlation(base, moved, down=3, right=-2) > sameness.MIN_FINER
    assert sameness.finer_correlation(base, moved) < sameness.MIN_FINER
    assert sameness.finer_detail(one[:, :63]) is None


def test_an_image_in_many_near_pairs_is_reduced_once(monkeypatch):
    seen = []
    monkeypatch.setattr(duplicates, "finer_detail", lambda image: seen.append(1) or sameness.finer_detail(image))
    frames = [once(resized(picture(1), 100), f"jpeg-{quality}") for quality in range(70, 90)]
    assert find_duplicates(store_of(frames)).n_near_pairs == 20 * 19 // 2
    assert len(seen) == 20


def test_counts_by_hand():
    a, b, c = (picture(seed) for seed in range(3))
    near_a = once(a, "jpeg-70")
    #        0  1  2  3       4  5
    store = store_of([a, a, b, near_a, c, a], split="aveeae", label="rrrffr")
    report = find_duplicates(store)
    assert [(pair.first, pair.second, pair.kind) for pair in report.pairs] == [(0, 1, "equal"), (0, 5, "equal"), (0, 3, "near")]
    assert (report.n_equal_groups, report.n_equal_images) == (1, 3)
    assert (report.test_in_train, report.test_near_train) == ((5,), (3,))
    assert report.groups == ((0, 1, 3, 5),)
    assert report.n_with_both_labels == 0
    assert report.n_near_other_label == 4  # the fake copy, and the three real images that it resembles
    assert set(report.counts) == {
        PairCount("equal", ("train", "val"), ("real", "real"), 1),
        PairCount("equal", ("test", "train"), ("real", "real"), 1),
        PairCount("equal", ("test", "val"), ("real", "real"), 1),
        PairCount("near", ("test", "train"), ("fake", "real"), 1),
        PairCount("near", ("test", "val"), ("fake", "real"), 1),
        PairCount("near", ("test", "test"), ("real", "fake"), 1),
    }
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert again["pairs"][2]["kind"] == "near"
    assert again["limits"]["min_correlation"] == sameness.MIN_CORRELATION


def test_equal_pixels_under_both_labels():
    a, b = picture(0), picture(1)
    report = find_duplicates(store_of([a, a, b], split="aea", label="rfr"))
    assert (report.n_with_both_labels, report.n_near_other_label, report.n_test_in_train) == (2, 0, 1)


def test_flat_images_are_equal_or_nothing():
    flat = [np.full((32, 32, 3), value, np.uint8) for value in (10, 10, 200)]
    report = find_duplicates(store_of([*flat, picture(0)]))
    assert [(pair.first, pair.second, pair.kind) for pair in report.pairs] == [(0, 1, "equal")]
    assert report.n_not_compared == 3


def test_a_set_of_flat_images_alone():
    report = find_duplicates(store_of([np.full((9, 9, 3), value, np.uint8) for value in (0, 0, 7)]))
    assert (len(report.pairs), report.n_not_compared, report.groups) == (1, 3, ((0, 1),))


def test_one_horizon_is_not_one_picture():
    rng = np.random.default_rng(0)

    def sea(seed: int) -> np.ndarray:
        rows = np.where(np.arange(32) < 14, 200.0, 80.0)
        waves = np.random.default_rng(seed).normal(0, 3, (32, 32, 1))
        return np.clip(rows[:, None, None] + waves + rng.normal(0, 1, (32, 32, 3)), 0, 255).astype(np.uint8)

    one, other = (sameness.detail(sea(seed)[None]).astype(np.float32) for seed in (1, 2))
    plain, beyond = sameness.correlations(one, other)
    assert plain[0] > sameness.MIN_CORRELATION  # what the first limit alone would call the same picture
    assert beyond[0] < 0.5
    assert find_duplicates(store_of([sea(seed) for seed in range(8)])).pairs == ()


@pytest.mark.parametrize("n_images", [1, 2, 30])
def test_different_pictures_are_not_paired(n_images):
    report = find_duplicates(store_of([picture(seed) for seed in range(n_images)]))
    assert (report.pairs, report.groups, report.counts) == ((), (), ())


def test_a_set_too_large_for_all_pairs_is_searched_by_codes(monkeypatch):
    monkeypatch.setattr(likeness, "ALWAYS_COMPARED", 100)
    monkeypatch.setattr(likeness, "_N_PLANTED", 60)
    images = [picture(seed) for seed in range(150)]
    copies = [change(images[at]) for at, (change, _) in enumerate(COPIES.values())]
    told: list[tuple[str, int, int]] = []
    report = find_duplicates(store_of(images + copies), progress=lambda *what: told.append(what), n_threads=2)
    assert {(pair.first, pair.second) for pair in report.pairs} == {(at, 150 + at) for at in range(len(copies))}
    assert {what for what, _, _ in told} == {"searching", "comparing"}
    assert all(done <= total for _, done, total in told)
    assert report == find_duplicates(store_of(images + copies), n_threads=1)


def test_a_mirror_negates_the_odd_part_of_a_spectrum():
    images = np.stack([picture(seed) for seed in range(3)])
    even, odd = likeness.spectra(images)
    turned = likeness.spectra(np.ascontiguousarray(images[:, :, ::-1]))
    # The fade towards the edges is symmetric, so that this holds to rounding.
    np.testing.assert_allclose(turned[0], even, atol=2e-3)
    np.testing.assert_allclose(turned[1], -odd, atol=2e-3)
    assert np.abs(odd).max() > 0.1


def test_luma_is_pillows():
    image = picture(3)
    theirs = np.asarray(Image.fromarray(image).convert("YCbCr"), np.float32)
    ours = likeness.planes(image[None])[0].transpose(1, 2, 0) + np.array([0, 128, 128])
    assert np.abs(ours - theirs).max() <= 1.0  # Pillow rounds


def test_detail_is_scipys_difference_of_gaussians():
    image = picture(4)
    luma = likeness.planes(image[None])[0, 0].astype(np.float64)
    fine, coarse = (ndimage.gaussian_filter(luma, sigma, mode="reflect", truncate=10) for sigma in (0.8, 3.0))
    np.testing.assert_allclose(sameness.detail(image[None])[0], fine - coarse, atol=0.06)  # half precision


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -3), (-1, 2)])
def test_best_shift_is_the_shift(down, right):
    image = picture(5)
    pair = sameness.detail(np.stack([image, likeness.shifted(image[None], down, right)[0]])).astype(np.float32)
    found = sameness.best_shift(pair[:1], pair[1:])
    assert (int(found[0][0]), int(found[1][0])) == (down, right)
    assert found[2][0] > 0.9


def test_correlation_is_numpys():
    one, other = np.random.default_rng(0).standard_normal((2, 4, 9, 7)).astype(np.float32)
    one -= one.mean(axis=(1, 2), keepdims=True)
    other -= other.mean(axis=(1, 2), keepdims=True)
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(sameness.correlations(one, other)[0], expected, atol=1e-5)


def known(equal: tuple[int, ...], near: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    report = DuplicateReport(20, 0, (), (), (), 0, 0, 0, equal, near, 0, 0, len(equal), len(near))
    return dict(report.known)


def test_effect_by_hand():
    is_fake = np.array([False, False, True, True, True, False])
    p_fake = np.array([0.1, 0.9, 0.8, 0.2, 0.7, 0.3])  # right, wrong, right, wrong, right, right
    at = np.arange(10, 16)
    equal, both = score_without(known((10, 3), (12,)), at, is_fake, p_fake, threshold=0.5, n_resamples=200)
    assert (equal.left_out, equal.n_images, equal.n_left_out) == ("equal", 6, 1)
    assert (both.left_out, both.n_left_out) == ("equal or near", 2)
    accuracy = both.metrics["accuracy"]
    assert accuracy.every.value == 4 / 6
    assert accuracy.without.value == 2 / 4
    assert accuracy.difference.value == pytest.approx(-1 / 6, abs=1e-12)
    assert both.accuracy_of_left_out.value == 1
    assert equal.metrics["roc_auc"].without.value == 2 / 6  # reals .9, .3 against fakes .8, .2, .7
    json.dumps(both.to_dict(), allow_nan=False)


def test_effect_agrees_with_the_metrics_of_the_house():
    rng = np.random.default_rng(0)
    is_fake = rng.random(300) < 0.5
    p_fake = np.clip(0.5 + 0.25 * (is_fake - 0.5) + rng.normal(0, 0.2, 300), 0, 1)
    leak = tuple(range(0, 300, 10))
    equal, _ = score_without(known(leak, ()), np.arange(300), is_fake, p_fake, threshold=0.5, n_resamples=200)
    kept = np.setdiff1d(np.arange(300), leak)
    for name, effect in equal.metrics.items():
        assert effect.every.value == all_metrics(is_fake, p_fake, threshold=0.5, n_resamples=1)[name].value
        assert effect.without.value == all_metrics(is_fake[kept], p_fake[kept], threshold=0.5, n_resamples=1)[name].value
        assert effect.difference.low < effect.difference.value < effect.difference.high
        # Resampled together, the difference is far surer than either number.
        assert effect.difference.high - effect.difference.low < (effect.every.high - effect.every.low) / 2


def test_effect_where_nothing_is_left():
    is_fake, p_fake = np.array([False, True]), np.array([0.1, 0.9])
    equal, both = score_without(known((0, 1), ()), np.arange(2), is_fake, p_fake, threshold=0.5, n_resamples=20)
    assert equal == both.__class__("equal", 2, 2, equal.accuracy_of_left_out, equal.metrics)
    assert equal.metrics["accuracy"].without.value is None
    assert "left" in equal.metrics["accuracy"].without.reason
    none, _ = score_without(known((), ()), np.arange(2), is_fake, p_fake, threshold=0.5, n_resamples=20)
    assert none.accuracy_of_left_out.value is None
    assert none.metrics["accuracy"].difference.value == 0


def test_effect_refuses_what_does_not_fit():
    is_fake, p_fake = np.array([False, True]), np.array([0.1, 0.9])
    with pytest.raises(DataError, match="one position for each"):
        score_without({}, np.array([0, 0]), is_fake, p_fake, threshold=0.5)
    with pytest.raises(ScoreError, match="threshold"):
        score_without({}, np.arange(2), is_fake, p_fake, threshold=1.5)
    with pytest.raises(ScoreError, match="logits"):
        score_without({}, np.arange(2), is_fake, np.array([0.1, 7.0]), threshold=0.5)


def test_a_sheet_shows_both_images_of_each_pair():
    images = [picture(0), resized(picture(0), 48)]
    store = store_of(images, label="rf")
    pairs = find_duplicates(store).pairs
    with Image.open(io.BytesIO(pair_sheet(store, pairs))) as sheet:
        assert sheet.size == (2 * 104 + 0, 104)
        pixels = np.asarray(sheet.convert("RGB"))
    np.testing.assert_array_equal(pixels[4:100:3, 4:100:3], images[0])
    np.testing.assert_array_equal(pixels[4:100:2, 108:204:2], images[1])
    assert pixels[2, 50].tolist() == [0, 114, 178]  # real
    assert pixels[2, 150].tolist() == [213, 94, 0]  # fake
    with pytest.raises(UsageError, match="needs a pair"):
        pair_sheet(store, [])
