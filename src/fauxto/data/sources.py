"""Where images come from: a folder, a .zip or .tar archive, or a CSV manifest; read in place, never unpacked."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fauxto.data.layouts import MANIFEST, records_from_manifest, records_from_names, safe_name
from fauxto.data.records import ImageRecord
from fauxto.errors import DataError
from fauxto.images import MAX_FILE_BYTES
from fauxto.runs import sha256_of

CIFAKE_ARCHIVE = "cifake.tar.xz"
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Source:
    """A data set that can be read.

    Attributes:
        root: The folder or archive.
        kind: "folder", "zip" or "tar".
        records: One per image.
    """

    root: Path
    kind: str
    records: tuple[ImageRecord, ...]

    def payloads(self) -> Iterator[tuple[int, bytes]]:
        """Yield every record's position in ``records`` and its file's bytes, in the order that reads fastest.

        Raises:
            DataError: The archive is damaged.
        """
        wanted = {record.path: position for position, record in enumerate(self.records)}
        if self.kind == "folder":
            yield from ((position, _file_bytes(self.root / name)) for name, position in wanted.items())
        else:
            for name, payload in _archive_payloads(self.root, self.kind, wanted.keys()):
                yield wanted[name], payload

    def content_key(self) -> str:
        """Return a SHA-256 over names, labels and bytes, so that equal content shares one decoded store."""
        digest = hashlib.sha256()
        for record in self.records:
            digest.update(repr(record).encode())
        if self.kind != "folder":
            digest.update(sha256_of(self.root).encode())
            return digest.hexdigest()
        for record in self.records:
            digest.update(hashlib.sha256(_file_bytes(self.root / record.path)).digest())
        return digest.hexdigest()

    def stat_fingerprint(self) -> str:
        """Return a cheap stand-in for ``content_key``: it changes whenever a file is written, moved or replaced."""
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        names = [record.path for record in self.records] if self.kind == "folder" else [""]
        for record in self.records:
            digest.update(repr(record).encode())
        for name in names:
            found = _stat(self.root / name if name else self.root)
            digest.update(f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}".encode())
        return digest.hexdigest()


def open_source(path: str | Path) -> Source:
    """Recognise a data set: a folder, a manifest.csv, a .zip or a .tar (.gz, .bz2, .xz).

    A folder that holds nothing but CIFAKE's archive stands for that archive.

    Raises:
        DataError: Nothing is there, it cannot be read, or its layout does not say what is real and what is fake.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(f"there is no data at {root}: give a folder, an archive or a manifest.csv")
    if root.is_dir():
        return _from_folder(root)
    if root.suffix.lower() == ".csv":
        return Source(root.parent, "folder", tuple(records_from_manifest(_text(root), where=str(root))))
    kind = _archive_kind(root)
    with _damage_named(root):
        names, manifest = _list_archive(root, kind)
    return Source(root, kind, tuple(_records(names, manifest, where=root.name)))


def _from_folder(root: Path) -> Source:
    archive = root / CIFAKE_ARCHIVE
    if archive.is_file():
        return open_source(archive)
    manifest = root / MANIFEST
    if manifest.is_file():
        return Source(root, "folder", tuple(records_from_manifest(_text(manifest), where=str(manifest))))
    names = [_relative(Path(folder) / file, root) for folder, _, files in os.walk(root) for file in files]
    return Source(root, "folder", tuple(records_from_names(names, where=str(root))))


def _records(names: list[str], manifest: tuple[str, str] | None, *, where: str) -> list[ImageRecord]:
    if manifest is None:
        return records_from_names(names, where=where)
    folder, text = manifest
    listed = records_from_manifest(text, where=f"{where}/{folder}{MANIFEST}")
    known = set(names)
    rows = [_inside(record, folder, known) for record in listed]
    lost = next((record.path for record in rows if record.path not in known), None)
    if lost is not None:
        raise DataError(f"{where}: the manifest lists {lost!r}, which the archive does not hold")
    return rows


def _inside(record: ImageRecord, folder: str, known: set[str]) -> ImageRecord:
    """A manifest's paths count from its own folder, or from the top of the archive."""
    path = record.path if record.path in known else folder + record.path
    return ImageRecord(path, record.label, record.generator, record.group, record.split)


def _archive_kind(path: Path) -> str:
    if zipfile.is_zipfile(path):
        return "zip"
    if any(path.name.lower().endswith(end) for end in (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".txz")):
        return "tar"
    raise DataError(f"{path} is neither a folder, a .zip, a .tar(.gz|.bz2|.xz) nor a .csv manifest, or it is damaged")


def _list_archive(path: Path, kind: str) -> tuple[list[str], tuple[str, str] | None]:
    names: list[str] = []
    manifest = None
    for name, read in _members(path, kind):
        plain = safe_name(name)
        if plain is None:
            raise DataError(f"{path.name} holds the member {name!r}, which would lead outside of it: do not trust this archive")
        names.append(plain)
        if plain.rsplit("/", 1)[-1] == MANIFEST and manifest is None:
            manifest = (plain[: -len(MANIFEST)], read().decode("utf-8-sig"))
    return names, manifest


def _members(path: Path, kind: str) -> Iterator[tuple[str, _Read]]:
    """Yield each regular file's name and a function that reads it; links and devices are passed over."""
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield info.filename, _Read(archive, info, info.file_size)
        return
    with tarfile.open(path, "r|*") as stream:
        for member in stream:
            if member.isfile():
                yield member.name, _Read(stream, member, member.size)


@dataclass(frozen=True)
class _Read:
    archive: zipfile.ZipFile | tarfile.TarFile
    member: zipfile.ZipInfo | tarfile.TarInfo
    size: int

    def __call__(self) -> bytes:
        if self.size > MAX_FILE_BYTES:
            raise DataError(f"an archive member has {self.size:,} bytes, more than {MAX_FILE_BYTES:,}: it is not read")
        if isinstance(self.archive, zipfile.ZipFile):
            return self.archive.read(self.member)  # type: ignore[arg-type]
        opened = self.archive.extractfile(self.member)  # type: ignore[arg-type]
        assert opened is not None  # only regular files come here
        return opened.read()


def _archive_payloads(path: Path, kind: str, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
    with _damage_named(path):
        for name, read in _members(path, kind):
            plain = safe_name(name)
            if plain is not None and plain in wanted:
                yield plain, read()


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if isinstance(error, _DAMAGED) or type(error).__name__ in ("LZMAError", "error"):
            raise DataError(f"the archive {path} is damaged or truncated ({error}): get it again") from error
        raise


def _file_bytes(path: Path) -> bytes:
    """Return a file's bytes, or none at all if it cannot be read: the decoder then reports the image as unreadable."""
    try:
        return path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else b""
    except OSError:
        return b""


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}") from error
