"""Samples: balanced, seeded, and no twin or group on two sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fauxto.audit.duplicates import Pair
from fauxto.audit.samples import N_FOLDS, draw_sample, joined
from fauxto.data.splits import clusters
from fauxto.data.store import Store, load_data


def written(folder: Path, rows: list[tuple[str, str, str, int]]) -> Store:
    """Write one tiny image per (label, group, split, value)."""
    (folder / "data").mkdir()
    lines = ["path,label,group,split"]
    for number, (label, group, split, value) in enumerate(rows):
        Image.new("RGB", (2, 2), (value % 256, value // 256, 0)).save(folder / f"data/{number}.png")
        lines.append(f"{number}.png,{label},{group},{split}")
    (folder / "data/manifest.csv").write_text("\n".join(lines) + "\n")
    return load_data(folder / "data", cache=folder / "cache")


def test_both_classes_count_equally_and_groups_stay_together(tmp_path: Path) -> None:
    rows = [("fake" if i % 3 else "real", f"g{i // 4}" if i % 2 else "", "test" if i < 200 else "train", i) for i in range(600)]
    store = written(tmp_path, rows)
    sample = draw_sample(store, seed=3)
    for part in (sample.cross, sample.train, sample.test):
        assert store.is_fake[part].mean() == 0.5
    assert sample.test_name == "the data's own test part"
    cluster = clusters(store)
    assert not np.isin(cluster[sample.train], cluster[sample.test]).any()
    assert set(sample.fold.tolist()) == set(range(N_FOLDS))
    folds: dict[int, set[int]] = {}
    for group, fold in zip(cluster[sample.cross].tolist(), sample.fold.tolist(), strict=True):
        folds.setdefault(group, set()).add(fold)
    assert all(len(each) == 1 for each in folds.values())
    again = draw_sample(store, seed=3)
    assert np.array_equal(again.cross, sample.cross)
    assert not np.array_equal(draw_sample(store, seed=4, n_images=200).cross, draw_sample(store, seed=5, n_images=200).cross)


def test_near_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    rows = [("fake" if i % 2 else "real", "", "test" if i < 120 else "train", i) for i in range(480)]
    store = written(tmp_path, rows)
    pairs = [Pair(i, i + 120, "near", "re-encoded", 0.01) for i in range(60)]  # across the parts
    pairs += [Pair(i, i + 1, "near", "mirrored", 0.02) for i in range(240, 480, 2)]  # across the labels
    sample = draw_sample(store, pairs=pairs, seed=1)
    train, test = set(sample.train.tolist()), set(sample.test.tolist())
    assert sum(pair.first in test and pair.second in train for pair in pairs) == 0
    assert len(test) == 120  # the training part leaves, the test part stays
    fold = dict(zip(sample.cross.tolist(), sample.fold.tolist(), strict=True))
    both = [pair for pair in pairs if pair.first in fold and pair.second in fold]
    assert len(both) == 180
    assert all(fold[pair.first] == fold[pair.second] for pair in both)


def test_chains_are_joined_as_plain_renaming_does() -> None:
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 40, 60)
    at = rng.integers(0, 60, (20, 2))
    found = joined(cluster, [Pair(int(i), int(j), "near", "", 0.0) for i, j in at])
    expected = cluster.copy()
    for _ in range(60):  # plain spreading of the smaller name
        for i, j in at:
            low = min(expected[i], expected[j])
            expected[np.isin(expected, [expected[i], expected[j]])] = low
    assert ((found[:, None] == found) == (expected[:, None] == expected)).all()
    assert joined(cluster, ()) is cluster


def test_the_detectors_part_is_tested_on(tmp_path: Path) -> None:
    store = written(tmp_path, [("fake" if i % 2 else "real", "", "", i) for i in range(400)])
    assert not draw_sample(store).has_test
    chosen = np.arange(120)
    sample = draw_sample(store, test=chosen)
    assert sample.test.tolist() == chosen.tolist()
    assert sample.test_name == "the detector's test part"
    assert not np.isin(sample.train, chosen).any()


def test_a_small_test_part_is_not_tested_on(tmp_path: Path) -> None:
    store = written(tmp_path, [("fake" if i % 2 else "real", "", "test" if i < 60 else "train", i) for i in range(300)])
    assert not draw_sample(store).has_test


def test_one_class_gives_an_empty_sample(tmp_path: Path) -> None:
    store = written(tmp_path, [("fake", "", "", i) for i in range(5)])
    assert len(draw_sample(store).cross) == 0
