"""Detector over tiles: large images at their own pixels, by rules of their own, and small ones as ever."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto import Detector
from fauxto.asking import Network
from fauxto.errors import DetectorError, ImageError, UsageError
from fauxto.perturb import perturbed
from fauxto.preprocess import normalised
from fauxto.tiles import aggregate
from fauxto.vocabulary import Prediction


@pytest.fixture
def detector(tiled_folder: Path) -> Detector:
    return Detector.load(tiled_folder)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Notes the shape of all that the network is asked about."""
    shapes: list[tuple[int, ...]] = []
    plain = Detector._ask

    def noted(self: Detector, images: np.ndarray, *outputs: str) -> list[np.ndarray]:
        shapes.append(images.shape)
        return plain(self, images, *outputs)

    monkeypatch.setattr(Detector, "_ask", noted)
    return shapes


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def changed(detector: Detector, **tiles: object) -> Detector:
    return replace(detector, card=detector.card | {"tiles": detector.card["tiles"] | tiles})


# ---------------------------------------------------------------- which way


@pytest.mark.parametrize(
    ("size", "is_tiled"),
    [((32, 32), False), ((64, 64), False), ((32, 65), True), ((31, 500), False), ((65, 32), True), ((500, 31), False)],
)
def test_size_alone_decides_which_way_an_image_goes(detector: Detector, size: tuple[int, int], is_tiled: bool) -> None:
    assert detector.is_tiled(*size) is is_tiled
    card = {key: value for key, value in detector.card.items() if key != "tiles"}
    assert not replace(detector, card=card).is_tiled(*size)


def test_a_small_image_is_answered_as_if_there_were_no_tiles(detector: Detector) -> None:
    plain = replace(detector, card={key: value for key, value in detector.card.items() if key != "tiles"})
    images = [noise(32, 32), noise(20, 40), noise(64, 64), noise(31, 500)]
    assert detector.predict(images) == plain.predict(images)
    np.testing.assert_array_equal(detector.logits(images), plain.logits(images))
    np.testing.assert_array_equal(detector.evidence(images[1]), plain.evidence(images[1]))


# ---------------------------------------------------------------- answers


def test_a_large_images_logit_is_the_mean_of_its_tiles_at_native_pixels(detector: Detector) -> None:
    image = noise(64, 128)
    squares = np.stack([image[y : y + 32, x : x + 32] for y in (0, 32) for x in (0, 32, 64, 96)])
    expected = detector.logits(squares).reshape(2, 4)  # the card neither recodes nor mirrors
    np.testing.assert_allclose(detector.evidence(image), expected, atol=1e-5)
    assert detector.evidence(image).dtype == np.float32
    (answer,) = detector.predict([image])
    assert answer.logit == pytest.approx(expected.mean(), abs=1e-5)
    assert detector.logits([image]) == np.float32(answer.logit)
    assert answer.p_fake == pytest.approx(1 / (1 + np.exp(-answer.logit / 0.25 - 0.5)), abs=1e-9)


@pytest.mark.parametrize("rule", ["median", "upper-half", "upper-quarter", "trimmed"])
def test_the_cards_rule_makes_the_logit(detector: Detector, rule: str) -> None:
    image = noise(100, 120)
    other = changed(detector, rule=rule)
    assert other.predict([image])[0].logit == pytest.approx(aggregate(detector.tile_logits(image), rule), abs=1e-6)


def test_small_large_and_broken_images_keep_their_order(detector: Detector) -> None:
    images = [noise(32, 32), noise(70, 90), b"", noise(40, 40), noise(200, 100), noise(16, 16)]
    answers = list(detector.predict_each(images, batch_size=2))
    for image, answer in zip(images, answers, strict=True):
        if isinstance(answer, ImageError):
            assert image == b""
        else:
            assert answer.logit == pytest.approx(detector.predict([image])[0].logit, abs=1e-4)
    readable = [image for image in images if not isinstance(image, bytes)]
    said = [answer.logit for answer in answers if isinstance(answer, Prediction)]
    np.testing.assert_allclose(detector.logits(readable, batch_size=2), said, atol=1e-4)


def test_a_large_image_is_answered_before_the_next_is_read(detector: Detector) -> None:
    read: list[int] = []
    answers = detector.predict_each(read.append(number) or noise(70, 70) for number in range(5))
    next(answers)
    assert read == [0]
    small = detector.predict_each((read.append(number) or noise(32, 32) for number in range(10, 15)), batch_size=3)
    next(small)
    assert read == [0, 10, 11, 12]


def test_every_form_of_one_large_image_has_one_answer(detector: Detector, tmp_path: Path) -> None:
    pixels = noise(80, 100)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    forms = [pixels, Image.fromarray(pixels), tmp_path / "a.png", (tmp_path / "a.png").read_bytes()]
    assert len(set(detector.predict(forms))) == 1


def test_no_image_costs_more_than_the_most_tiles(detector: Detector, asked: list[tuple[int, ...]]) -> None:
    plain = changed(detector, scope={"min_side": 32, "max_side": 5000})
    plain.predict([noise(1000, 1500)])
    assert sum(shape[0] for shape in asked) == 15  # 3 rows of 5
    assert {shape[2:] for shape in asked} == {(32, 32)}


def test_tiles_go_to_the_network_in_parts(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(128, 128)
    whole = detector.tile_logits(image)
    monkeypatch.setattr("fauxto.asking._TILED_AT_ONCE", 3 * 32 * 32)
    np.testing.assert_allclose(detector.tile_logits(image), whole, atol=1e-5)


def test_tiles_are_neither_recoded_nor_mirrored(detector: Detector, asked: list[tuple[int, ...]]) -> None:
    preprocessing = detector.card["preprocessing"] | {"recode": 40, "mirrored": True}
    other = replace(detector, card=detector.card | {"preprocessing": preprocessing})
    image = noise(64, 96)
    expected = detector.tile_logits(image)
    asked.clear()
    np.testing.assert_array_equal(other.tile_logits(image), expected)
    assert asked == [(6, 3, 32, 32)]


# ---------------------------------------------------------------- rules of their own


def test_large_images_are_judged_by_their_own_rules(detector: Detector) -> None:
    assert (detector.threshold, detector.over_tiles.threshold) == (0.4, 0.5)
    assert detector.over_tiles.scope.max_side == 5000
    assert detector.over_tiles.scope.statistics is None
    assert detector.predict([noise(64, 6000)])[0].kind == "size"
    assert "6000 x 64" in detector.predict([noise(64, 6000)])[0].reason
    own = changed(detector, unsure={"low": 0.0, "high": 1.0, "alpha": 0.1}, scope={"min_side": 32, "max_side": 5000})
    large, small = own.predict([noise(100, 100), noise(32, 32)])
    assert (large.kind, small.kind) == ("evidence", "")


def test_without_own_rules_the_cards_hold(detector: Detector) -> None:
    bare = {"side": 32, "most": 16, "rule": "mean", "fitted_on": ""}
    plain = replace(detector, card=detector.card | {"tiles": bare})
    (answer,) = plain.predict([noise(100, 100)])
    assert answer.kind == "size"
    assert "16 to 64" in answer.reason
    assert answer.p_fake == pytest.approx(1 / (1 + np.exp(-answer.logit)), abs=1e-9)


def test_a_verdict_that_flips_when_the_tiles_are_saved_again_is_unsure(
    detector: Detector, asked: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(64, 96)
    tiles = detector.tiles.cut(image).reshape(6, 32, 32, 3)
    before, after = (detector._ask(normalised(some, detector.spec), "logit")[0].mean() for some in (tiles, 255 - tiles))
    bias = -float(before + after) / 2 / 0.25  # one half lies between both
    own = changed(detector, calibration={"temperature": 0.25, "bias": bias})
    monkeypatch.setattr("fauxto.asking.perturbed", lambda images, name: 255 - images)
    asked.clear()
    (answer,) = own.predict([image])
    assert answer.kind == "unstable"
    assert answer.reason.endswith("when the image is saved again as jpeg-90")
    assert asked == [(6, 3, 32, 32)] * 2
    asked.clear()
    (again,) = own.predict([image], logits=[answer.logit])
    assert again == answer
    assert asked == [(6, 3, 32, 32)], "only the re-encoded tiles"
    far = changed(own, calibration={"temperature": 1e-4, "bias": 0.0})
    asked.clear()
    assert far.predict([image])[0].kind != "unstable"
    assert len(asked) == 1, "no re-encoding could turn it"


def test_a_tile_that_is_saved_again_is_the_image_saved_again(detector: Detector) -> None:
    image = np.asarray(Image.fromarray(noise(12, 18)).resize((144, 96), Image.Resampling.BICUBIC))
    tiles = detector.tiles.cut(image)
    whole = detector.tiles.cut(perturbed(image[None], "jpeg444-80")[0])
    each = perturbed(tiles.reshape(-1, 32, 32, 3), "jpeg444-80").reshape(tiles.shape)
    np.testing.assert_array_equal(whole, each)


def test_an_operating_point_needs_both_ways(detector: Detector) -> None:
    rate = {"value": 0.5, "low": 0.4, "high": 0.6}
    point = {"target_fpr": 0.01, "fpr": rate, "tpr": rate}
    small = replace(detector, card=detector.card | {"operating_points": {"fpr1": point | {"threshold": 0.7}}})
    with pytest.raises(UsageError, match="has none"):
        small.at("fpr1")
    both = changed(small, operating_points={"fpr1": point | {"threshold": 0.9}}).at("fpr1")
    assert (both.threshold, both.over_tiles.threshold) == (0.7, 0.9)


def test_known_logits_must_be_as_many_as_the_images(detector: Detector) -> None:
    with pytest.raises(ValueError, match="shorter"):
        detector.predict([noise(32, 32), noise(32, 32)], logits=[1.0])


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        (None, "lack a value"),
        ({"side": 33}, "impossible"),
        ({"rule": "best"}, "impossible"),
        ({"calibration": {"temperature": -1}}, "impossible"),
        ({"calibration": "hot"}, "lacks"),
        ({"calibration": {"temperature": 1, "certain_logit": "x"}}, "lacks"),
        ({"calibration": {"temperature": 1, "certain_logit": -1}}, "impossible"),
        ({"threshold": 7}, "impossible"),
        ({"unsure": {"low": 1}}, "lacks"),
        ({"scope": []}, "lacks"),
        ({"scope": {"min_side": 3}}, "lacks"),
        ({"scope": {"min_side": 3, "max_side": 9, "stable_under": ["noise-1"]}}, "impossible"),
        ({"operating_points": {"fpr1": {}}}, "lack"),
    ],
)
def test_unsound_tiles_are_refused(tiled_folder: Path, tmp_path: Path, tiles: dict | None, message: str) -> None:
    folder = Path(shutil.copytree(tiled_folder, tmp_path / "copy"))
    card = json.loads((folder / "card.json").read_text())
    card["tiles"] = tiles and card["tiles"] | tiles
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(DetectorError, match=message):
        Detector.load(folder)


def test_no_tiles_where_none_fits_or_none_are_on_the_card(detector: Detector, run_folder: Path) -> None:
    for one, image in ((detector, noise(31, 500)), (Detector.load(run_folder), noise(100, 100))):
        with pytest.raises(UsageError, match="not answered over tiles"):
            one.tile_logits(image)


def test_a_model_of_fixed_size_does_not_fit_a_card_with_tiles(run_folder: Path) -> None:
    plain = Detector.load(run_folder)
    tiles = {"side": 48, "most": 4, "rule": "mean"}
    with pytest.raises(DetectorError, match="does not fit its card"):
        replace(plain, card=plain.card | {"tiles": tiles}).predict([noise(100, 100)])


def test_a_network_answers_evidence_and_logit_alike(detector: Detector) -> None:
    network = detector._network
    assert isinstance(network, Network)
    image = noise(90, 70)
    assert network.evidence(image).mean() == pytest.approx(float(network.over_tiles(image)), abs=1e-6)
