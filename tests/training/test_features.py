"""features: computed once, kept chunk by chunk, made again where the cache is damaged or something else is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fauxto.config import TrainConfig
from fauxto.data.store import Store
from fauxto.models.backbones import Backbone
from fauxto.preprocess import PreprocessSpec, to_network_input
from fauxto.runs import cache_folder
from fauxto.training import features
from fauxto.training.features import FeatureMaker
from fauxto.training.logs import EpochBar

SPEC = PreprocessSpec(size=16, fit="centre")
BAR = EpochBar(shown=False)


class Means(torch.nn.Module):
    """Each channel's mean; counts how many images it was shown."""

    n_seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.n_seen += len(images)
        return images.mean(dim=(2, 3))


def maker_of(store: Store, *, fingerprint: str = "one", spec: PreprocessSpec = SPEC, **changes) -> FeatureMaker:
    config = TrainConfig(model="frozen", **changes)
    backbone = Backbone("means", "none", spec, fingerprint, 3, Means())
    return FeatureMaker(store, backbone, spec, config, torch.device("cpu"))


def asked(maker: FeatureMaker, positions: np.ndarray, view: int = 0) -> tuple[np.ndarray, int]:
    """Return the features and how many images were shown for them."""
    before = maker.backbone.network.n_seen
    found = maker.features(positions, BAR, title="features", view=view)
    return found, maker.backbone.network.n_seen - before


@pytest.fixture(autouse=True)
def _small_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAUXTO_CACHE", str(tmp_path / "cache"))  # of its own: what other tests left there would be counted
    monkeypatch.setattr(features, "CHUNK", 8)
    monkeypatch.setattr(features, "AT_ONCE", 3)


def chunks() -> list[Path]:
    return sorted(cache_folder().glob("features/*/*"))


def test_features_are_computed_once(store: Store) -> None:
    positions = np.arange(3, 23)
    middle = np.stack([store.image(at)[8:24, 8:24] for at in positions])
    expected = to_network_input(middle, SPEC).mean(axis=(2, 3))
    first, n_first = asked(maker_of(store), positions)
    np.testing.assert_allclose(first, expected, atol=1e-6)
    again, n_again = asked(maker_of(store), positions)
    np.testing.assert_array_equal(again, first)
    assert (n_first, n_again, len(chunks())) == (20, 0, 3)


def test_what_was_computed_before_a_kill_is_not_computed_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = maker_of(store)
    write, left = features._write, [2]

    def killed(path: Path, found: np.ndarray) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, found)

    monkeypatch.setattr(features, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        asked(maker, np.arange(20))
    monkeypatch.setattr(features, "_write", write)
    assert asked(maker, np.arange(20))[1] == 4


@pytest.mark.parametrize("damage", [b"", b"no array", b"PK\x03\x04" + bytes(30), None])
def test_a_damaged_chunk_is_made_again(store: Store, damage: bytes | None) -> None:
    maker = maker_of(store)
    first, _ = asked(maker, np.arange(20))
    if damage is None:
        np.save(chunks()[1], np.zeros((8, 2), np.float32))
    else:
        chunks()[1].write_bytes(damage)
    again, n_again = asked(maker, np.arange(20))
    np.testing.assert_array_equal(again, first)
    assert n_again == 8


def test_another_backbone_other_pixels_or_other_images_are_another_question(store: Store) -> None:
    positions = np.arange(8)
    asked(maker_of(store), positions)
    for other in (maker_of(store, fingerprint="two"), maker_of(store, spec=replace(SPEC, mean=(0, 0, 0)))):
        assert asked(other, positions)[1] == 8
    assert asked(maker_of(store), positions + 1)[1] == 8
    assert asked(maker_of(store, seed=5, batch_size=99), positions)[1] == 0  # nothing here is drawn by the seed


@pytest.mark.parametrize("change", [{"recode": 30}, {"recode_share": 0.9}, {"jitter": 0.8}, {"recode_from": 9.0}])
def test_a_view_that_is_saved_otherwise_is_another_question(store: Store, change: dict[str, float]) -> None:
    as_before, positions = {"recode": 75, "recode_share": 0.5}, np.arange(8)
    assert asked(maker_of(store, **as_before), positions, 1)[1] == 8
    assert asked(maker_of(store, **as_before), positions, 1)[1] == 0
    assert asked(maker_of(store, **{**as_before, **change}), positions, 1)[1] == 8


def test_each_view_is_drawn_by_the_seed_and_the_image(store: Store) -> None:
    positions = np.arange(8)
    plain, first, second = (asked(maker_of(store), positions, view)[0] for view in range(3))
    assert not np.allclose(plain, first)
    assert not np.allclose(first, second)
    assert not np.allclose(asked(maker_of(store, seed=1), positions, 1)[0], first)
    np.testing.assert_array_equal(asked(maker_of(store), positions[::-1].copy(), 1)[0], first[::-1])


def test_a_view_is_cut_out_at_native_pixels(store: Store) -> None:
    maker = maker_of(store, horizontal_flip=0.0)
    pixels = store.image(0)
    (view,) = maker._random_view(0, 1)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (16, 16), axis=(0, 1))
    cut = (view.transpose(1, 2, 0) * 127.5 + 127.5).round().astype(np.uint8).transpose(2, 0, 1)
    assert (windows == cut).all(axis=(2, 3, 4)).any()


def test_no_images_give_no_features(store: Store) -> None:
    assert asked(maker_of(store), np.arange(0))[0].shape == (0, 3)
