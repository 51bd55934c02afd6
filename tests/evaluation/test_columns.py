"""fauxto.evaluation: which images a detector is measured on, in two columns, and none that it was trained on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fauxto.config import TrainConfig
from fauxto.data.sources import open_source
from fauxto.data.splits import fingerprint, make_split
from fauxto.data.store import open_store
from fauxto.errors import DataError
from fauxto.evaluation import columns_for

from .test_evaluation import card_of


def test_the_official_split_always_has_two_columns(store):
    seen = store.pixel_hash.copy()
    test = np.flatnonzero(store.split == "test")
    seen[test[0]] = seen[np.flatnonzero(store.split == "train")[0]]
    leaky = dataclasses.replace(store, pixel_hash=seen)
    for card in (card_of(leaky), {}):
        columns = columns_for(card, leaky)
        assert list(columns) == ["test", "test, unseen in train"]
        np.testing.assert_array_equal(columns["test"], test)
        np.testing.assert_array_equal(columns["test, unseen in train"], test[1:])


def test_a_drawn_split_is_drawn_again_as_in_training(store):
    card = card_of(store, split="notebook", seed=3)
    split = make_split(store, TrainConfig(split="notebook", seed=3))
    columns = columns_for(card, store)
    assert list(columns) == ["test", "test, unseen in train"]
    for name in columns:  # a drawn test part never shares pixels with the training part
        np.testing.assert_array_equal(columns[name], split.test)


def test_a_drawn_split_that_is_not_the_one_of_the_training_is_refused(store):
    card = card_of(store, split="notebook")
    card["trained_on"]["test_part"] = "0" * 64
    with pytest.raises(DataError, match="may hold training images"):
        columns_for(card, store)


def test_the_training_data_are_recognised_whatever_they_are_packed_in(store):
    card = card_of(store, split="notebook", seed=3)
    card["trained_on"] |= {"store": "the key of an archive", "pixels": fingerprint(store, np.arange(len(store)))}
    split = make_split(store, TrainConfig(split="notebook", seed=3))
    np.testing.assert_array_equal(columns_for(card, store)["test"], split.test)


def test_other_data_need_no_part_to_train_on(store):
    is_kept = (store.split == "test") & store.is_fake
    is_kept[np.flatnonzero(store.split == "train")[0]] = True
    split = np.where(is_kept, store.split, "")
    assert columns_for({}, dataclasses.replace(store, split=split))["test"].tolist() == np.flatnonzero(split == "test").tolist()


def test_data_without_parts_of_their_own_are_taken_whole(image_folder, tmp_path):
    other = open_store(open_source(image_folder / "test"), cache=tmp_path)
    columns = columns_for({}, other)
    assert list(columns) == ["all images"]
    np.testing.assert_array_equal(columns["all images"], np.arange(len(other)))
