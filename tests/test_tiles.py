"""tiles: a lattice of native pixels that covers or spreads, and rules that make one logit of many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fauxto.errors import DetectorError, ScoreError
from fauxto.tiles import ALIGN, RULES, TileRule, aggregate, choose_rule, tile_card

SOUND = {"side": 96, "most": 64, "rule": "mean", "fitted_on": "validation"}


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose pixels tell where they are, up to 4096 pixels a side."""
    image, rows, columns = np.empty((height, width, 3), np.uint8), np.arange(height)[:, None], np.arange(width)
    image[..., 0], image[..., 1], image[..., 2] = rows % 256, columns % 256, rows // 256 * 16 + columns // 256
    return image


def corners(rule: TileRule, height: int, width: int) -> list[tuple[int, int]]:
    tiles = rule.cut(coordinates(height, width))
    first = tiles[:, :, 0, 0].astype(int)
    places = [(row + high // 16 * 256, column + high % 16 * 256) for row, column, high in first.reshape(-1, 3).tolist()]
    assert len(places) == math.prod(rule.lattice(height, width))
    return places


# ---------------------------------------------------------------- lattice


def test_the_smallest_image_is_one_tile_and_itself() -> None:
    image = coordinates(96, 96)
    np.testing.assert_array_equal(TileRule().cut(image), image[None, None])


def test_an_image_under_two_tiles_is_covered_with_overlap() -> None:
    assert corners(TileRule(), 160, 120) == [(0, 0), (0, 24), (64, 0), (64, 24)]


def test_a_large_image_gets_a_lattice_in_its_proportions() -> None:
    rule = TileRule()
    assert rule.lattice(3000, 4000) == (7, 9)  # sqrt(64 * 3/4) = 6.9
    assert rule.lattice(4000, 3000) == (9, 7)
    assert rule.lattice(5000, 5000) == (8, 8)
    assert rule.lattice(96, 100_000) == (1, 64)
    assert TileRule(most=1).lattice(5000, 5000) == (1, 1)
    assert corners(TileRule(side=16, most=1), 48, 80) == [(16, 32)], "a single tile lies in the middle"
    found = corners(rule, 3000, 4000)
    assert (found[0], found[-1]) == ((0, 0), (2904, 3904)), "from edge to edge"


@given(st.integers(16, 700), st.integers(16, 700), st.sampled_from([16, 48, 96]), st.integers(1, 64))
def test_any_lattice_is_bounded_aligned_inside_and_covers_or_is_apart(height: int, width: int, side: int, most: int) -> None:
    if min(height, width) < side:
        return
    rule = TileRule(side=side, most=most)
    rows, columns = rule.lattice(height, width)
    assert 1 <= rows * columns <= most
    places = np.array(corners(rule, height, width))
    assert not (places % ALIGN).any()
    assert places.min() >= 0
    assert (places.max(axis=0) + side <= (height, width)).all()
    for axis, length, n in ((0, height, rows), (1, width, columns)):
        at = np.unique(places[:, axis])
        assert len(at) == n
        if n * side >= length // ALIGN * ALIGN:
            assert at[0] < ALIGN
            assert length - at[-1] - side < ALIGN
            assert (np.diff(at) <= side).all(), "no gap"
        elif n > 1:
            assert (np.diff(at) >= side).all(), "no overlap"
    all_rows, all_columns = (math.ceil(length // ALIGN * ALIGN / side) for length in (height, width))
    if all_rows * all_columns <= most:
        assert (rows, columns) == (all_rows, all_columns)


def test_tiles_are_the_images_own_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (130, 200, 3), dtype=np.uint8)
    rule = TileRule(side=48)
    tiles = rule.cut(image)
    assert tiles.shape == (3, 5, 48, 48, 3)
    np.testing.assert_array_equal(tiles[2, 4], image[80:128, 152:200])


# ---------------------------------------------------------------- rules


def test_rules_by_hand() -> None:
    logits = np.array([[5.0, -1.0, 0.0], [2.0, 1.0, 7.0]])
    expected = {"mean": 14 / 6, "median": 1.5, "upper-half": 14 / 3, "upper-quarter": 6.0, "trimmed": 2.0}
    for rule, value in expected.items():
        assert aggregate(logits, rule) == pytest.approx(value, abs=1e-12)
        assert aggregate(np.array([3.5]), rule) == 3.5


def test_the_rule_with_the_best_auc_wins() -> None:
    rng = np.random.default_rng(0)
    is_fake = np.arange(60) % 2 == 0
    tiles = [rng.normal(0, 1, (3, 4)) + np.where(rng.random((3, 4)) < 0.2, 6 * fake, 0) for fake in is_fake]
    chosen = choose_rule(tiles, is_fake)
    auc = {rule: roc_auc_score(is_fake, [aggregate(each, rule) for each in tiles]) for rule in RULES}
    assert chosen == max(auc, key=lambda rule: auc[rule])
    assert chosen != "mean"


def test_a_tie_goes_to_the_mean_and_large_logits_are_still_told_apart() -> None:
    assert choose_rule([np.array([1.0]), np.array([0.0])], np.array([True, False])) == "mean"
    tiles = [np.array([1000.0, 1000.0, 1000.0, 3000.0]), np.array([2000.0, 2000.0, 2000.0, 0.0])]
    assert choose_rule(tiles, np.array([True, False])) == "upper-quarter"


@pytest.mark.parametrize("is_fake", [np.array([True, True]), np.array([False, False]), np.array([True]), np.array([], bool)])
def test_a_rule_needs_both_classes_and_a_label_each(is_fake: np.ndarray) -> None:
    with pytest.raises(ScoreError, match="to choose a rule"):
        choose_rule([np.zeros(3), np.ones(3)], is_fake)


# ---------------------------------------------------------------- cards


def test_the_cards_tiles_are_read() -> None:
    assert TileRule.from_card(SOUND | {"rule": "median"}) == TileRule(96, 64, "median")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": 97}, "multiple of 8"),
        ({"side": 8}, "impossible"),
        ({"side": 96.0}, "impossible"),
        ({"side": True}, "impossible"),
        ({"side": 2048}, "impossible"),
        ({"most": 0}, "impossible"),
        ({"most": 10**9}, "impossible"),
        ({"side": 1024, "most": 64}, "impossible"),
        ({"most": "64"}, "impossible"),
        ({"rule": "best"}, "impossible"),
        ({"rule": ["mean"]}, "impossible"),
    ],
)
def test_impossible_tiles_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        TileRule.from_card(SOUND | changes)


@pytest.mark.parametrize("values", [None, [], "tiles", {}, {"side": 96, "most": 64}])
def test_tiles_without_their_values_are_refused(values: object) -> None:
    with pytest.raises(DetectorError, match="lack a value"):
        TileRule.from_card(values)  # type: ignore[arg-type]


CARD = {
    "name": "x", "threshold": 0.5, "unsure": {"low": 0.4}, "operating_points": {"fpr1": {}}, "calibration": {"temperature": 2},
    "scope": {"min_side": 16, "statistics": {}, "stable_under": ["jpeg-90"]},
}  # fmt: skip


def test_without_rules_of_their_own_tiles_have_the_cards_but_no_statistics() -> None:
    card = tile_card(CARD | {"tiles": SOUND})
    assert card == CARD | {"tiles": SOUND, "scope": {"min_side": 16, "stable_under": ["jpeg-90"]}}
    assert tile_card(card) == card


def test_the_tiles_own_rules_take_the_cards_place() -> None:
    own = {"calibration": {"temperature": 1}, "threshold": 0.6, "scope": {"min_side": 96, "max_side": 9000, "statistics": {}}}
    card = tile_card(CARD | {"tiles": SOUND | own})
    assert card == {"name": "x", **own, "scope": {"min_side": 96, "max_side": 9000}, "tiles": SOUND}
    assert tile_card(card) == card
    assert tile_card(CARD | {"tiles": SOUND | {"unsure": {"low": 0.1}}})["unsure"] == {"low": 0.1}
