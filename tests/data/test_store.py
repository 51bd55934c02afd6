from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import tarfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.data import decoding, sources, store
from fauxto.data.sources import open_source
from fauxto.data.store import Store, load_data, open_store, read_store
from fauxto.errors import DataError, DiskFullError, UsageError
from fauxto.vocabulary import Label


def make_folder(root: Path, *, n: int = 4, size: tuple[int, int] = (6, 5)) -> Path:
    """Write lossless images of known pixels: every pixel of image k is k (real) or 100 + k (fake)."""
    for label, base in (("REAL", 0), ("FAKE", 100)):
        (root / label).mkdir(parents=True)
        for k in range(n):
            Image.new("RGB", size, (base + k,) * 3).save(root / label / f"{k}.png")
    return root


def pack(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname=".")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "own-cache"


def leftovers(cache: Path) -> list[Path]:
    return list((cache / "stores").glob("building-*"))


def test_values_by_hand(folder, cache):
    opened = load_data(folder, cache=cache)
    assert len(opened) == 8
    assert opened.is_uniform
    assert opened.is_fake.tolist() == [r.label is Label.FAKE for r in opened.records]
    for at, record in enumerate(opened.records):
        value = int(Path(record.path).stem) + 100 * (record.label is Label.FAKE)
        assert opened.image(at).shape == (5, 6, 3)
        assert (opened.image(at) == value).all()
        assert opened.file_bytes[at] == (folder / record.path).stat().st_size
    assert opened.batch(np.array([3, 0, 3])).shape == (3, 5, 6, 3)
    assert (opened.batch(np.array([3, 0]))[0] == opened.image(3)).all()
    assert set(opened.file_format) == {"PNG"}


def test_pixels_and_labels_are_read_only(folder, cache):
    opened = load_data(folder, cache=cache)
    with pytest.raises(ValueError, match="read-only"):
        opened.image(0)[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        opened.is_fake[0] = True


def test_images_of_several_sizes(folder, cache):
    Image.new("RGB", (3, 9), "red").save(folder / "REAL" / "tall.png")
    Image.new("RGB", (1, 1), "red").save(folder / "REAL" / "dot.png")
    opened = load_data(folder, cache=cache)
    at = opened.path.tolist().index("REAL/tall.png")
    assert opened.image(at).shape == (9, 3, 3)
    assert (opened.image(at) == (255, 0, 0)).all()
    assert not opened.is_uniform
    with pytest.raises(DataError, match="several sizes"):
        opened.batch(np.array([0]))


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_reading_again_gives_the_same(folder, cache, kind):
    path = pack(folder) if kind == "archive" else folder
    first, again = (load_data(path, cache=cache) for _ in range(2))
    assert first.folder == again.folder
    assert first.records == again.records
    assert [first.image(at).tolist() for at in range(8)] == [again.image(at).tolist() for at in range(8)]


def test_an_archive_that_has_not_changed_is_not_opened_again(folder, cache, monkeypatch):
    path = pack(folder)
    first = load_data(path, cache=cache)
    with monkeypatch.context() as patched:
        patched.setattr(sources, "list_archive", None)
        patched.setattr(sources, "sha256_of", None)
        assert load_data(path, cache=cache).records == first.records
    Image.new("RGB", (6, 5), "white").save(folder / "REAL" / "0.png")
    assert load_data(pack(folder), cache=cache).folder != first.folder


def test_a_lost_store_is_built_again(folder, cache):
    path = pack(folder)
    first = load_data(path, cache=cache)
    shutil.rmtree(first.folder)
    assert load_data(path, cache=cache).records == first.records


def test_equal_archives_share_a_store(folder, cache, tmp_path):
    path = pack(folder)
    copy = shutil.copy(path, tmp_path / "copy.tar")
    assert load_data(path, cache=cache).folder == load_data(copy, cache=cache).folder


def test_a_changed_file_in_a_folder_is_seen(folder, cache):
    before = load_data(folder, cache=cache)
    Image.new("RGB", (6, 5), "white").save(folder / "REAL" / "0.png")
    after = load_data(folder, cache=cache)
    assert (after.image(after.path.tolist().index("REAL/0.png")) == 255).all()
    assert after.folder != before.folder


def test_a_layout_of_a_newer_version_is_read_afresh(folder, cache, monkeypatch):
    path = pack(folder)
    load_data(path, cache=cache)
    monkeypatch.setattr(sources, "LAYOUT_VERSION", 2)
    monkeypatch.setattr(sources, "list_archive", lambda *_: (["FAKE/0.png", "REAL/0.png"], None))
    assert len(load_data(path, cache=cache)) == 2


def harm(folder: Path) -> None:
    (folder / "REAL" / "empty.png").write_bytes(b"")
    (folder / "REAL" / "text.jpg").write_text("not an image")
    (folder / "FAKE" / "cut.png").write_bytes((folder / "FAKE" / "0.png").read_bytes()[:45])


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_broken_images_are_named_and_skipped_only_when_told(folder, cache, kind):
    harm(folder)
    path = pack(folder) if kind == "archive" else folder
    for _ in range(2):  # built, then read
        with pytest.raises(DataError, match=r"3 of 11 images cannot be read \('FAKE/cut.png'.*--skip-broken") as caught:
            load_data(path, cache=cache)
        assert all(name in str(caught.value) for name in ("REAL/empty.png", "REAL/text.jpg"))
    opened = load_data(path, cache=cache, skip_broken=True)
    assert len(opened) == 8
    assert [name for name, _ in opened.broken] == ["FAKE/cut.png", "REAL/empty.png", "REAL/text.jpg"]
    assert "0 bytes" in dict(opened.broken)["REAL/empty.png"]


def test_when_nothing_can_be_read(tmp_path, cache):
    (tmp_path / "data" / "REAL").mkdir(parents=True)
    (tmp_path / "data" / "REAL" / "1.jpg").write_text("no")
    with pytest.raises(DataError, match=r"none of the 1 images can be read, the first is 'REAL/1.jpg'"):
        load_data(tmp_path / "data", cache=cache, skip_broken=True)
    assert list((cache / "stores").iterdir()) == [cache / "stores" / "keys"]


def test_progress_reaches_the_end(folder, cache):
    told = []
    load_data(folder, cache=cache, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (8, 8)


def test_many_small_and_large_files_in_any_order(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(decoding, "_CHUNK_IMAGES", 3)
    monkeypatch.setattr(decoding, "_CHUNK_PIXEL_BYTES", 100)  # every chunk but its first image is left to the writer
    folder = make_folder(tmp_path / "data", n=40)
    opened = load_data(folder, cache=cache)
    values = [int(opened.image(at)[0, 0, 0]) for at in range(80)]
    assert values == [int(Path(r.path).stem) + 100 * int(r.label) for r in opened.records]


def test_the_warning_filters_survive_the_threads(tmp_path, cache):
    before = list(warnings.filters)
    load_data(make_folder(tmp_path / "data", n=40), cache=cache)
    assert warnings.filters == before


def test_equal_pixels_have_equal_hashes(folder, cache):
    shutil.copy(folder / "REAL" / "0.png", folder / "FAKE" / "copy.png")
    Image.new("RGB", (6, 5), (1, 1, 1)).save(folder / "FAKE" / "other-codec.bmp")
    opened = load_data(folder, cache=cache)
    digest = dict(zip(opened.path.tolist(), opened.pixel_hash.tolist(), strict=True))
    assert digest["REAL/0.png"] == digest["FAKE/copy.png"]
    assert digest["REAL/1.png"] == digest["FAKE/other-codec.bmp"]
    assert len(set(digest.values())) == 8


# --- what can go wrong while building


def test_a_full_disk_leaves_nothing(folder, cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for place, name in ((store.np, "savez"), (store.os, "fsync"), (store, "write_text"), (store.Path, "mkdir")):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, full)
            with pytest.raises(DiskFullError, match="free some space"):
                load_data(folder, cache=cache)
        assert leftovers(cache) == []
    assert len(load_data(folder, cache=cache)) == 8


def test_a_cache_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="let FAUXTO_CACHE name a folder"):
        load_data(folder, cache=tmp_path / "file")


def test_the_cache_is_named_by_the_environment(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FAUXTO_CACHE", str(tmp_path / "named"))
    assert load_data(folder).folder.is_relative_to(tmp_path / "named")


def test_data_that_change_meanwhile_are_not_kept(folder, cache):
    source = open_source(folder)

    def meddle(done: int, total: int) -> None:
        (folder / "REAL" / "0.png").write_bytes((folder / "REAL" / "1.png").read_bytes())

    with pytest.raises(DataError, match="changed while it was read"):
        open_store(source, cache=cache, progress=meddle)
    assert leftovers(cache) == []
    assert len(load_data(folder, cache=cache)) == 8


def test_what_a_killed_builder_left_is_swept_when_it_is_old(folder, cache):
    for name, age_s in (("building-old", 2 * store.STALE_AFTER_S), ("building-now", 0)):
        (cache / "stores" / name).mkdir(parents=True)
        (cache / "stores" / name / "pixels.bin").write_bytes(b"x")
        for path in (cache / "stores" / name / "pixels.bin", cache / "stores" / name):
            os.utime(path, (time.time() - age_s,) * 2)
    load_data(folder, cache=cache)
    assert [path.name for path in leftovers(cache)] == ["building-now"]


@pytest.mark.parametrize("lost", ["store.json", "pixels.bin", "index.npz"])
def test_half_a_store_is_not_read(folder, cache, lost):
    opened = load_data(folder, cache=cache)
    (opened.folder / lost).unlink()
    with pytest.raises(DataError, match="delete it and it is built again"):
        read_store(opened.folder)


def test_a_store_cut_short_is_built_again(folder, cache):
    where = load_data(folder, cache=cache).folder
    (where / "pixels.bin").write_bytes(b"short")
    assert (load_data(folder, cache=cache).image(0) == 100).all()


def test_a_store_of_another_version_is_built_again(folder, cache):
    where = load_data(folder, cache=cache).folder
    about = json.loads((where / "store.json").read_text())
    (where / "store.json").write_text(json.dumps(about | {"version": 99}))
    with pytest.raises(DataError, match="version 1"):
        read_store(where)
    assert len(load_data(folder, cache=cache)) == 8


def build(folder: Path, cache: Path, gate) -> None:
    gate.wait()
    load_data(folder, cache=cache)


def build_until_killed(folder: Path, cache: Path) -> None:
    load_data(folder, cache=cache, progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_two_builders_at_once_and_one_killed(tmp_path, cache):
    folder = make_folder(tmp_path / "data", n=60)
    context = multiprocessing.get_context("forkserver")
    killed = context.Process(target=build_until_killed, args=(folder, cache))
    killed.start()
    killed.join(timeout=60)
    assert killed.exitcode == -signal.SIGKILL
    assert len(leftovers(cache)) == 1
    gate = context.Barrier(2)
    both = [context.Process(target=build, args=(folder, cache, gate)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(leftovers(cache)) == 1  # the killed one's, still young
    assert (load_data(folder, cache=cache).image(0) == 100).all()


def test_whoever_is_second_takes_the_firsts_store(folder, cache):
    def other_builder(done: int, total: int) -> None:
        if not done_by_other:
            done_by_other.append(load_data(folder, cache=cache))

    done_by_other: list[Store] = []
    mine = open_store(open_source(folder), cache=cache, progress=other_builder)
    assert mine.folder == done_by_other[0].folder
    assert leftovers(cache) == []


@pytest.mark.realdata
def test_the_real_cifake(real_data):
    opened = load_data(real_data)
    assert len(opened) == 120_000
    assert opened.batch(np.array([0, 119_999])).shape == (2, 32, 32, 3)
    # Run records name the store by this key: it must not change while the archive does not.
    assert opened.folder.name.startswith("c82dd6af")
