"""data.loaders: every batch is a function of (seed, epoch, step, rank) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from fauxto.config import TrainConfig
from fauxto.data.loaders import augmented, cropped, flipped, n_steps, network_input, shifted, squares, train_batches
from fauxto.data.sources import open_source
from fauxto.data.store import open_store
from fauxto.models.factory import preprocess_spec
from fauxto.preprocess import PreprocessSpec, fit_square, recoded, to_network_input

SPEC = PreprocessSpec()


def epoch_of(store, positions, **changes):
    about = {"epoch": 0} | {
        key: changes.pop(key) for key in ("epoch", "weight", "first_step", "rank", "world_size", "n_workers") if key in changes
    }
    return list(train_batches(store, positions, SPEC, TrainConfig(**{"batch_size": 8} | changes), **about))


def which(store, batches, positions):
    """Find out by their pixels which images came; they must not be mirrored."""
    known = network_input(store, positions, SPEC)
    return [
        int(positions[np.flatnonzero((known == image.numpy()).all((1, 2, 3)))[0]]) for images, *_ in batches for image in images
    ]


@pytest.fixture(scope="module")
def positions(store):
    return np.flatnonzero([record.split == "train" for record in store.records])[:45]


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize(
    ("n_images", "batch_size", "world_size", "expected"),
    [
        (0, 8, 1, 0),
        (1, 8, 1, 0),
        (2, 8, 1, 1),
        (8, 8, 1, 1),
        (9, 8, 1, 1),
        (10, 8, 1, 2),
        (19, 8, 2, 1),
        (20, 8, 2, 2),
        (3, 8, 2, 0),
    ],
)
def test_n_steps(n_images, batch_size, world_size, expected):
    assert n_steps(n_images, batch_size=batch_size, world_size=world_size) == expected


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_there_are_as_many_batches_as_n_steps_says_and_none_has_a_single_image(store, positions, world_size):
    for n_images in range(2 * world_size, 45):
        expected = n_steps(n_images, batch_size=8, world_size=world_size)
        sizes = [
            len(labels)
            for rank in range(world_size)
            for _, labels, _ in epoch_of(store, positions[:n_images], rank=rank, world_size=world_size)
        ]
        assert len(sizes) == expected * world_size
        assert min(sizes) >= 2
        assert max(sizes) <= 8


# ---------------------------------------------------------------- what an epoch holds


def test_an_epoch_shows_every_image_once(store, positions):
    seen = which(store, epoch_of(store, positions, horizontal_flip=0), positions)
    assert sorted(seen) == sorted(positions), "45 = 5 x 8 + 5: the short last batch is kept"
    assert seen != sorted(seen)


def test_a_last_batch_of_one_image_is_left_out(store, positions):
    seen = which(store, epoch_of(store, positions[:41], horizontal_flip=0), positions)
    assert len(seen) == len(set(seen)) == 40


def test_the_processes_share_an_epoch_without_overlap(store, positions):
    alone = which(store, epoch_of(store, positions, horizontal_flip=0, batch_size=8), positions)
    shares = [
        which(store, epoch_of(store, positions, horizontal_flip=0, batch_size=4, rank=rank, world_size=2), positions)
        for rank in range(2)
    ]
    assert not set(shares[0]) & set(shares[1])
    assert sorted(shares[0] + shares[1]) == sorted(alone)


def test_labels_belong_to_their_images(store, positions):
    batches = epoch_of(store, positions, horizontal_flip=0)
    labels = torch.cat([labels for _, labels, _ in batches])
    assert labels.dtype == torch.float32
    assert labels.tolist() == store.is_fake[which(store, batches, positions)].tolist()


def test_images_are_the_networks_input(store, positions):
    images, *_ = epoch_of(store, positions)[0]
    assert (images.dtype, tuple(images.shape)) == (torch.float32, (8, 3, 32, 32))
    expected = to_network_input(np.stack([store.image(int(at)) for at in positions[:3]]), SPEC)
    np.testing.assert_array_equal(network_input(store, positions[:3], SPEC), expected)


# ---------------------------------------------------------------- repeatable from anywhere


def same(left, right):
    return len(left) == len(right) and all(
        torch.equal(a, c) and torch.equal(b, d) and np.array_equal(at, other)
        for (a, b, at), (c, d, other) in zip(left, right, strict=True)
    )


def test_the_same_seed_and_epoch_give_the_same_bits(store, positions):
    first = epoch_of(store, positions)
    assert same(first, epoch_of(store, positions))
    assert not same(first, epoch_of(store, positions, seed=1))
    assert not same(first, epoch_of(store, positions, epoch=1))


@pytest.mark.parametrize("step", [0, 1, 3, 5, 6])
def test_an_epoch_goes_on_from_any_step(store, positions, step):
    assert same(epoch_of(store, positions, first_step=step), epoch_of(store, positions)[step:])


def test_no_global_generator_takes_part(store, positions):
    np.random.seed(0)
    first = epoch_of(store, positions)
    np.random.seed(1)
    torch.manual_seed(1)
    assert same(first, epoch_of(store, positions))


def test_the_largest_seed_works(store, positions):
    assert len(epoch_of(store, positions, seed=2**63 - 1)) == 6


# ---------------------------------------------------------------- flips


def test_flipped_by_hand():
    images = np.arange(12).reshape(2, 2, 3, 1)
    found = flipped(images, np.array([False, True]))
    assert found[0].tolist() == images[0].tolist()
    assert found[1, ..., 0].tolist() == [[8, 7, 6], [11, 10, 9]]


def test_flipped_agrees_with_torchvision():
    from torchvision.transforms.functional import hflip

    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    expected = hflip(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(flipped(images, np.ones(4, bool)), expected)


@pytest.mark.parametrize(("probability", "expected"), [(0, 0), (1, 1)])
def test_never_and_always(store, positions, probability, expected):
    plain = epoch_of(store, positions, horizontal_flip=0)
    found = epoch_of(store, positions, horizontal_flip=probability)
    for (before, *_), (after, *_) in zip(plain, found, strict=True):
        assert torch.equal(after, before.flip(3) if expected else before)


def test_one_half_mirrors_about_half_and_others_each_epoch(store, positions):
    masks = []
    for epoch in range(12):
        plain = epoch_of(store, positions, horizontal_flip=0, epoch=epoch)
        found = epoch_of(store, positions, horizontal_flip=0.5, epoch=epoch)
        masks.append(
            [bool((a != b).any()) for (x, *_), (y, *_) in zip(plain, found, strict=True) for a, b in zip(x, y, strict=True)]
        )
    share = np.mean(masks)
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(np.size(masks)), "beyond four standard deviations"
    assert len({tuple(mask) for mask in masks}) == 12


# ---------------------------------------------------------------- shifts, perturbations, and batches made ahead


@pytest.mark.parametrize("offset", [(0, 0), (2, 0), (0, -3), (-1, 3)])
def test_shifted_agrees_with_reflect_padding(offset):
    images = np.random.default_rng(0).integers(0, 256, (2, 7, 5, 3), np.uint8)
    down, right = offset
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
    expected = padded[:, 3 - down : 10 - down, 3 - right : 8 - right]
    np.testing.assert_array_equal(shifted(images, np.array([offset, offset])), expected)


def test_each_image_is_shifted_on_its_own():
    images = np.arange(6, dtype=np.uint8).reshape(2, 1, 3, 1)
    assert shifted(images, np.array([[0, 0], [0, 1]])).ravel().tolist() == [0, 1, 2, 4, 3, 4]


def test_cropped_by_hand():
    images = np.arange(32).reshape(2, 4, 4, 1)
    found = cropped(images, np.array([[0, 0], [2, 1]]), size=2)
    assert found[..., 0].tolist() == [[[0, 1], [4, 5]], [[25, 26], [29, 30]]]


def test_the_first_epochs_show_cutouts_and_the_others_whole_images(store, positions):
    sides = [
        epoch_of(store, positions, epoch=epoch, crop=24, crop_share=0.5, max_epochs=4)[0][0].shape[-2:] for epoch in range(4)
    ]
    assert sides == [(24, 24), (24, 24), (32, 32), (32, 32)]
    cutout = epoch_of(store, positions, crop=24, max_epochs=4, horizontal_flip=0)[0][0][0].numpy()
    whole = network_input(store, positions, SPEC)
    windows = np.lib.stride_tricks.sliding_window_view(whole, (3, 24, 24), axis=(1, 2, 3))[:, 0]
    assert (windows == cutout).all(axis=(3, 4, 5)).any(), "some 24x24 window of some image, colours and order kept"


def test_an_image_is_recoded_whole_and_cut_out_afterwards(store, positions):
    spec = PreprocessSpec(recode=30)
    config = TrainConfig(batch_size=8, crop=24, max_epochs=4, horizontal_flip=0)
    cutout = next(iter(train_batches(store, positions, spec, config, epoch=0)))[0][0].numpy()
    whole = network_input(store, positions, spec)
    assert not np.array_equal(whole, network_input(store, positions, SPEC))
    windows = np.lib.stride_tricks.sliding_window_view(whole, (3, 24, 24), axis=(1, 2, 3))[:, 0]
    assert (windows == cutout).all(axis=(3, 4, 5)).any()


def test_nothing_is_augmented_unless_it_is_asked_for(store, positions):
    images = squares(store, positions, SPEC)
    config = TrainConfig(horizontal_flip=0)
    np.testing.assert_array_equal(augmented(images, SPEC, config, np.random.default_rng(0)), images)


def test_about_as_many_images_are_perturbed_as_was_asked_for(store, positions):
    images = np.concatenate([squares(store, positions, SPEC)] * 10)
    config = TrainConfig(horizontal_flip=0, perturb_share=0.5)
    found = augmented(images, SPEC, config, np.random.default_rng(0))
    share = (found != images).any(axis=(1, 2, 3)).mean()
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(len(images)), "beyond four standard deviations"


@pytest.mark.parametrize("n_workers", [1, 3])
def test_batches_made_ahead_by_threads_are_the_same(store, positions, n_workers):
    everything = {"shift": 2, "perturb_share": 0.5, "first_step": 1}
    assert same(epoch_of(store, positions, n_workers=n_workers, **everything), epoch_of(store, positions, **everything))


# ---------------------------------------------------------------- images of several sizes


def test_images_of_several_sizes_become_the_networks(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("REAL", "FAKE"):
        (tmp_path / label).mkdir()
        for number, shape in enumerate([(32, 32), (40, 20), (1, 1)]):
            Image.fromarray(rng.integers(0, 255, (*shape, 3), np.uint8)).save(tmp_path / label / f"{number}.png")
    store = open_store(open_source(tmp_path), cache=tmp_path / "cache")
    found = network_input(store, np.arange(6), SPEC)
    assert found.shape == (6, 3, 32, 32)
    for at in range(6):
        np.testing.assert_array_equal(found[at], to_network_input(fit_square(store.image(at), size=32)[None], SPEC)[0])


def test_images_of_one_other_size_are_resized_too(store, positions):
    assert network_input(store, positions[:2], PreprocessSpec(size=16)).shape == (2, 3, 16, 16)


# ---------------------------------------------------------------- some images more often, some as JPEG


def test_weighted_epochs_draw_each_image_as_often_as_it_is_wanted(store, positions):
    weight = np.where(np.arange(len(positions)) < 3, 5.0, 0.0)
    drawn = np.concatenate([batch[2] for epoch in range(20) for batch in epoch_of(store, positions, epoch=epoch, weight=weight)])
    assert len(drawn) == 20 * (len(positions) // 8 * 8 + (len(positions) % 8 if len(positions) % 8 > 1 else 0))
    assert set(drawn.tolist()) == set(positions[:3].tolist())
    counts = np.bincount(np.searchsorted(positions[:3], drawn))
    assert np.abs(counts / len(drawn) - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(drawn)), "beyond four standard deviations"


def test_weighted_epochs_go_on_anywhere_too(store, positions):
    weight = np.arange(1.0, len(positions) + 1)
    whole = epoch_of(store, positions, epoch=2, weight=weight)
    rest = epoch_of(store, positions, epoch=2, weight=weight, first_step=2)
    for ours, theirs in zip(whole[2:], rest, strict=True):
        assert torch.equal(ours[0], theirs[0])


def test_a_share_of_the_images_is_saved_as_jpeg_and_the_others_stay(store, positions):
    images = np.concatenate([squares(store, positions, SPEC)] * 10)
    config = TrainConfig(horizontal_flip=0, recode=75, recode_share=0.3)
    assert preprocess_spec(config).recode == 0, "the finished detector sees images as they are"
    found = augmented(images, preprocess_spec(config), config, np.random.default_rng(0))
    saved = recoded(images, PreprocessSpec(recode=75))
    changes = (saved != images).any(axis=(1, 2, 3))
    is_saved = (found == saved).all(axis=(1, 2, 3))
    assert ((found == images).all(axis=(1, 2, 3)) | is_saved).all()
    assert abs(is_saved[changes].mean() - 0.3) < 4 * 0.46 / np.sqrt(changes.sum())
