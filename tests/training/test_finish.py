"""What a run's end looks at: validation photographs, saved and damaged in several ways."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

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


def noisy(store: Store, chosen: slice) -> Store:
    """The store with noise, which the codec takes away, in some of its photographs."""
    reals, pixels = np.flatnonzero(~store.is_fake)[chosen], np.array(store._pixels, dtype=np.float64)
    for at in reals:
        own = slice(store._offset[at], store._offset[at] + 32 * 32 * 3)
        pixels[own] += np.random.default_rng(at).normal(0, 8, 32 * 32 * 3)
    return dataclasses.replace(store, _pixels=pixels.clip(0, 255).astype(np.uint8))


def test_photographs_come_as_they_are_as_jpeg_and_a_fourth_of_the_others_damaged(store: Store) -> None:
    loop = run_on(noisy(store, slice(None)))
    reals = np.flatnonzero(~loop.store.is_fake)
    clean, damaged = (some.numpy() for some in finish.validation_photographs(loop))
    as_they_are, saved = clean[: len(reals)], clean[len(reals) :]
    np.testing.assert_array_equal(as_they_are, normalised(loop.store.batch(reals), loop.spec))
    assert len(saved) == len(reals)
    assert (saved != as_they_are).any(axis=(1, 2, 3)).all()
    assert len(damaged) == -(-len(reals) // 4)
    assert (damaged != as_they_are[::4]).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(finish.validation_photographs(loop)[1].numpy(), damaged)


def test_many_that_were_jpeg_leave_no_fewer_of_the_few_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    n_few = 5
    monkeypatch.setattr(finish, "sampled", lambda positions, seed, *, size: positions[:n_few])
    monkeypatch.setattr(finish, "_AT_ONCE", 7)
    loop = run_on(noisy(store, slice(-n_few, None)))
    clean, damaged = finish.validation_photographs(loop)
    few = loop.store.batch(np.flatnonzero(~loop.store.is_fake)[-n_few:])
    assert len(clean) == 3 * n_few
    np.testing.assert_array_equal(clean[n_few : 2 * n_few].numpy(), normalised(few, loop.spec))
    assert len(damaged) == 2


@pytest.mark.parametrize("height", [32, 31])
def test_where_all_photographs_were_jpeg_none_is_damaged(store: Store, height: int) -> None:
    assert set(store.file_format.tolist()) == {"JPEG"}
    fake = np.flatnonzero(store.is_fake)[0]  # one of another height, and the store is no longer uniform
    uneven = dataclasses.replace(store, height=np.where(np.arange(len(store)) == fake, height, store.height))
    clean, damaged = finish.validation_photographs(run_on(uneven))
    assert len(clean) == int((~store.is_fake).sum())
    assert damaged.shape == (0, 3, 32, 32)
