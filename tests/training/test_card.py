"""training.card: what validation images can promise is on the card, and what too few can't promise is not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fauxto.calibration import operating_points, to_p_fake, unsure_band
from fauxto.config import preset
from fauxto.data import splits
from fauxto.data.store import Store
from fauxto.preprocess import PreprocessSpec
from fauxto.scope import NEEDED, Scope, fit_statistics
from fauxto.training import card as cards
from fauxto.training.card import make_card
from fauxto.training.state import Position
from fauxto.verdicts import VerdictRule, points_of


def store_of(n: int, size: int = 16) -> Store:
    rng = np.random.default_rng(0)
    pixels = (rng.integers(60, 190, (n, 1, 1, 3)) + rng.normal(0, 12, (n, size, size, 3))).clip(0, 255).astype(np.uint8)
    text, number = np.full(n, ""), np.full(n, size, np.int32)
    hashes = np.array([f"{at:032x}" for at in range(n)], "S32")
    offset = np.arange(n, dtype=np.int64) * size * size * 3
    label = (np.arange(n) % 2).astype(np.uint8)
    return Store(
        Path("stores/key"), text, label, text, text, text, number, number, hashes, text, number, (), offset, pixels.ravel()
    )  # fmt: skip


def loop_of(n_train: int, n_validation: int, *, size: int = 16, **changes: object) -> SimpleNamespace:
    everything = np.arange(n_train + n_validation + 4)
    train, validation, test = np.split(everything, [n_train, n_train + n_validation])
    return SimpleNamespace(
        store=store_of(len(everything)), split=splits.Split(train, validation, test, test, 0), spec=PreprocessSpec(size=size),
        config=preset("notebook", **changes), ancestors={}, parts={}, fabric=SimpleNamespace(device=torch.device("cpu")),
    )  # fmt: skip


def logits_of(loop: SimpleNamespace) -> np.ndarray:
    is_fake = loop.store.is_fake[loop.split.validation]
    return np.random.default_rng(1).normal(np.where(is_fake, 2, -2), 1.2).astype(np.float32)


def made(loop: SimpleNamespace) -> dict:
    return make_card(loop, Position(best_epoch=3), logits_of(loop), name="small", note="a note", model={"name": "resnet18"})


def test_a_card_with_enough_images_holds_every_promise_and_can_be_read() -> None:
    loop = loop_of(1100, 1200)
    card = json.loads(json.dumps(made(loop)))
    is_fake = loop.store.is_fake[loop.split.validation]
    p_fake = to_p_fake(logits_of(loop), temperature=card["calibration"]["temperature"])
    assert points_of(card) == operating_points(is_fake, p_fake)
    assert "600 real and 600 fake validation images" in card["operating_points"]["measured_on"]
    assert (card["unsure"]["low"], card["unsure"]["high"]) == unsure_band(is_fake, p_fake, alpha=0.015)
    assert card["unsure"]["alpha"] == 0.015
    assert "at most 1.5 % of the real ones" in card["unsure"]["guarantee"]
    scope = Scope.from_card(card["scope"], size=16)
    assert (scope.min_side, scope.max_side, scope.stable_under) == (8, 32, ("jpeg-90",))
    rule = VerdictRule.from_card(card)
    said = np.array(rule.verdicts(p_fake))
    assert {(said[is_fake] == "real").mean() <= 0.015, (said[~is_fake] == "fake").mean() <= 0.015} == {True}
    assert rule.threshold == 0.5


@pytest.mark.parametrize("perturb_share", [0.0, 0.5])
def test_the_statistics_are_those_of_training_and_validation_images(perturb_share: float) -> None:
    loop = loop_of(1100, 1200, perturb_share=perturb_share)
    parts = [loop.store.batch(part) for part in (loop.split.train, loop.split.validation)]
    assert made(loop)["scope"]["statistics"] == fit_statistics(*parts, perturbed=perturb_share > 0)


def test_neither_statistics_nor_anything_else_looks_at_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = loop_of(1100, 1200)
    seen: set[int] = set()

    def noted(store: Store, positions: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
        seen.update(positions.tolist())
        return store.batch(positions)

    monkeypatch.setattr(cards, "squares", noted)
    made(loop)
    assert seen == {*loop.split.train.tolist(), *loop.split.validation.tolist()}


def test_large_parts_are_sampled_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "N_SAMPLED", 7)
    positions = np.arange(100, 200)
    drawn = cards.sampled(positions, 0, size=32)
    assert (len(drawn), len(set(drawn.tolist()))) == (7, 7)
    assert set(drawn.tolist()) <= set(positions.tolist())
    assert cards.sampled(positions, 0, size=32).tolist() == drawn.tolist() != cards.sampled(positions, 1, size=32).tolist()
    assert cards.sampled(positions[:7], 0, size=32).tolist() == positions[:7].tolist()


@pytest.mark.parametrize(
    ("n_validation", "has_unsure", "points"),
    [(20, False, set()), (40, False, {"fpr5"}), (130, False, {"fpr5"}), (132, True, {"fpr5"}), (200, True, {"fpr1", "fpr5"})],
)
def test_what_the_validation_images_are_too_few_for_is_left_out(n_validation: int, has_unsure: bool, points: set[str]) -> None:
    card = made(loop_of(40, n_validation))
    assert ("unsure" in card) == has_unsure
    assert set(points_of(card)) == points
    assert ("operating_points" in card) == bool(points)
    assert "statistics" not in card["scope"]
    assert VerdictRule.from_card(card).threshold == 0.5


def test_statistics_need_enough_images_of_each_part_and_a_square_of_16() -> None:
    for loop in (loop_of(NEEDED - 1, NEEDED), loop_of(NEEDED, NEEDED - 1), loop_of(NEEDED, NEEDED, size=15)):
        assert "statistics" not in made(loop)["scope"]
    assert "statistics" in made(loop_of(NEEDED, NEEDED))["scope"]
