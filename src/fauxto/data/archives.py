"""Inside .zip and .tar archives: which files they hold and their bytes, safe against tricks with paths, links and sizes."""

from __future__ import annotations

import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fauxto.data.layouts import MANIFEST, is_image, safe_name
from fauxto.errors import DataError, ImageError, ImageTooLargeError
from fauxto.images import MAX_FILE_BYTES

Payload = bytes | ImageError
_MAX_HEADER_BYTES = 1 << 20
# What the standard library raises on damaged archives; LZMAError is looked up by name, Python may be built without it.
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError),
    *(RuntimeError, ValueError, KeyError, IndexError, OverflowError),
)


def archive_kind(path: Path) -> str:
    """Return "tar" or "zip", by the file's bytes and not by its name.

    Raises:
        DataError: It is neither.
    """
    # tar first: a tar that ends with a zip inside also looks like a zip.
    if tarfile.is_tarfile(path):
        return "tar"
    if zipfile.is_zipfile(path):
        return "zip"
    raise DataError(
        f"{path} is neither a folder, a .zip, a .tar(.gz|.bz2|.xz) nor a .csv manifest, or it is damaged: get it again"
    )


def list_archive(path: Path, kind: str) -> tuple[list[str], tuple[str, str] | None]:
    """Return every file's plain name, and the name and text of the outermost manifest.csv if there is one.

    Raises:
        DataError: A name leads outside or comes twice, an image is a link, or the manifest cannot be read.
    """
    names: dict[str, None] = {}
    manifests: dict[str, bytes] = {}
    for name, read in members(path, kind):
        plain = safe_name(name)
        if plain is None:
            raise DataError(f"{path.name} holds the member {name!r}, which would lead outside of it: do not trust this archive")
        if plain in names:
            raise DataError(f"{path.name} holds the member {name!r} twice, so that its content is not clear: pack it again")
        names[plain] = None
        if is_manifest_name(plain):
            payload = read()
            if isinstance(payload, ImageError) or sum(map(len, manifests.values())) > MAX_FILE_BYTES:
                raise DataError(f"{path.name}: the manifest {plain} is larger than {MAX_FILE_BYTES:,} bytes: split the data")
            manifests[plain] = payload
    chosen = only_manifest(list(manifests), where=path.name)
    return list(names), (chosen, decoded_text(manifests[chosen], f"{path.name}/{chosen}")) if chosen else None


def members(path: Path, kind: str) -> Iterator[tuple[str, _Read]]:
    """Yield each regular file's name and a function that reads it, which must be called before the next step.

    Raises:
        DataError: An image is a link.
    """
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _refuse_link(path, info.filename, is_link=stat.S_ISLNK(info.external_attr >> 16))
                if not info.is_dir():
                    yield info.filename, _Read(archive, info, info.file_size)
        return
    with tarfile.open(path, "r|*", tarinfo=_StrictTarInfo) as stream:
        for member in stream:
            _refuse_link(path, member.name, is_link=member.issym() or member.islnk())
            if member.isfile():
                yield member.name, _Read(stream, member, member.size)
        _check_end(stream)


def _refuse_link(path: Path, name: str, *, is_link: bool) -> None:
    if is_link and is_image(name):
        raise DataError(
            f"{path.name}: {name!r} is a link, which is never followed: pack the files themselves (tar -h --hard-dereference)"
        )


class _StrictTarInfo(tarfile.TarInfo):
    """A header that tarfile would take for the archive's end though it is damaged, or that would fill the memory, is an error."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictTarInfo:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not buf.strip(b"\0"):
                raise  # the true end: a block of zeros
            raise tarfile.ReadError(f"bad or missing header: {error}") from error
        if info.size < 0:
            raise tarfile.ReadError("a member of negative size")
        is_extra = info.type in (b"x", b"X", b"g", b"L", b"K")  # headers whose text is read into memory at once
        if is_extra and info.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {info.size:,} bytes")
        return info


def _check_end(stream: tarfile.TarFile) -> None:
    """After the true end comes only padding; anything else was cut off by a zeroed header, or appended with cat."""
    while block := stream.fileobj.read(1 << 20):
        if block.strip(b"\0"):
            raise tarfile.ReadError("there are data after its end mark")


@dataclass(frozen=True)
class _Read:
    archive: zipfile.ZipFile | tarfile.TarFile
    member: zipfile.ZipInfo | tarfile.TarInfo
    size: int

    def __call__(self) -> Payload:
        if self.size > MAX_FILE_BYTES:
            return too_large(self.size)
        if isinstance(self.archive, zipfile.ZipFile):
            return self.archive.read(self.member)  # type: ignore[arg-type]
        opened = self.archive.extractfile(self.member)  # type: ignore[arg-type]
        assert opened is not None  # only regular files come here
        return opened.read()


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever the standard library says of a damaged archive into one sentence.

    Raises:
        DataError: It is damaged, truncated, encrypted or cannot be opened.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path} cannot be read ({error.strerror}): mend its permissions or get it again") from error
        if isinstance(error, DAMAGED) or type(error).__name__ == "LZMAError":
            raise DataError(f"the archive {path} is damaged or truncated ({error}): get it again") from error
        raise


def too_large(n_bytes: int) -> ImageTooLargeError:
    """Return the error for a file over ``MAX_FILE_BYTES``."""
    return ImageTooLargeError(f"the file has {n_bytes:,} bytes, more than {MAX_FILE_BYTES:,} are not read: make it smaller")


def is_manifest_name(name: str) -> bool:
    """Return whether a path inside a source is a manifest.

    Example:
        >>> is_manifest_name("set/manifest.csv"), is_manifest_name("my-manifest.csv")
        (True, False)
    """
    return name.rsplit("/", 1)[-1] == MANIFEST


def only_manifest(names: list[str], *, where: str) -> str | None:
    """Return the outermost of several manifests, or None if there is none.

    Raises:
        DataError: Two lie equally deep.

    Example:
        >>> only_manifest(["set/a/manifest.csv", "set/manifest.csv"], where="data.tar")
        'set/manifest.csv'
    """
    least = min((name.count("/") for name in names), default=0)
    outermost = sorted(name for name in names if name.count("/") == least)
    if len(outermost) > 1:
        raise DataError(f"{where} holds several manifests ({outermost[0]}, {outermost[1]}): leave one, or put one at the top")
    return outermost[0] if outermost else None


def decoded_text(payload: bytes, where: str) -> str:
    """Return UTF-8 text without its byte-order mark.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        return payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text: save it as CSV in UTF-8") from error
