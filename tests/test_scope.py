"""scope: statistics by hand, a distance that knows photographs from patterns, and cards that are no scope."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from fauxto.errors import DetectorError, ScoreError
from fauxto.perturb import perturbed
from fauxto.scope import MIN_SIZE, NAMES, NEEDED, Scope, distance, fit_statistics, statistics_of
from fauxto.vocabulary import Kind


def photos(n, seed=0, size=32):
    """Smooth images with some detail, of many brightnesses and colours; a JPEG codec saw each of them."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(n, size // 4, size // 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(n, size, size, 1)), axis=1), axis=2) / 8
    fine = rng.normal(size=(n, size, size, 3)) * rng.uniform(1, 8, (n, 1, 1, 1))
    pixels = rng.uniform(60, 190, (n, 1, 1, 3)) + rng.uniform(10, 40, (n, 1, 1, 1)) * (smooth / 2 + coarse / 2) + fine
    return perturbed(pixels.clip(0, 255).astype(np.uint8), "jpeg-75")


def grey(plane):
    return np.repeat(np.asarray(plane, np.uint8)[None, ..., None], 3, axis=3)


def of(images, name):
    return statistics_of(images)[:, NAMES.index(name)]


@pytest.fixture(scope="module")
def fitted():
    return fit_statistics(photos(1500), photos(1200, seed=1))


# ---------------------------------------------------------------- statistics


def test_there_is_one_column_per_name():
    found = statistics_of(photos(3))
    assert (found.shape, found.dtype) == ((3, len(NAMES)), np.float64)
    assert len(set(NAMES)) == len(NAMES)


def test_statistics_of_stripes_by_hand():
    # Columns at 100 and 104 by turns: each step across is 4, none down; the deviation from the mean is 2.
    stripes = grey(np.tile([100, 104], (16, 8)))
    floor = 0.1
    wanted = {
        "brightness": 102 / 255,
        "contrast": np.log(4 + floor),
        "chroma": np.log(floor),
        "horizontal_detail": np.log(16 + floor),
        "vertical_detail": np.log(floor),
        "diagonal_detail": np.log(floor),  # Haar's horizontal detail holds it all
        "medium_detail": np.log(floor),
        "coarse_detail": np.log(floor),
        "chroma_detail": np.log(floor),
        "clipped": 0.0,
        "peakedness": np.log((256 + floor) / (256 + floor)),
        "blockiness": np.log((4 + floor) / (4 + floor)),
    }
    found = dict(zip(NAMES, statistics_of(stripes)[0], strict=True))
    assert found == pytest.approx(wanted, abs=1e-4)


def test_each_scale_answers_to_its_own_pattern():
    y, x = np.mgrid[:32, :32]
    for cell, name in ((1, "diagonal_detail"), (2, "medium_detail"), (4, "coarse_detail")):
        board = statistics_of(grey(100 + 50 * ((x // cell + y // cell) % 2)))[0]
        found = {key: board[NAMES.index(key)] for key in ("diagonal_detail", "medium_detail", "coarse_detail")}
        assert max(found, key=found.__getitem__) == name
        assert sum(value > 0 for value in found.values()) == 1


def test_turning_an_image_swaps_across_and_down():
    images = photos(4)
    turned = images.transpose(0, 2, 1, 3)
    np.testing.assert_allclose(of(images, "horizontal_detail"), of(turned, "vertical_detail"), rtol=1e-5)
    for name in ("brightness", "contrast", "diagonal_detail", "clipped", "blockiness", "chroma_detail"):
        np.testing.assert_allclose(of(images, name), of(turned, name), rtol=1e-4, atol=1e-5)


def test_clipped_and_peaked_and_blocky_by_hand():
    half = np.full((16, 16), 100)
    half[:8] = 255
    assert of(grey(half), "clipped")[0] == pytest.approx(np.sqrt(0.5))
    edge = np.full((16, 16), 100)
    edge[:, 8:] = 110  # one step of 10 in 15: kurtosis 15; it lies where a JPEG's block ends
    assert of(grey(edge), "peakedness")[0] == pytest.approx(np.log((1e4 / 15 + 0.1) / ((100 / 15) ** 2 + 0.1)), abs=1e-4)
    assert of(grey(edge), "blockiness")[0] == pytest.approx(np.log((10 + 0.1) / 0.1), abs=1e-4)


def test_colour_alone_moves_the_colour_statistics():
    images = photos(6)
    luma = grey(images[0] @ [0.299, 0.587, 0.114])
    assert of(luma, "chroma")[0] == pytest.approx(np.log(0.1), abs=1e-3)
    assert (of(images, "chroma") > 2).all()
    loud = images.copy()
    loud[:, ::2, ::2, 2] ^= 64  # blue alone, in single pixels
    assert (of(loud, "chroma_detail") > of(images, "chroma_detail") + 1).all()


def test_an_image_has_the_same_statistics_alone_and_among_many():
    images = photos(1100, size=16)
    together = statistics_of(images)
    for at in (0, 500, 1099):
        np.testing.assert_allclose(statistics_of(images[at : at + 1])[0], together[at], rtol=1e-5, atol=1e-6)
    assert statistics_of(images[:0]).shape == (0, len(NAMES))


@pytest.mark.parametrize("shape", [(2, 16, 16, 3), (1, 17, 23, 3), (1, 33, 16, 3), (1, 224, 224, 3)])
def test_other_sizes_and_odd_ones_work(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.isfinite(statistics_of(images)).all()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 15, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 3)),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 32, 32), np.uint8),
    ],
)
def test_what_has_no_statistics_is_refused(images):
    with pytest.raises(ScoreError, match="expected uint8 images of shape"):
        statistics_of(images)


# ---------------------------------------------------------------- distance


def test_the_distance_is_mahalanobis_as_scipy_has_it(fitted):
    from scipy.spatial.distance import mahalanobis

    familiar = statistics_of(photos(1500))
    covariance = np.cov(familiar.T)
    covariance += 1e-3 * np.trace(covariance) / len(NAMES) * np.eye(len(NAMES))
    images = photos(5, seed=9)
    wanted = [mahalanobis(row, familiar.mean(0), np.linalg.inv(covariance)) for row in statistics_of(images)]
    np.testing.assert_allclose(distance(images, fitted), wanted, rtol=1e-6)


def test_about_one_in_a_thousand_like_the_validation_images_is_turned_away():
    fitted = fit_statistics(photos(1000), photos(1500, seed=1), perturbed=False)
    rate = (distance(photos(3000, seed=3), fitted) > fitted["limit"]).mean()
    assert 0 < rate < 0.006


@pytest.mark.parametrize("name", ["jpeg-50", "blur-0.6", "noise-0.05", "resize-0.75", "webp-60"])
def test_what_training_does_to_its_images_is_familiar(fitted, name):
    rate = (distance(perturbed(photos(500, seed=4), name), fitted) > fitted["limit"]).mean()
    assert rate < 0.02


def test_without_perturbations_in_training_only_the_clean_images_set_the_limit(fitted):
    clean = fit_statistics(photos(1500), photos(1200, seed=1), perturbed=False)
    judging = distance(photos(1200, seed=1), clean)
    assert clean["limit"] == pytest.approx(np.quantile(judging, 0.999))
    assert clean["limit"] < fitted["limit"]
    assert clean["mean"] == fitted["mean"]


def test_patterns_and_noise_are_unlike_photographs(fitted):
    y, x = np.mgrid[:32, :32]
    rng = np.random.default_rng(0)
    patterns = {
        "flat": np.full((1, 32, 32, 3), 128, np.uint8),
        "black": np.zeros((1, 32, 32, 3), np.uint8),
        "noise": rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8),
        "checkerboard": grey(255 * ((x + y) % 2)),
        "coarse checkerboard": grey(255 * ((x // 4 + y // 4) % 2)),
        "random bits": grey(255 * (rng.random((32, 32)) < 0.5)),
        "ramp": grey(8 * x),
    }
    found = {name: float(distance(image, fitted)[0]) for name, image in patterns.items()}
    assert {name: far for name, far in found.items() if far <= fitted["limit"]} == {}


def test_the_fit_is_the_same_each_time_and_ready_for_a_card(fitted):
    again = fit_statistics(photos(1500), photos(1200, seed=1))
    assert again == fitted
    assert json.loads(json.dumps(fitted)) == fitted
    assert (len(fitted["mean"]), np.shape(fitted["whitening"])) == (len(NAMES), (len(NAMES), len(NAMES)))


def test_images_that_are_all_alike_give_a_fit_too():
    alike = np.repeat(photos(1), NEEDED, axis=0)
    found = fit_statistics(alike, alike, perturbed=False)
    assert np.isfinite(found["whitening"]).all()
    assert distance(photos(1), found)[0] == pytest.approx(0, abs=0.1)


def test_too_few_images_for_a_limit_are_refused():
    few = photos(NEEDED - 1, size=16)
    for parts in ((few, photos(NEEDED, size=16)), (photos(NEEDED, size=16), few)):
        with pytest.raises(ScoreError, match="1,000 validation images"):
            fit_statistics(*parts)


# ---------------------------------------------------------------- Scope


def test_sizes_by_hand():
    scope = Scope.from_card({"min_side": 16, "max_side": 64}, size=32)
    assert [scope.size_reason(*size) for size in ((16, 64), (64, 16), (32, 32))] == [None, None, None]
    reason = scope.size_reason(15, 32)
    assert (reason.kind, reason.text) == (
        Kind.SIZE, "the image has 32 x 15 pixels, this detector was trained for 16 to 64 a side",
    )  # fmt: skip
    assert "65 x 20" in scope.size_reason(20, 65).text


def test_a_card_without_statistics_finds_everything_familiar():
    scope = Scope.from_card({"min_side": 16, "max_side": 64}, size=32)
    assert scope.unfamiliar_reasons(np.zeros((2, 32, 32, 3), np.uint8)) == [None, None]
    assert scope.stable_under == ()


def test_the_reason_names_distance_and_limit(fitted):
    scope = Scope.from_card({"min_side": 16, "max_side": 64, "statistics": fitted, "stable_under": ["jpeg-90"]}, size=32)
    found = scope.unfamiliar_reasons(np.concatenate([photos(1, seed=5), np.zeros((1, 32, 32, 3), np.uint8)]))
    assert found[0] is None
    assert found[1].kind is Kind.UNFAMILIAR
    far = distance(np.zeros((1, 32, 32, 3), np.uint8), fitted)[0]
    assert f"statistics are {far:.3g} away" in found[1].text
    assert f"limit is {fitted['limit']:.3g}" in found[1].text
    assert scope.stable_under == ("jpeg-90",)


def hostile(fitted):
    whitening = np.array(fitted["whitening"])
    return [
        ({"min_side": None}, "lacks"),
        ({"min_side": "a"}, "lacks"),
        ({"max_side": 8}, "impossible"),
        ({"min_side": float("nan")}, "impossible"),
        ({"statistics": []}, "lacks"),
        ({"statistics": {}}, "lacks"),
        ({"statistics": {**fitted, "names": ["brightness"]}}, "does not know"),
        ({"statistics": {**fitted, "names": None}}, "lacks"),
        ({"statistics": {**fitted, "mean": fitted["mean"][:-1]}}, "impossible"),
        ({"statistics": {**fitted, "mean": [[1], 2]}}, "lacks"),
        ({"statistics": {**fitted, "mean": ["x"] * len(NAMES)}}, "lacks"),
        ({"statistics": {**fitted, "whitening": whitening[:2].tolist()}}, "impossible"),
        ({"statistics": {**fitted, "whitening": (whitening * np.nan).tolist()}}, "impossible"),
        ({"statistics": {**fitted, "whitening": (whitening * 1e300).tolist()}}, "impossible"),
        ({"statistics": {**fitted, "limit": 0}}, "impossible"),
        ({"statistics": {**fitted, "limit": float("inf")}}, "impossible"),
        ({"statistics": {**fitted, "limit": None}}, "lacks"),
        ({"stable_under": ["noise-0.1"]}, "impossible"),
        ({"stable_under": ["jpeg-0"]}, "impossible"),
        ({"stable_under": ["jpeg-101"]}, "impossible"),
        ({"stable_under": ["jpeg-90+blur-20"]}, "impossible"),
        ({"stable_under": "jpeg-90"}, "impossible"),
        ({"stable_under": [90]}, "impossible"),
        ({"stable_under": 90}, "lacks"),
        ({"stable_under": ["jpeg-90"] * 5}, "impossible"),
    ]


def test_numbers_that_a_card_holds_as_texts_count_as_numbers(fitted):
    texts = {**fitted, "mean": [str(number) for number in fitted["mean"]]}
    scope = Scope.from_card({"min_side": 16, "max_side": 64, "statistics": texts}, size=32)
    black = np.zeros((1, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(distance(black, texts), distance(black, fitted))
    assert scope.unfamiliar_reasons(black)[0].kind is Kind.UNFAMILIAR


def test_a_scope_that_makes_no_sense_is_refused(fitted):
    sound = {"min_side": 16, "max_side": 64, "statistics": fitted, "stable_under": ["jpeg-90", "webp-100"]}
    before = copy.deepcopy(sound)
    Scope.from_card(sound, size=32)
    for changes, wanted in hostile(fitted):
        with pytest.raises(DetectorError, match=wanted):
            Scope.from_card({**sound, **changes}, size=32)
    with pytest.raises(DetectorError, match="impossible"):
        Scope.from_card(sound, size=MIN_SIZE - 1)
    with pytest.raises(DetectorError, match="lacks"):
        Scope.from_card([], size=32)
    assert sound == before
