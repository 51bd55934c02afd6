from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from fauxto.config import TrainConfig, preset
from fauxto.data.splits import Split, clusters, draw, make_split
from fauxto.data.store import Store, load_data
from fauxto.errors import DataError


def make_store(label, *, pixels=None, group=None, split=None, generator=None) -> Store:
    """A store without images: splitting looks at nothing but these columns."""
    n, side, nothing = len(label), np.full(len(label), 32, np.int32), np.zeros(0, np.uint8)
    words = {name: np.array([""] * n if value is None else value, dtype=str) for name, value in
             (("group", group), ("split", split), ("generator", generator))}  # fmt: skip
    digest = np.array([f"{value:032x}" for value in (range(n) if pixels is None else pixels)], "S32")
    return Store(
        folder=Path("nowhere"), path=np.array([f"{at}.png" for at in range(n)]), label=np.array(label, np.uint8), **words,
        height=side, width=side, pixel_hash=digest, file_format=side, file_bytes=side, broken=(), _offset=nothing,
        _pixels=nothing,
    )  # fmt: skip


def balanced(n: int, **more) -> Store:
    return make_store([at % 2 for at in range(n)], **more)


def parts(split: Split) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


def config(**changes) -> TrainConfig:
    return preset("notebook", **({"split": "notebook"} | changes))


def test_the_notebooks_shares_by_hand():
    store = balanced(1000)
    split = make_split(store, config())
    assert [len(part) for part in parts(split)] == [640, 160, 200]
    assert [int(store.is_fake[part].sum()) for part in parts(split)] == [320, 80, 100]
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(1000))
    assert np.array_equal(split.test, split.test_unseen)
    assert split.n_left_out == 0


def test_the_official_split_by_hand():
    # Images 0-9 are test. Image 10 repeats test image 0, and 11 repeats test image 1: both leave the training part.
    pixels = list(range(40))
    pixels[10], pixels[11] = 0, 1
    store = balanced(40, pixels=pixels, split=["test"] * 10 + ["train"] * 30)
    split = make_split(store, config(split="official"))
    assert split.test.tolist() == list(range(10))
    assert split.test_unseen.tolist() == list(range(2, 10))
    assert split.n_left_out == 2
    assert sorted([*split.train, *split.validation]) == list(range(12, 40))
    assert len(split.validation) == 6


def test_the_datas_own_validation_part_is_kept():
    store = balanced(40, split=["test"] * 10 + ["val"] * 10 + ["train"] * 20)
    split = make_split(store, config(split="official", subset=0.5))
    assert split.validation.tolist() == list(range(10, 20))
    assert len(split.train) == 10


def test_a_group_never_stands_on_two_sides_of_the_official_split():
    group = ["a", "a", *[""] * 36, "a", "a"]
    store = balanced(40, group=group, split=["test"] * 10 + ["train"] * 30)
    split = make_split(store, config(split="official"))
    assert split.n_left_out == 2
    assert not set(split.train) & {38, 39}
    assert len(split.test_unseen) == 10  # same group, other pixels: seen are only equal pixels


def test_runs_with_different_seeds_can_share_a_split(store):
    one, other = (make_split(store, config(seed=seed, split_seed=1)) for seed in (1, 2))
    assert np.array_equal(one.train, other.train)
    assert np.array_equal(one.validation, make_split(store, config(seed=1)).validation)
    assert not np.array_equal(one.validation, make_split(store, config(seed=1, split_seed=2)).validation)


def test_same_seed_same_split_and_another_seed_another():
    store = balanced(200)
    one, same, other = (make_split(store, config(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.test, same.test)
    assert np.array_equal(one.train, same.train)
    assert not np.array_equal(one.test, other.test)


@pytest.mark.parametrize("limit", [10, 101, 333, 799, 5000])
def test_a_limit_draws_exactly_so_many(limit):
    store = make_store(
        [0] * 300 + [1] * 700, generator=[""] * 300 + ["a"] * 400 + ["b"] * 300, pixels=[*range(900), *range(400, 500)]
    )
    split = make_split(store, config(limit=limit))
    n_used = len(split.train) + len(split.validation)
    assert n_used == min(limit, 800)
    n_fake = int(store.is_fake[split.train].sum() + store.is_fake[split.validation].sum())
    assert abs(n_fake - 0.7 * n_used) <= 1


def test_a_subset_leaves_the_test_part_alone():
    store = balanced(1000)
    whole, quarter = make_split(store, config()), make_split(store, config(subset=0.25))
    assert np.array_equal(whole.test, quarter.test)
    assert len(quarter.train) + len(quarter.validation) == 200


def test_strata_are_shared_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    kind = rng.choice(4, 997, p=[0.55, 0.25, 0.15, 0.05])
    ours = draw(np.arange(997), 200, cluster=np.arange(997), strata=kind, seed=0)
    _, theirs = train_test_split(np.arange(997), test_size=200, stratify=kind, random_state=0)
    assert len(ours) == len(theirs) == 200
    assert np.abs(np.bincount(kind[ours]) - np.bincount(kind[theirs])).max() <= 1


@pytest.mark.parametrize(("n_wanted", "n_got"), [(0, 0), (1, 0), (3, 4), (4, 4), (5, 4), (7, 8), (20, 20), (99, 20)])
def test_large_clusters_come_as_near_as_they_can(n_wanted, n_got):
    cluster = np.repeat(np.arange(5), 4)
    assert len(draw(np.arange(20), n_wanted, cluster=cluster, strata=np.zeros(20, int), seed=3)) == n_got


def test_what_one_stratum_cannot_give_the_next_may():
    # Two strata, one group of 4 in each: a want of 4 is one group, not none of either.
    got = draw(np.arange(8), 4, cluster=np.repeat([0, 1], 4), strata=np.repeat([0, 1], 4), seed=0)
    assert len(got) == 4


def test_clusters_join_through_pixels_and_groups():
    #          same pixels: 0-1, 2-3      same group: 1-2      so 0-1-2-3 are one; 4 and 5 stand alone
    store = balanced(6, pixels=[7, 7, 8, 8, 9, 10], group=["", "g", "g", "", "", ""])
    found = clusters(store)
    assert len(set(found[:4])) == 1
    assert len(set(found)) == 3


def test_clusters_agree_with_scipy():
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(1)
    pixels, group = rng.integers(0, 80, 120), rng.integers(0, 90, 120)
    store = balanced(120, pixels=pixels, group=[f"g{value}" for value in group])
    links = coo_matrix(
        (np.ones(240), (np.tile(np.arange(120), 2), np.concatenate([120 + pixels, 200 + group]))), shape=(290, 290)
    )
    _, theirs = connected_components(links, directed=False)
    same = clusters(store)[:, None] == clusters(store)[None]
    assert np.array_equal(same, theirs[:120, None] == theirs[None, :120])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_pixels_and_no_group_ever_stand_on_two_sides(data):
    n = data.draw(st.integers(2, 60))
    column = st.lists(st.integers(0, 25), min_size=n, max_size=n)
    store = make_store(
        data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)),
        pixels=data.draw(column),
        group=[f"g{value}" if value < 8 else "" for value in data.draw(column)],
        generator=[f"{value % 3}" for value in data.draw(column)],
        split=data.draw(st.lists(st.sampled_from(["train", "val", "test"]), min_size=n, max_size=n)),
    )
    chosen = config(
        split=data.draw(st.sampled_from(["official", "notebook"])),
        seed=data.draw(st.integers(0, 5)),
        subset=data.draw(st.sampled_from([1.0, 0.5, 0.1])),
        limit=data.draw(st.sampled_from([0, 3, 20])),
    )
    try:
        split = make_split(store, chosen)
    except DataError:
        return  # too few images for one of the parts
    for index, one in enumerate(parts(split)):
        for other in parts(split)[index + 1 :]:
            assert not set(one) & set(other)
            assert not set(store.pixel_hash[one]) & set(store.pixel_hash[other])
            assert not (set(store.group[one]) & set(store.group[other])) - {""}
    assert set(split.test_unseen) <= set(split.test)
    assert all(np.array_equal(part, np.unique(part)) for part in parts(split))


@pytest.mark.parametrize(("label", "said"), [(0, "all 20 images are real: add a folder of fake"), (1, "all 20 images are fake")])
@pytest.mark.parametrize("split", ["official", "notebook"])
def test_one_class_is_refused(label, said, split):
    with pytest.raises(DataError, match=said):
        make_split(make_store([label] * 20, split=["train", "test"] * 10), config(split=split))


def test_a_part_without_both_classes_is_refused():
    with pytest.raises(DataError, match="the validation part holds 0 fake and 3 real"):
        make_split(make_store([0] * 19 + [1]), config())
    with pytest.raises(DataError, match="the test part holds"):
        make_split(make_store([0, 1] * 10, split=["train"] * 18 + ["test", "train"]), config(split="official"))


def test_data_without_parts_have_no_official_split():
    with pytest.raises(DataError, match="use --split notebook"):
        make_split(balanced(20), config(split="official"))


def test_training_images_that_all_stand_in_the_test_part():
    store = balanced(20, pixels=[*range(10), *range(10)], split=["test"] * 10 + ["train"] * 10)
    with pytest.raises(DataError, match="the train part holds 0 fake and 0 real"):
        make_split(store, config(split="official", limit=5))


def fingerprint(positions: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(positions, np.int64)).hexdigest()[:10]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("split", "counts", "expected"),
    [
        ("official", (79698, 19924, 20000, 19622), ["b329217d46", "e2d2c69921", "b49ed4334f", "6eae778686"]),
        ("notebook", (76800, 19200, 24000, 24000), ["d48ecbca9d", "77c83341c5", "0b7ca8d45e", "0b7ca8d45e"]),
    ],
)
def test_cifakes_splits_stay_what_published_runs_used(real_data, split, counts, expected):
    """A run is evaluated on the split that its config gives again: another one would put training images into its test."""
    found = make_split(load_data(real_data), preset("notebook", split=split))
    assert (len(found.train), len(found.validation), len(found.test), len(found.test_unseen)) == counts
    assert [fingerprint(part) for part in (*parts(found), found.test_unseen)] == expected
