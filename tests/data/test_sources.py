"""data.sources: every kind of source gives the same images, and a fingerprint that knows them again."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from fauxto.data.sources import Source, archive_fingerprint, locate, open_source
from fauxto.errors import DataError, ImageError
from fauxto.vocabulary import Label

FILES = {
    "train/REAL/1.jpg": b"one",
    "train/FAKE/2.jpg": b"two" * 400,
    "test/REAL/3.jpg": b"three",
    "test/FAKE/4.jpg": b"four",
    "README.md": b"hello",
}
KINDS = ["folder", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]


def pack(where: Path, files: dict[str, bytes], kind: str) -> Path:
    if kind == "folder":
        for name, payload in files.items():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_bytes(payload)
        return where
    path = where.with_name(f"{where.name}.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, payload in files.items():
                archive.writestr(name, payload)
        return path
    with tarfile.open(path, f"w:{kind.partition('.')[2]}") as archive:
        for name, payload in files.items():
            archive.addfile(member(name, len(payload)), io.BytesIO(payload))
    return path


def member(name: str, size: int, **more) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in more.items():
        setattr(info, key, value)
    return info


def contents(source: Source) -> dict[str, bytes | str]:
    found = {source.records[at].path: payload for at, payload in source.payloads()}
    return {name: str(payload) if isinstance(payload, ImageError) else payload for name, payload in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_images(tmp_path, kind):
    source = open_source(pack(tmp_path / "data", FILES, kind))
    assert contents(source) == {name: payload for name, payload in FILES.items() if name.endswith(".jpg")}
    assert Counter((r.split, r.label) for r in source.records) == dict.fromkeys(
        [(split, label) for split in ("train", "test") for label in Label], 1
    )


@pytest.mark.parametrize("kind", ["zip", "tar.xz"])
def test_an_archive_is_known_by_its_bytes_not_its_name(tmp_path, kind):
    path = pack(tmp_path / "data", FILES, kind).rename(tmp_path / "data.bin")
    assert len(open_source(path).records) == 4


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    inner = pack(tmp_path / "inner", {"x.jpg": b"x"}, "zip").read_bytes()
    path = pack(tmp_path / "data", FILES | {"zz.zip": inner}, "tar")
    assert zipfile.is_zipfile(path)  # what makes it a trap
    assert open_source(path).kind == "tar"


def test_a_folder_with_cifakes_archive_stands_for_it(tmp_path):
    pack(tmp_path / "cifake", FILES, "tar.xz")
    assert locate(tmp_path) == tmp_path / "cifake.tar.xz"
    assert len(open_source(tmp_path).records) == 4


def test_folders_above_an_archive_do_not_matter(tmp_path):
    files = {f"./top/{name}": payload for name, payload in FILES.items()}
    assert {r.path for r in open_source(pack(tmp_path / "data", files, "tar")).records} >= {"top/train/REAL/1.jpg"}


MANIFEST = b"\xef\xbb\xbfpath,label,generator\r\nx/1.png,fake,gan\r\nx/2.png,real,\r\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folder", ["", "top/", "top/deeper/"])
def test_a_manifest_counts_from_its_own_folder(tmp_path, kind, folder):
    files = {f"{folder}manifest.csv": MANIFEST, f"{folder}x/1.png": b"1", f"{folder}x/2.png": b"2", f"{folder}x/3.png": b"3"}
    source = open_source(pack(tmp_path / "data", files, kind))
    assert contents(source) == {f"{folder}x/1.png": b"1", f"{folder}x/2.png": b"2"}
    assert [(r.label, r.generator) for r in source.records] == [(Label.FAKE, "gan"), (Label.REAL, "")]


def test_a_manifest_by_its_own_path(tmp_path):
    pack(tmp_path / "data", {"mine.csv": MANIFEST, "x/1.png": b"1", "x/2.png": b"2"}, "folder")
    assert contents(open_source(tmp_path / "data" / "mine.csv")) == {"x/1.png": b"1", "x/2.png": b"2"}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_the_outermost_manifest_counts_and_two_are_refused(tmp_path, kind):
    files = {"b/manifest.csv": MANIFEST, "b/x/1.png": b"1", "b/x/2.png": b"2", "b/x/manifest.csv": b"nonsense"}
    assert len(open_source(pack(tmp_path / "one", files, kind)).records) == 2
    with pytest.raises(DataError, match=r"several manifests \(a/manifest.csv, b/manifest.csv\)"):
        open_source(pack(tmp_path / "two", files | {"a/manifest.csv": MANIFEST}, kind))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_a_file_that_the_manifest_lists_and_nobody_has_is_a_broken_image(tmp_path, kind):
    source = open_source(pack(tmp_path / "data", {"manifest.csv": MANIFEST, "x/1.png": b"1"}, kind))
    found = contents(source)
    assert found["x/1.png"] == b"1"
    assert found["x/2.png"].startswith("the file cannot be opened" if kind == "folder" else "the archive does not hold")
    assert source.stat_fingerprint()
    assert source.content_key()


def test_linked_folders_are_read_and_loops_end(tmp_path):
    pack(tmp_path / "elsewhere", {"1.jpg": b"one"}, "folder")
    pack(tmp_path / "data", {"FAKE/2.jpg": b"two"}, "folder")
    (tmp_path / "data" / "REAL").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "FAKE" / "loop").symlink_to(tmp_path / "data")
    assert contents(open_source(tmp_path / "data")) == {"REAL/1.jpg": b"one", "FAKE/2.jpg": b"two"}


def test_an_unreadable_folder_is_not_passed_over(tmp_path, monkeypatch):
    def walk(root, *, onerror, **_):
        onerror(PermissionError(13, "Permission denied", str(root)))

    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        open_source(tmp_path)


def test_equal_content_has_one_key_wherever_it_lies(tmp_path):
    one, other = (open_source(pack(tmp_path / name / "data", FILES, "tar")) for name in "ab" if (tmp_path / name).mkdir() is None)
    assert one.content_key() == other.content_key()
    assert one.stat_fingerprint() != other.stat_fingerprint()
    changed = open_source(pack(tmp_path / "data", FILES | {"train/REAL/1.jpg": b"ONE"}, "tar"))
    assert changed.content_key() != one.content_key()


def test_a_folders_fingerprint_sees_every_file(tmp_path):
    root = pack(tmp_path / "data", FILES, "folder")
    before = open_source(root)
    fingerprint, key = before.stat_fingerprint(), before.content_key()
    assert open_source(root).stat_fingerprint() == fingerprint
    (root / "test/FAKE/4.jpg").write_bytes(b"FOUR")
    assert open_source(root).stat_fingerprint() != fingerprint
    assert open_source(root).content_key() != key
    (root / "test/FAKE/4.jpg").write_bytes(b"four")
    (root / "test/FAKE/5.jpg").write_bytes(b"five")
    assert open_source(root).stat_fingerprint() != fingerprint


def test_an_archives_fingerprint_needs_only_its_own_stat(tmp_path):
    path = pack(tmp_path / "data", FILES, "tar")
    before = archive_fingerprint(path)
    assert open_source(path).stat_fingerprint() == before
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert archive_fingerprint(path) != before


@pytest.mark.realdata
def test_the_real_archives(real_data):
    for name, n_real, n_fake, n_generators in (("generators32.tar", 64, 1860, 18), ("hires_dev.tar", 1097, 856, 47)):
        if not (real_data / name).is_file():
            pytest.skip(f"{name} is not here")
        records = open_source(real_data / name).records
        assert Counter(r.label for r in records) == {Label.REAL: n_real, Label.FAKE: n_fake}
        assert len({r.generator for r in records if r.label is Label.FAKE}) == n_generators


def test_a_root_that_is_a_folder_is_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~set").mkdir()  # a home folder for locate
    (tmp_path / "~set/cifake.tar.xz").touch()  # which stands for the folder where a user names it
    (tmp_path / "mine.csv").write_text("path,label,root\na.png,real,~set\n")
    source = open_source("mine.csv")
    assert (source.root.resolve(), source.kind) == (tmp_path / "~set", "folder")


def test_a_manifest_names_the_root_that_its_paths_count_from(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "lists").mkdir()
    manifest = tmp_path / "lists/mine.csv"
    manifest.write_text("path,label,root\na.png,real,..\n")
    source = open_source(manifest)
    assert (source.root.resolve(), source.kind, [r.path for r in source.records]) == (tmp_path.resolve(), "folder", ["a.png"])
    assert isinstance(next(source.payloads())[1], bytes)
    manifest.write_text("path,label,root\na.png,real,..\nb.png,real,.\n")
    with pytest.raises(DataError, match="two roots"):
        open_source(manifest)
    manifest.write_text("path,label,root\na.png,real,mine.csv\n")
    with pytest.raises(DataError, match="is a manifest too"):
        open_source(manifest)
    manifest.write_text("path,label,root\na.png,real,nowhere\n")
    with pytest.raises(DataError, match="there is no data at"):
        open_source(manifest)


def test_a_manifest_chooses_among_an_archives_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("real/a.png", "fake/b.png"):
            archive.writestr(name, name)
    (tmp_path / "mine.csv").write_text("path,label,root\nfake/b.png,fake,set.zip\nfake/none.png,fake,set.zip\n")
    source = open_source(tmp_path / "mine.csv")
    found = dict(source.payloads())
    assert found[0] == b"fake/b.png"
    assert isinstance(found[1], ImageError)
    assert source.stat_fingerprint() != open_source(tmp_path / "set.zip").stat_fingerprint()
