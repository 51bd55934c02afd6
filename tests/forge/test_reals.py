"""Where a forge takes its photographs: labelled sets, unlabelled folders, arrays; crops, groups, hostile files."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.errors import DataError
from fauxto.forge import reals as module
from fauxto.forge.reals import open_reals
from fauxto.forge.settings import ForgeSettings

SMALL = ForgeSettings(size=16)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Twenty unlabelled photographs of 20 x 24 pixels whose red and green say where a pixel stood, and a small one."""
    folder = tmp_path / "holiday"
    (folder / "beach").mkdir(parents=True)
    for number in range(20):
        rows, columns = np.mgrid[:20, :24]
        Image.fromarray(np.stack([rows, columns, np.full_like(rows, number)], 2).astype(np.uint8)).save(
            folder / "beach" / f"{number:02d}.png"
        )
    Image.new("RGB", (15, 40)).save(folder / "thumbnail.png")
    return folder


def test_only_real_images_outside_of_the_test_part(image_folder: Path) -> None:
    found = open_reals(image_folder, ForgeSettings(size=32))
    assert found.images.shape == (32, 32, 32, 3)
    assert all(group.startswith("train/REAL/") for group in found.group)
    for group, image in zip(found.group, found.images, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(image_folder / group)))
    assert "32 of 88" in found.said[0]


def test_unlabelled_photographs_are_cut_at_native_resolution(large: Path) -> None:
    found = open_reals(large, SMALL)
    assert len(found.images) == 20
    assert any("taken for photographs" in line for line in found.said)
    assert any(line.startswith("1 images are smaller") for line in found.said)
    for group, image in zip(found.group, found.images, strict=True):
        assert group == f"beach/{image[0, 0, 2]:02d}.png"
        np.testing.assert_array_equal(np.diff(image[:, :, 0], axis=0), 1)
        np.testing.assert_array_equal(np.diff(image[:, :, 1], axis=1), 1)


def test_several_crops_of_one_photograph_differ_and_share_its_group(large: Path) -> None:
    found = open_reals(large, ForgeSettings(size=16, crops=3))
    assert len(found.images) == 60
    assert all(found.group.count(group) == 3 for group in found.group)
    places = {(group, int(image[0, 0, 0]), int(image[0, 0, 1])) for group, image in zip(found.group, found.images, strict=True)}
    assert len(places) == 60
    everything = open_reals(large, ForgeSettings(size=16, crops=1000))
    assert len(everything.images) == 20 * 5 * 9, "there are not more places"


def test_a_limit_draws_by_chance(large: Path) -> None:
    one, same, other = (open_reals(large, ForgeSettings(size=16, limit=17, seed=seed)) for seed in (0, 0, 1))
    assert len(one.images) == 17
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert len(open_reals(large, ForgeSettings(size=16, limit=17, crops=3)).images) == 17


def test_shrinking_keeps_the_middle(large: Path) -> None:
    found = open_reals(large, ForgeSettings(size=16, fit="shrink"))
    pixels = np.asarray(Image.open(large / found.group[0]).crop((2, 0, 22, 20)).resize((16, 16), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(found.images[0], pixels)


def test_too_few(large: Path) -> None:
    with pytest.raises(DataError, match="gives 0 real images of 32 pixels"):
        open_reals(large, ForgeSettings(size=32))


def test_a_manifest_or_a_class_folder_is_never_passed_over(large: Path) -> None:
    (large / "fake").mkdir()
    Image.new("RGB", (20, 20)).save(large / "fake" / "1.png")
    with pytest.raises(DataError, match="no folder above"):
        open_reals(large, SMALL)


def test_an_archive_of_photographs(large: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(large.rglob("*.png")):
            archive.write(file, file.relative_to(large).as_posix())
    np.testing.assert_array_equal(open_reals(tmp_path / "a.zip", SMALL).images, open_reals(large, SMALL).images)


def test_an_array_keeps_what_identifies_its_pictures(tmp_path: Path, photographs: np.ndarray) -> None:
    names = np.array([f"train/REAL/{number}.jpg" for number in range(20)])
    np.savez(tmp_path / "a.npz", image=photographs, cifake_path=names)
    found = open_reals(tmp_path / "a.npz", SMALL)
    np.testing.assert_array_equal(found.images, photographs)
    assert found.group == tuple(names.tolist())
    np.savez(tmp_path / "b.npz", image=photographs)
    assert open_reals(tmp_path / "b.npz", SMALL).group[3] == "b.npz#3"


def test_classes_stay_with_their_photographs(tmp_path: Path) -> None:
    images = np.empty((20, 20, 24, 3), np.uint8)
    images[:] = np.arange(20, dtype=np.uint8)[:, None, None, None]
    kinds = np.array([f"kind {number % 3}" for number in range(20)])
    np.savez(tmp_path / "a.npz", image=images, **{"class": kinds})
    for settings in (ForgeSettings(size=16, crops=2), ForgeSettings(size=16, fit="shrink", limit=17)):
        found = open_reals(tmp_path / "a.npz", settings)
        assert len(found.kind) == len(found.images) == (40 if settings.crops == 2 else 17)
        assert found.kind == tuple(kinds[image[0, 0, 0]] for image in found.images)


def test_the_fingerprint_holds_classes_and_is_as_before_without(tmp_path: Path, photographs: np.ndarray) -> None:
    def of(**more: np.ndarray) -> str:
        np.savez(tmp_path / "a.npz", image=photographs, **more)
        return open_reals(tmp_path / "a.npz", SMALL).fingerprint

    groups = tuple(f"a.npz#{number}" for number in range(20))
    assert of() == hashlib.sha256(repr((photographs.shape, groups)).encode() + photographs.tobytes()).hexdigest()
    ships, swapped = np.array(["cat", "ship"] * 10), np.array(["ship", "cat"] * 10)
    assert len({of(), of(**{"class": ships}), of(**{"class": swapped})}) == 3


@pytest.mark.parametrize(
    "kinds", [np.arange(20), np.array([b"cat"] * 20), np.array(["cat"] * 19), np.array([["cat"]] * 20), np.array("cat")]
)
def test_classes_that_are_refused(tmp_path: Path, photographs: np.ndarray, kinds: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", image=photographs, **{"class": kinds})
    with pytest.raises(DataError, match=r"a\.npz: class must hold one text for each of 20 images"):
        open_reals(tmp_path / "a.npz", SMALL)


def test_arrays_that_are_refused(tmp_path: Path, photographs: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(match: str, **arrays: np.ndarray) -> None:
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(DataError, match=match):
            open_reals(tmp_path / "a.npz", SMALL)

    refused("array image", picture=photographs)
    refused("float64", image=photographs / 255)
    refused("shape", image=photographs[..., :1])
    refused("one text for each", image=photographs, cifake_path=np.array(["a"]))
    refused("allow_pickle", image=np.array([{"a": 1}], dtype=object))
    for name in ("image.npy", "cifake_path.npy"):  # no array at all, and a header that is no Python
        for payload in (b"no array", b"\x93NUMPY\x01\x00\x10\x00{'descr': (((     "):
            np.savez(tmp_path / "a.npz", image=photographs)
            arrays = zipfile.ZipFile(tmp_path / "a.npz").read("image.npy")
            with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
                archive.writestr("image.npy", arrays if name != "image.npy" else payload)
                if name != "image.npy":
                    archive.writestr(name, payload)
            with pytest.raises(DataError):
                open_reals(tmp_path / "a.npz", SMALL)
    monkeypatch.setattr(module, "MAX_ARRAY_BYTES", 100)
    refused("would fill more than 100 bytes", image=photographs)


def test_files_that_hold_no_array_that_fits_into_memory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="array image"):
        open_reals(tmp_path / "a.npz", SMALL)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 32, 32, 3)})
        archive.writestr("image.npy", header.getvalue())
    with pytest.raises(DataError, match="array image"):
        open_reals(tmp_path / "a.npz", SMALL)
