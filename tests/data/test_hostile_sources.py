"""data.sources: archives and folders that mean harm, or are damaged, end in a clear error."""

from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from fauxto.data import archives, sources
from fauxto.data.sources import open_source
from fauxto.errors import DataError, FauxtoError, ImageError

from .test_sources import FILES, MANIFEST, contents, member, pack


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


def test_a_member_that_comes_twice_is_refused_while_reading_too(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    (tmp_path / "mine.csv").write_text("path,label,root\na.png,fake,set.tar\n")
    with pytest.raises(DataError, match="twice"):
        list(open_source(tmp_path / "mine.csv").payloads())
