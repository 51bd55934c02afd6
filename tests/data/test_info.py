from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.data.info import CELL, contact_sheet, describe, enlarged
from fauxto.data.store import Store, load_data
from fauxto.errors import UsageError


@pytest.fixture
def mixed(tmp_path: Path) -> Store:
    """Two generators, two formats, two sizes; one picture in train and test, one both real and fake, one broken file."""

    def save(name: str, value: int, size: tuple[int, int] = (8, 8)) -> None:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (value, 0, 0)).save(tmp_path / "data" / name)

    save("train/real/1.png", 10)
    save("train/real/2.png", 20)
    save("test/real/1.png", 10)
    save("train/fake/gan/1.png", 20)
    save("train/fake/gan/2.bmp", 40, (16, 4))
    save("test/fake/diffusion/3.png", 50)
    (tmp_path / "data/test/real/broken.png").write_bytes(b"oops")
    return load_data(tmp_path / "data", skip_broken=True, cache=tmp_path / "cache")


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_counts_by_hand(mixed):
    info = describe(mixed)
    assert info.n_images == 6
    assert info.counts == {"train": {"real": 2, "fake": 2}, "test": {"real": 1, "fake": 1}}
    assert info.generators == {"gan": 2, "diffusion": 1}
    assert (info.sizes, info.n_sizes) == ({"8 x 8": 5, "16 x 4": 1}, 2)
    assert info.formats == {"PNG": {"real": 3, "fake": 2}, "BMP": {"real": 0, "fake": 1}}
    assert [name for name, _ in info.broken] == ["test/real/broken.png"]
    assert info.key == mixed.folder.name
    assert info.n_groups == 0


def test_duplicates_by_hand(mixed):
    found = describe(mixed).duplicates
    assert (found.n_groups, found.n_images, found.n_surplus) == (2, 4, 2)
    assert found.n_test_images_in_train == 1
    assert found.n_images_with_both_labels == 2


def test_it_is_json(mixed):
    again = json.loads(json.dumps(describe(mixed).to_dict(), allow_nan=False))
    assert again["duplicates"]["n_test_images_in_train"] == 1
    assert again["file_bytes"]["real"] > 0


def test_data_of_one_class_without_parts(tmp_path):
    (tmp_path / "data" / "REAL").mkdir(parents=True)
    Image.new("RGB", (1, 1)).save(tmp_path / "data" / "REAL" / "dot.png")
    store = load_data(tmp_path / "data", cache=tmp_path / "cache")
    info = describe(store)
    assert info.counts == {"all": {"real": 1, "fake": 0}}
    assert list(info.file_bytes) == ["real"]
    assert read(contact_sheet(store, tmp_path / "sheet.png", n_per_class=2)).shape[0] == CELL + 8


def test_a_sheet_has_a_row_per_generator_with_square_pixels(mixed, tmp_path):
    path = contact_sheet(mixed, tmp_path / "new" / "sheet.png", n_per_class=3)
    sheet = read(path)
    assert sheet.shape[0] == 3 * (CELL + 4) + 4
    rows = [sheet[4 + row * (CELL + 4) :][:CELL, 190:] for row in range(3)]
    reds = [{int(value) for value in np.unique(row[..., 0][row[..., 1] == 0])} for row in rows]
    assert reds == [{10, 20}, {20, 40}, {50}]
    assert (sheet[:, :190] < 128).any()  # the titles


def test_the_sheet_depends_on_the_seed_alone(store, tmp_path):
    one, same, other = (contact_sheet(store, tmp_path / f"{at}.png", seed=seed).read_bytes() for at, seed in enumerate((1, 1, 2)))
    assert one == same
    assert one != other


def test_many_generators_share_the_last_row(tmp_path):
    for number in range(30):
        (tmp_path / "data" / "fake" / f"generator-with-a-rather-long-name-{number}").mkdir(parents=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(
            tmp_path / "data/fake" / f"generator-with-a-rather-long-name-{number}" / "1.png"
        )
    store = load_data(tmp_path / "data", cache=tmp_path / "cache")
    sheet = read(contact_sheet(store, tmp_path / "sheet.png", n_per_class=8))
    assert sheet.shape[0] == 23 * (CELL + 4) + 4
    assert len(np.unique(sheet[-CELL:, 190:, 0][sheet[-CELL:, 190:, 1] == 0])) == 8
    assert (sheet[:, 180:188] == 255).all()  # long names are cut before the images


def test_no_images_in_a_row_is_refused(store, tmp_path):
    with pytest.raises(UsageError, match="at least 1 image per row, got 0"):
        contact_sheet(store, tmp_path / "sheet.png", n_per_class=0)
    assert not (tmp_path / "sheet.png").exists()


def test_pixels_become_blocks_by_hand():
    small = np.array([[[1, 1, 1], [2, 2, 2]]], np.uint8)
    assert np.asarray(enlarged(small, side=5))[..., 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
    assert enlarged(np.zeros((8, 400, 3), np.uint8), side=100).size == (100, 2)
    assert enlarged(np.zeros((1, 1, 3), np.uint8), side=96).size == (96, 96)


@pytest.mark.realdata
def test_the_real_cifake(real_data):
    info = describe(load_data(real_data))
    assert info.counts == {"train": {"real": 50_000, "fake": 50_000}, "test": {"real": 10_000, "fake": 10_000}}
    assert info.duplicates.n_test_images_in_train == 378
    assert info.formats == {"JPEG": {"real": 60_000, "fake": 60_000}}


def test_groups_on_two_sides_are_counted(store):
    group = np.full(len(store), "", dtype="<U8")
    group[np.flatnonzero(store.split == "train")[:2]] = "one", "two"
    group[np.flatnonzero(store.split == "test")[:1]] = "two"
    assert describe(dataclasses.replace(store, group=group)).duplicates.n_groups_on_two_sides == 1
