"""The embedded data set: deterministic, like CIFAKE in its files, honest in its groups and its name."""

from __future__ import annotations

import csv
import errno
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from fauxto.config import TrainConfig
from fauxto.data import synthetic
from fauxto.data.sources import open_source
from fauxto.data.splits import make_split
from fauxto.data.store import load_data
from fauxto.data.synthetic import GENERATOR, NOTE, TEST_PHOTOS, TRAIN_PHOTOS, make_synthetic
from fauxto.errors import DataError, DiskFullError, MissingExtraError, UsageError

N_PHOTOS, N_EACH = 15, 4


def made(folder: Path, *, n_steps: int = 1, seed: int = 0) -> Path:
    return make_synthetic(folder, n_per_photo=N_EACH, n_steps=n_steps, seed=seed, say=lambda line: None)


@pytest.fixture(scope="module")
def photos() -> dict[str, np.ndarray]:
    return synthetic._photos()


@pytest.fixture
def photos_at_hand(photos: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_photos", lambda: photos)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("synthetic") / "data", n_steps=60)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "manifest.csv").read_text().splitlines()))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def pixels_of(folder: Path, rows: list[dict[str, str]], label: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / row["path"])) for row in rows if row["label"] == label]).astype(float)


def test_counts_and_words(folder: Path, rows: list[dict[str, str]]) -> None:
    assert Counter((row["label"], row["generator"]) for row in rows) == {
        ("real", ""): N_PHOTOS * N_EACH,
        ("fake", GENERATOR): N_PHOTOS * N_EACH,
    }
    assert len(open_source(folder).records) == len(rows) == len(list(folder.rglob("*.jpg")))


def test_files_are_as_cifakes(folder: Path, rows: list[dict[str, str]]) -> None:
    """JPEG quality 75: every entry of the standard's luminance table (ITU-T T.81, annex K) halved and rounded; 4:2:0."""
    for row in rows:
        with Image.open(folder / row["path"]) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (32, 32), "RGB")
            assert image.quantization[0][:8] == [8, 6, 5, 8, 12, 20, 26, 31]
            assert JpegImagePlugin.get_sampling(image) == 2


def test_a_photograph_is_never_on_two_sides(folder: Path, rows: list[dict[str, str]], tmp_path: Path) -> None:
    assert not set(TRAIN_PHOTOS) & set(TEST_PHOTOS)
    assert len({row["group"] for row in rows}) == N_PHOTOS
    assert {row["group"] for row in rows if row["split"] == "test"} == {name.rsplit(".", 1)[0] for name in TEST_PHOTOS}
    store = load_data(folder, cache=tmp_path)
    for config in (TrainConfig(), TrainConfig(split="notebook")):
        split = make_split(store, config)
        sides = [set(store.group[side]) for side in (split.train, split.validation, split.test)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set.union(*sides))


def test_a_fake_is_its_real_image_reconstructed(folder: Path, rows: list[dict[str, str]]) -> None:
    real, fake = (pixels_of(folder, rows, label) for label in ("real", "fake"))
    assert all((one != other).any() for one, other in zip(real, fake, strict=True))
    to_own = np.abs(real - fake).mean(axis=(1, 2, 3))
    to_next = np.abs(real - np.roll(fake, 1, axis=0)).mean(axis=(1, 2, 3))
    assert np.median(to_own) < 0.6 * np.median(to_next)
    assert np.mean(to_own < to_next) > 0.8


def test_real_crops_stand_in_the_photographs(folder: Path, photos: dict[str, np.ndarray]) -> None:
    """JPEG changes a pixel by a little; somewhere in the photograph a window must be as good as equal."""
    crop = np.asarray(Image.open(folder / "test" / "real" / "coffee_0000.jpg")).astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(photos["coffee.png"].astype(float).mean(axis=2), (32, 32))
    nearest = min(np.abs(row - crop.mean(axis=2)).mean(axis=(1, 2)).min() for row in windows)
    assert nearest < 4


@pytest.mark.usefixtures("photos_at_hand")
def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first = bytes_of(made(tmp_path / "first", n_steps=3))
    assert bytes_of(made(tmp_path / "again", n_steps=3)) == first
    other = bytes_of(made(tmp_path / "other", n_steps=3, seed=1))
    assert other.keys() == first.keys()
    assert sum(other[name] != first[name] for name in first if name.endswith(".jpg")) > 0.9 * 2 * N_PHOTOS * N_EACH


@pytest.mark.usefixtures("photos_at_hand")
def test_seeds_of_others_are_left_alone(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    made(tmp_path / "data")
    assert torch.equal(torch.rand(3), expected)


def test_it_is_named_what_it_is(folder: Path) -> None:
    assert NOTE.startswith("simulated data")
    assert (folder / "README.txt").read_text().startswith(NOTE)
    assert "simulated" in GENERATOR


def test_crops_have_contrast_and_are_where_they_are_in_the_photograph() -> None:
    rng = np.random.default_rng(0)
    photo = np.zeros((64, 96, 3), np.uint8)
    photo[:, 48:] = rng.integers(0, 255, (64, 48, 3))
    crops = synthetic._crops(photo, 20, rng)
    assert crops.shape == (20, 32, 32, 3)
    assert crops.dtype == np.uint8
    assert (crops.std(axis=(1, 2, 3)) > 10).all()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="choose another folder"):
        made(tmp_path)


@pytest.mark.usefixtures("photos_at_hand")
def test_a_full_disk_leaves_no_set_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, n_saved = Image.Image.save, 0

    def save_some(image: Image.Image, *args: object, **options: object) -> None:
        nonlocal n_saved
        n_saved += 1
        if n_saved > 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(image, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", save_some)
    with pytest.raises(DiskFullError, match="disk is full"):
        made(tmp_path / "data")
    with pytest.raises(DataError, match=f"of {2 * N_PHOTOS * N_EACH} images cannot be read"):
        load_data(tmp_path / "data", cache=tmp_path / "cache")


def test_missing_packages_and_photographs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "TEST_PHOTOS", ("unheard-of.png",))
    with pytest.raises(DataError, match="bring no unheard-of.png"):
        made(tmp_path / "data")
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match="scikit-image"):
        made(tmp_path / "data")
