"""What a run's end looks at: validation photographs, saved and damaged in several ways."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np

from fauxto.config import preset
from fauxto.data.splits import Split
from fauxto.data.store import Store
from fauxto.models.factory import preprocess_spec
from fauxto.preprocess import normalised
from fauxto.training import finish


def run_on(store: Store) -> Any:
    """A run whose validation part is the whole store."""
    config, nothing = preset("general"), np.arange(0)
    split = Split(nothing, np.arange(len(store)), nothing, nothing, 0)
    return SimpleNamespace(store=store, split=split, config=config, spec=preprocess_spec(config))


def test_photographs_come_as_they_are_as_jpeg_and_a_fourth_of_the_others_damaged(store: Store) -> None:
    pixels = np.asarray(store._pixels)
    noise = np.random.default_rng(0).normal(0, 8, pixels.shape)  # what the codec takes away
    loop = run_on(dataclasses.replace(store, _pixels=(pixels + noise).clip(0, 255).astype(np.uint8)))
    reals = np.flatnonzero(~loop.store.is_fake)
    clean, damaged = (some.numpy() for some in finish.validation_photographs(loop))
    as_they_are, saved = clean[: len(reals)], clean[len(reals) :]
    np.testing.assert_array_equal(as_they_are, normalised(loop.store.batch(reals), loop.spec))
    is_new = (saved != as_they_are).any(axis=(1, 2, 3))
    n_new = int(is_new.sum())
    assert n_new
    assert len(damaged) == -(-n_new // 4)
    assert (damaged != as_they_are[is_new][::4]).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(finish.validation_photographs(loop)[1].numpy(), damaged)


def test_where_all_photographs_were_jpeg_none_is_damaged(store: Store) -> None:
    assert set(store.file_format.tolist()) == {"JPEG"}
    clean, damaged = finish.validation_photographs(run_on(store))
    assert len(clean) == 2 * int((~store.is_fake).sum())
    assert len(damaged) == 0
