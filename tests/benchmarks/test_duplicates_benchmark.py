"""How the benchmark plants copies and judges pairs."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import module

bench = module("audit_duplicates")


def test_pairs_are_judged_by_hand():
    # Three sources, a copy of 0 (jpeg), two of 1 (jpeg, mirrored), one of 2 (noise).
    source = np.array([0, 1, 2, 0, 1, 1, 2])
    kind = np.array(["", "", "", "jpeg", "jpeg", "mirrored", "noise"])
    found = [(0, 3), (1, 4), (2, 4), (0, 4), (3, 5), (1, 2)]
    result = bench.judged(found, {(0, 1)}, source, kind, ["jpeg", "mirrored"])
    jpeg, mirrored, noise = (result["kinds"][name] for name in ("jpeg", "mirrored", "noise"))
    assert [jpeg[name] for name in ("n_planted", "n_found", "n_wrong", "n_natural")] == [2, 2, 1, 2]
    assert [mirrored[name] for name in ("n_planted", "n_found", "n_wrong", "n_natural")] == [1, 0, 0, 1]
    assert [noise[name] for name in ("n_found", "n_wrong")] == [0, 0]
    assert (jpeg["recall"]["value"], jpeg["precision"]["value"]) == (1, 2 / 3)
    assert jpeg["precision_if_natural_were_wrong"]["value"] == 2 / 5
    assert mirrored["precision"] is None
    assert result["together"]["n_planted"] == 3
    assert result["lower_end_of_precision"]["reached"] is False


def test_copies_are_what_their_kind_says():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(bench.changed(image, (), rng), image)
    np.testing.assert_array_equal(bench.changed(image, ("mirror", "mirror"), rng), image)
    np.testing.assert_array_equal(bench.changed(image, ("mirror",), rng), image[:, ::-1])
    for _ in range(5):
        down, right = bench._move(2, rng)
        assert max(abs(down), abs(right)) == 2
    sized = bench.changed(image, ("size",), rng)
    assert sized.dtype == np.uint8
    assert 20 <= min(sized.shape[:2]) <= max(sized.shape[:2]) <= 64
    assert (bench.changed(image, ("jpeg 40 95",), rng) != image).any()


def test_planted_copies_are_counted_on_a_small_set(monkeypatch):
    monkeypatch.setattr(bench, "KINDS", {name: bench.KINDS[name] for name in ("equal", "mirrored")})
    monkeypatch.setattr(bench, "BEYOND", {})
    rng = np.random.default_rng(0)
    images = [np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8) for _ in range(12)]
    store = bench.store_of(images, split=np.full(12, "train"))
    result = bench.planted(store, n_images=10, n_per_kind=3)
    assert result["n_pairs_before"] == 0
    assert {name: row["n_found"] for name, row in result["kinds"].items()} == {"equal": 3, "mirrored": 3}
    assert result["together"]["precision"]["value"] == 1
    counts = bench.whole(bench.find_duplicates(bench.store_of([*images, images[0], images[0]])))
    assert (counts["n_equal_groups"], counts["n_equal_images"], counts["group_sizes"]) == (1, 3, {"3": 1})
    assert counts["counts"][0]["n_pairs"] == 3


@pytest.mark.parametrize("kind", [*bench.KINDS, *bench.BEYOND])
def test_every_kind_can_be_made(kind):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert bench.changed(image, (bench.KINDS | bench.BEYOND)[kind], np.random.default_rng(2)).ndim == 3
