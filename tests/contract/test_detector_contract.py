"""What every detector folder must satisfy, whoever trained it and wherever it lies."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import fauxto
from fauxto import Detector
from fauxto.checkpoint import CARD, CARD_FORMAT, WEIGHTS, load_tensors, models_of
from fauxto.models.nets import answers
from fauxto.networks import load_network
from fauxto.preprocess import to_network_input
from fauxto.runs import sha256_of
from fauxto.tiles import aggregate
from fauxto.verdicts import points_of

KEYS = {
    "format", "name", "model", "trained_on", "preprocessing", "calibration",
    "threshold", "scope", "metrics", "environment", "sha256",
}  # fmt: skip
BUNDLED = sorted((Path(str(fauxto.__file__)).parent / "assets").glob(f"*/{CARD}"))


@pytest.fixture(scope="module", params=["trained here", "over tiles", *(path.parent.name for path in BUNDLED)])
def detector(request: pytest.FixtureRequest, run_folder: Path, tiled_folder: Path) -> Detector:
    """The session's own detectors, and every one that is bundled, by its name."""
    return Detector.load({"trained here": run_folder, "over tiles": tiled_folder}.get(request.param, request.param))


@pytest.fixture(scope="module")
def images(detector: Detector) -> list[np.ndarray]:
    """Images inside the detector's scope: noise, flat ones, and another shape than the network's own."""
    rng = np.random.default_rng(0)
    side, low = detector.spec.size, detector.card["scope"]["min_side"]
    noise = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(5)]
    flat = [np.full((side, side, 3), grey, np.uint8) for grey in (0, 128, 255)]
    return [*noise, *flat, rng.integers(0, 256, (max(low, side // 2), side, 3), dtype=np.uint8)]


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (str(key), *texts_in(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, str):
        yield value


def test_weights_and_model_are_of_one_network(detector: Detector) -> None:
    side = detector.spec.size
    batch = np.random.default_rng(1).integers(0, 256, (4, side, side, 3)).astype(np.uint8)
    network, _ = load_network(detector.folder)
    with torch.no_grad():
        images = torch.from_numpy(to_network_input(batch, detector.spec))
        wanted = answers(network, images, mirrored=detector.spec.mirrored).numpy()
    np.testing.assert_allclose(detector.logits(batch), wanted, atol=2e-3 * max(1, np.abs(wanted).max()))


def test_the_card_has_its_keys(detector: Detector) -> None:
    card = detector.card
    assert set(card) >= KEYS
    assert card["format"] == CARD_FORMAT
    assert card["name"]
    assert {"store", "note", "n_train", "n_validation", "generators", "config"} <= set(card["trained_on"])
    assert 0 <= detector.threshold <= 1
    assert detector.temperature > 0
    assert 1 <= card["scope"]["min_side"] <= detector.spec.size <= card["scope"]["max_side"]
    assert all(0 <= number <= 1 for number in card["metrics"].values() if isinstance(number, float))


def test_the_checksums_are_those_of_its_files(detector: Detector) -> None:
    assert set(detector.card["sha256"]) == {*models_of(detector.card), WEIGHTS}
    for name, expected in detector.card["sha256"].items():
        assert sha256_of(detector.folder / name) == expected


def test_the_folder_holds_nothing_else_and_no_pickle(detector: Detector) -> None:
    assert {path.name for path in detector.folder.iterdir()} == {CARD, *models_of(detector.card), WEIGHTS}
    tensors, _ = load_tensors(detector.folder / WEIGHTS)
    assert tensors
    assert all(np.isfinite(value).all() for value in tensors.values())


def test_the_card_names_no_place_on_the_machine_that_made_it(detector: Detector) -> None:
    absolute = re.compile(r"^(/|~|[A-Za-z]:[\\/]|\\\\|file:)")
    assert [text for text in texts_in(detector.card) if absolute.match(text)] == []


def test_p_fake_is_a_probability_that_grows_with_the_logit(detector: Detector, images: list[np.ndarray]) -> None:
    answers = sorted(detector.predict(images), key=lambda answer: answer.logit)
    assert all(0 <= answer.p_fake <= 1 and math.isfinite(answer.logit) for answer in answers)
    assert [answer.p_fake for answer in answers] == sorted(answer.p_fake for answer in answers)
    assert detector.p_fake(np.array([-1e4, 0.0, 1e4])) == pytest.approx([0.0, 0.5, 1.0])
    for answer, verdict in zip(answers, detector.rule.verdicts(np.array([answer.p_fake for answer in answers])), strict=True):
        assert answer.verdict in (verdict, "unsure")
        assert (answer.verdict == "unsure") == bool(answer.reason) == bool(answer.kind)


def test_the_evidence_has_the_logit_as_its_mean(detector: Detector, images: list[np.ndarray]) -> None:
    for image, answer in zip(images, detector.predict(images), strict=True):
        evidence = detector.evidence(image)
        assert evidence.ndim == 2
        assert evidence.dtype == np.float32
        assert float(evidence.mean()) == pytest.approx(answer.logit, abs=1e-4)


def test_an_image_is_answered_alike_alone_and_among_others(detector: Detector, images: list[np.ndarray]) -> None:
    together = detector.logits(images)
    alone = np.concatenate([detector.logits([image]) for image in images])
    backwards = detector.logits(images[::-1], batch_size=2)[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(together, backwards, atol=1e-4)


def test_sizes_outside_the_scope_are_unsure(detector: Detector) -> None:
    scope = detector.card["scope"]
    for height, width in ((scope["max_side"] + 1, scope["max_side"]), (max(1, scope["min_side"] - 1), scope["max_side"])):
        answer = detector.predict([np.zeros((height, width, 3), np.uint8)])[0]
        known = (detector.over_tiles if detector.is_tiled(height, width) else detector).scope
        if known.size_reason(height, width) is None:
            continue  # a scope that begins at 1 has no smaller size; over tiles larger images may be answered
        assert answer.verdict == "unsure"
        assert f"{width} x {height}" in answer.reason


def test_a_verdict_is_the_same_alone_and_among_others(detector: Detector, images: list[np.ndarray]) -> None:
    together = detector.predict(images)
    alone = [detector.predict([image])[0] for image in images]
    assert [(one.verdict, one.reason) for one in alone] == [(one.verdict, one.reason) for one in together]


def test_the_unsure_range_holds_the_threshold_and_says_what_it_promises(detector: Detector) -> None:
    rule, band = detector.rule, detector.card.get("unsure")
    assert rule.low <= rule.threshold <= rule.high
    if band is not None:
        assert {"method", "alpha", "low", "high", "guarantee"} == set(band)
        assert f"{100 * band['alpha']:g} %" in band["guarantee"]


def test_each_operating_point_can_be_used_and_fewer_false_alarms_need_a_higher_threshold(detector: Detector) -> None:
    points = points_of(detector.card)
    thresholds = {name: detector.at(name).threshold for name in points}
    assert sorted(points, key=lambda name: points[name]["target_fpr"]) == sorted(thresholds, key=lambda name: -thresholds[name])
    for point in points.values():
        assert point["fpr"]["value"] <= point["target_fpr"]
        assert all(point[rate]["low"] <= point[rate]["value"] <= point[rate]["high"] for rate in ("fpr", "tpr"))


def test_no_pattern_gets_a_verdict_where_the_card_knows_its_statistics(detector: Detector) -> None:
    if detector.scope.statistics is None:
        pytest.skip("the card has no statistics")
    size = detector.spec.size
    flat, board = np.full((size, size, 3), 128, np.uint8), np.zeros((size, size, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    assert [answer.verdict for answer in detector.predict([flat, board])] == ["unsure", "unsure"]


def test_loading_again_gives_the_same_answers(detector: Detector, images: list[np.ndarray]) -> None:
    np.testing.assert_array_equal(Detector.load(detector.folder).logits(images), detector.logits(images))


def test_a_large_image_over_tiles_is_answered_by_its_tiles_and_its_own_rules(detector: Detector) -> None:
    if detector.tiles is None:
        pytest.skip("the card has no tiles")
    height, width = 3 * detector.tiles.side, max(2 * detector.tiles.side, 2 * detector.spec.size + 1)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (answer,) = detector.predict([image])
    evidence, rules = detector.evidence(image), detector.over_tiles
    assert evidence.shape == detector.tiles.lattice(height, width)
    assert aggregate(evidence, detector.tiles.rule) == pytest.approx(answer.logit, abs=1e-5)
    assert rules.p_fake(np.array([answer.logit])) == answer.p_fake
    assert answer.verdict in ("unsure", *rules.rule.verdicts(np.array([answer.p_fake])))
    too_large = np.zeros((detector.tiles.side, int(rules.scope.max_side) + 1, 3), np.uint8)
    assert detector.predict([too_large])[0].kind == "size"
