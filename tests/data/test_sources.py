from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from fauxto.data import archives, sources
from fauxto.data.sources import Source, archive_fingerprint, locate, open_source
from fauxto.errors import DataError, FauxtoError, ImageError
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


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../REAL/1.jpg", "/REAL/1.jpg", "REAL/../../1.jpg", "..\\REAL\\1.jpg", "C:\\REAL\\1.jpg"])
def test_a_name_that_leads_outside_is_refused(tmp_path, kind, name):
    with pytest.raises(DataError, match=r"would lead outside.*do not trust"):
        open_source(pack(tmp_path / "data", FILES | {name: b"evil"}, kind))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_never_followed(tmp_path, kind):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    path = tmp_path / "data.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("REAL/1.jpg", 3), io.BytesIO(b"one"))
        archive.addfile(member("FAKE/link.jpg", 0, type=kind, linkname=str(secret)))
    with pytest.raises(DataError, match=r"'FAKE/link.jpg' is a link, which is never followed"):
        open_source(path)


def test_a_link_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("FAKE/link.jpg")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        open_source(path)


def test_devices_and_links_that_are_no_images_are_passed_over(tmp_path):
    path = tmp_path / "data.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("REAL/1.jpg", 3), io.BytesIO(b"one"))
        archive.addfile(member("REAL/device.jpg", 0, type=tarfile.CHRTYPE))
        archive.addfile(member("latest", 0, type=tarfile.SYMTYPE, linkname="REAL"))
    assert [r.path for r in open_source(path).records] == ["REAL/1.jpg"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_comes_twice_is_refused(tmp_path, kind):
    with pytest.raises(DataError, match="twice"):
        open_source(pack(tmp_path / "data", FILES | {"./train/REAL/1.jpg": b"other"}, kind))


def test_a_path_that_comes_twice_in_a_manifest_is_refused(tmp_path):
    text = b"path,label\nx/1.png,fake\nx/1.png,real\n"
    with pytest.raises(DataError, match=r"names 'x/1.png' twice"):
        open_source(pack(tmp_path / "data", {"manifest.csv": text, "x/1.png": b"1"}, "folder"))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_a_huge_member_is_a_broken_image_not_a_full_memory(tmp_path, monkeypatch, kind):
    source = open_source(pack(tmp_path / "data", FILES, kind))
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 1000)
    found = contents(source)
    assert found["train/FAKE/2.jpg"].startswith("the file has 1,200 bytes, more than 1,000")
    assert found["train/REAL/1.jpg"] == b"one"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_huge_manifest_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 10)
    with pytest.raises(DataError, match="larger than 10 bytes"):
        open_source(pack(tmp_path / "data", {"manifest.csv": MANIFEST}, kind))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_a_manifest_that_is_no_text(tmp_path, kind):
    with pytest.raises(DataError, match="not UTF-8 text"):
        open_source(pack(tmp_path / "data", {"manifest.csv": b"\xff\xfe\x00"}, kind))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_truncated_archive_is_refused_wherever_the_cut_is(tmp_path, kind):
    rng = random.Random(0)
    files = {f"{label}/{at}.jpg": rng.randbytes(700) for label in ("REAL", "FAKE") for at in range(8)}
    path = pack(tmp_path / "data", files, kind)
    whole = path.read_bytes()
    # 1,536 bytes per member of the plain tar: 6144 cuts it between two members, where tarfile sees nothing wrong.
    for n_left in (0, 5, 600, 3000, 6144, len(whole) // 2):
        path.write_bytes(whole[:n_left])
        with pytest.raises(DataError, match="damaged"):
            dict(open_source(path).payloads())


@pytest.mark.parametrize("harm", ["zero", "garble"])
def test_a_damaged_header_inside_a_tar_is_not_its_end(tmp_path, harm):
    path = pack(tmp_path / "data", {f"REAL/{at}.jpg": bytes([at + 1]) * 512 for at in range(4)}, "tar")
    whole = bytearray(path.read_bytes())
    whole[2048:2560] = bytes(512) if harm == "zero" else b"\xaa" * 512
    path.write_bytes(whole)
    with tarfile.open(path) as archive:
        assert len(archive.getnames()) == 2  # what makes it a trap
    with pytest.raises(DataError, match="damaged"):
        open_source(path)


def test_a_tar_header_that_would_fill_the_memory(tmp_path):
    path = tmp_path / "data.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.addfile(member("long", 3_000_000, type=tarfile.GNUTYPE_LONGNAME), io.BytesIO(b"a" * 3_000_000))
        archive.addfile(member("REAL/1.jpg", 3), io.BytesIO(b"one"))
    with pytest.raises(DataError, match="a header of 3,000,000 bytes"):
        open_source(path)


def test_a_wrong_checksum_in_a_zip(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("REAL/1.jpg", b"payload-payload")
    path.write_bytes(path.read_bytes().replace(b"payload-payload", b"payload-PAYLOAD"))
    with pytest.raises(DataError, match=r"damaged or truncated .*CRC"):
        dict(open_source(path).payloads())


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_mutated_archives_give_our_error_or_bytes(tmp_path, kind):
    rng = random.Random(1)
    path = pack(tmp_path / "data", FILES | {"manifest.csv": b"path,label\ntrain/REAL/1.jpg,real\n"}, kind)
    whole = path.read_bytes()
    for _ in range(60):
        harmed = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(harmed) if kind != "tar" else 5 * 1024)
            harmed[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(0, 8))
        path.write_bytes(harmed)
        try:
            source = open_source(path)
            assert all(isinstance(payload, bytes | ImageError) for _, payload in source.payloads())
        except FauxtoError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("payload", [b"", b"just text", b"PK\x03\x04broken", b"\xfd7zXZ\0" + bytes(99)])
@pytest.mark.parametrize("name", ["data.zip", "data.tar.xz", "data.jpg"])
def test_what_is_no_archive_is_refused(tmp_path, name, payload):
    (tmp_path / name).write_bytes(payload)
    with pytest.raises(DataError, match="damaged"):
        open_source(tmp_path / name)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"there is no data at .*: give a folder, an archive or a manifest.csv"):
        open_source(tmp_path / "missing")
    with pytest.raises(DataError, match="there is no data"):
        open_source("a\0b")
    with pytest.raises(DataError, match="there is no data"):
        open_source("~no-such-user-anywhere/data")
    with pytest.raises(DataError, match="holds no image"):
        open_source(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hold_us(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(DataError, match="a pipe or a device"):
        open_source(tmp_path / "pipe.tar")
    (tmp_path / "data" / "REAL").mkdir(parents=True)
    os.mkfifo(tmp_path / "data" / "REAL" / "1.jpg")
    assert contents(open_source(tmp_path / "data")) == {"REAL/1.jpg": "this is not a file: remove it"}


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


def test_a_member_that_comes_twice_is_refused_while_reading_too(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    (tmp_path / "mine.csv").write_text("path,label,root\na.png,fake,set.tar\n")
    with pytest.raises(DataError, match="twice"):
        list(open_source(tmp_path / "mine.csv").payloads())
