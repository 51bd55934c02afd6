"""Where images come from: a folder, a .zip or .tar archive, or a CSV manifest; read in place, never unpacked."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fauxto.data.archives import (
    Payload,
    archive_kind,
    damage_named,
    decoded_text,
    is_manifest_name,
    list_archive,
    members,
    only_manifest,
    too_large,
)
from fauxto.data.layouts import (
    MANIFEST,
    records_from_manifest,
    records_from_names,
    records_of_photographs,
    root_of_manifest,
    safe_name,
)
from fauxto.data.records import ImageRecord
from fauxto.errors import DataError, ImageError
from fauxto.images import MAX_FILE_BYTES
from fauxto.runs import sha256_of

CIFAKE_ARCHIVE = "cifake.tar.xz"
# Part of every fingerprint: raise it when the same files would give other records than before.
LAYOUT_VERSION = 1


@dataclass(frozen=True)
class Source:
    """A data set that can be read.

    Attributes:
        root: The folder or archive.
        kind: "folder", "zip" or "tar".
        records: One per image; no path comes twice.
        is_listed: Whether the records were read off the archive itself; not where a manifest beside it chose among its images.
    """

    root: Path
    kind: str
    records: tuple[ImageRecord, ...]
    is_listed: bool = True

    def payloads(self) -> Iterator[tuple[int, Payload]]:
        """Yield every record's position in ``records`` and its file's bytes, in the order that reads fastest.

        A file that cannot be read comes as the ImageError that says why.

        Raises:
            DataError: The archive is damaged.
        """
        wanted = {record.path: position for position, record in enumerate(self.records)}
        if self.kind == "folder":
            yield from ((position, _file_bytes(f"{self.root}/{name}")) for name, position in wanted.items())
            return
        with damage_named(self.root):
            seen: set[str] = set()
            for name, read in members(self.root, self.kind):
                plain = safe_name(name) or ""
                if plain in seen:
                    raise DataError(f"{self.root.name} holds the member {name!r} twice: pack it again")
                position = wanted.pop(plain, None)
                if position is not None:
                    seen.add(plain)
                    yield position, read()
        for position in wanted.values():
            yield position, ImageError("the archive does not hold this file: pack it again or mend the manifest")

    def content_key(self) -> str:
        """Return a SHA-256 over names, labels and bytes, so that equal content shares one decoded store."""
        digest = hashlib.sha256()
        for record in self.records:
            digest.update(repr(record).encode())
        if self.kind != "folder":
            with damage_named(self.root):
                digest.update(sha256_of(self.root).encode())
            return digest.hexdigest()
        for record in self.records:
            payload = _file_bytes(f"{self.root}/{record.path}")
            digest.update(hashlib.sha256(payload if isinstance(payload, bytes) else b"").digest())
        return digest.hexdigest()

    def stat_fingerprint(self) -> str:
        """Return a cheap stand-in for ``content_key``: it changes whenever a file is written, moved or replaced."""
        if self.kind != "folder" and self.is_listed:
            return archive_fingerprint(self.root)
        if self.kind != "folder":
            return hashlib.sha256(f"{archive_fingerprint(self.root)} {self.records!r}".encode()).hexdigest()
        digest = hashlib.sha256(os.fsencode(self.root.resolve()))
        for record in self.records:
            digest.update(f"{record!r} {_stat_text(f'{self.root}/{record.path}')}".encode())
        return digest.hexdigest()


def open_source(path: str | Path) -> Source:
    """Recognise a data set: a folder, a manifest.csv, a .zip or a .tar (.gz, .bz2, .xz); archives by their bytes.

    Raises:
        DataError: Nothing is there, it cannot be read, or its layout does not say what is real and what is fake.
    """
    root = locate(path)
    if root.is_dir():
        return _source(root, "folder", _folder_records(root))
    if is_manifest(root):
        return _named_by(root)
    with damage_named(root):
        kind = archive_kind(root)
        names, manifest = list_archive(root, kind)
    return _source(root, kind, _records(names, manifest, where=root.name))


def open_photographs(path: str | Path) -> Source | None:
    """Open images that nothing calls real or fake, and take all for real; return None where a folder or a manifest does.

    Raises:
        DataError: Nothing is there, it cannot be read, or it holds no image.
    """
    root = locate(path)
    if is_manifest(root):
        return None
    if root.is_dir():
        kind, names = "folder", list(_walk(root))
        has_manifest = any(map(is_manifest_name, names))
    else:
        with damage_named(root):
            kind = archive_kind(root)
            names, manifest = list_archive(root, kind)
        has_manifest = manifest is not None
    records = None if has_manifest else records_of_photographs(names, where=root.name)
    return None if records is None else _source(root, kind, records)


def source_of(path: str | Path, records: tuple[ImageRecord, ...]) -> Source:
    """Return the source of images that were decoded before, whose records are known: an archive is not listed again.

    Raises:
        DataError: As ``open_source``.
    """
    root = locate(path)
    if is_manifest(root):
        return replace(open_source(root), records=records)
    if root.is_dir():
        return Source(root, "folder", records)
    with damage_named(root):
        return Source(root, archive_kind(root), records)


def _named_by(manifest: Path) -> Source:
    """Return the source of a manifest: the folder that it lies in, or what its column root names."""
    text = _text(manifest)
    records = records_from_manifest(text, where=str(manifest))
    named = root_of_manifest(text, where=str(manifest))
    root = manifest.parent / named
    root = root if root.is_dir() else locate(root)
    if is_manifest(root):
        raise DataError(f"{manifest}: its root {named!r} is a manifest too: name the folder or archive that holds the images")
    if root.is_dir():
        return _source(root, "folder", records)
    with damage_named(root):
        return replace(_source(root, archive_kind(root), records), is_listed=False)


def locate(path: str | Path) -> Path:
    """Return the folder or file that a user means; a folder that holds CIFAKE's archive stands for that archive.

    Raises:
        DataError: Nothing is there, or it is a pipe or a device.
    """
    try:
        root = Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"there is no data at {path}: {error}") from error
    archive = root / CIFAKE_ARCHIVE
    if os.path.isfile(archive):
        return archive
    if not os.path.exists(root):
        raise DataError(f"there is no data at {root}: give a folder, an archive or a manifest.csv")
    if not root.is_dir() and not root.is_file():
        raise DataError(f"{root} is a pipe or a device: give a folder, an archive or a manifest.csv")
    return root


def is_manifest(path: Path) -> bool:
    """Return whether a file is taken for a CSV manifest."""
    return path.suffix.lower() == ".csv"


def archive_fingerprint(path: Path) -> str:
    """Return what changes whenever an archive is written, moved or replaced, without reading it."""
    return hashlib.sha256(f"{LAYOUT_VERSION} {os.fsencode(path.resolve())!r} {_stat_text(str(path))}".encode()).hexdigest()


def _source(root: Path, kind: str, records: list[ImageRecord]) -> Source:
    seen: set[str] = set()
    for record in records:
        if record.path in seen:
            raise DataError(f"{root} names {record.path!r} twice: keep one line or member for each image")
        seen.add(record.path)
    return Source(root, kind, tuple(records))


def _folder_records(root: Path) -> list[ImageRecord]:
    if (root / MANIFEST).is_file():  # no need to walk
        return records_from_manifest(_text(root / MANIFEST), where=str(root / MANIFEST))
    names = list(_walk(root))
    manifest = only_manifest([name for name in names if is_manifest_name(name)], where=str(root))
    return _records(names, (manifest, _text(root / manifest)) if manifest else None, where=str(root))


def _walk(root: Path) -> Iterator[str]:
    """Yield every file below ``root``; linked folders too, but none twice, so that a loop ends."""
    visited: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(root, onerror=_refuse_unreadable, followlinks=True):
        found = os.stat(folder)
        if (found.st_dev, found.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((found.st_dev, found.st_ino))
        subfolders.sort()
        prefix = Path(folder).relative_to(root).as_posix()
        yield from (file if prefix == "." else f"{prefix}/{file}" for file in files)


def _refuse_unreadable(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be read ({error.strerror}): mend its permissions") from error


def _records(names: list[str], manifest: tuple[str, str] | None, *, where: str) -> list[ImageRecord]:
    if manifest is None:
        return records_from_names(names, where=where)
    name, text = manifest
    folder = name[: -len(MANIFEST)]
    known = set(names)
    listed = records_from_manifest(text, where=f"{where}/{name}")
    # A manifest's paths count from its own folder, or from the top.
    return [record if record.path in known else replace(record, path=folder + record.path) for record in listed]


def _file_bytes(path: str) -> Payload:
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return ImageError("this is not a file: remove it")
        if found.st_size > MAX_FILE_BYTES:
            return too_large(found.st_size)
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        return ImageError(f"the file cannot be opened ({error.strerror or error})")


def _stat_text(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return "missing"
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _text(path: Path) -> str:
    try:
        return decoded_text(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): mend its permissions") from error
