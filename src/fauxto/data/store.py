"""Records to one memory-mapped uint8 store: decoded once, keyed by content, whole or absent."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fauxto.data.decoding import decoded
from fauxto.data.records import ImageRecord
from fauxto.data.sources import Source, archive_fingerprint, is_manifest, locate, open_source
from fauxto.errors import DataError, UsageError
from fauxto.runs import cache_folder, disk_errors_named, write_text
from fauxto.vocabulary import Label

VERSION = 1
STALE_AFTER_S = 3600
Progress = Callable[[int, int], None]
_Row = tuple[int, int, int, int, str, str, int]


@dataclass(frozen=True, eq=False)
class Store:
    """Decoded images and what is known of each; every array has one entry per image.

    Attributes:
        folder: Where the store lies.
        path: Text, place inside the source.
        label: uint8, 1 = fake.
        generator: Text, as in ImageRecord; so are group and split.
        height: int32, pixels.
        width: int32, pixels.
        pixel_hash: Bytes of length 32 (hex); equal for equal pixels of equal shape.
        file_format: Pillow's name of each file's format.
        file_bytes: int64, size of each file.
        broken: Path and reason of every image that could not be read and is left out.
    """

    folder: Path
    path: np.ndarray
    label: np.ndarray
    generator: np.ndarray
    group: np.ndarray
    split: np.ndarray
    height: np.ndarray
    width: np.ndarray
    pixel_hash: np.ndarray
    file_format: np.ndarray
    file_bytes: np.ndarray
    broken: tuple[tuple[str, str], ...]
    _offset: np.ndarray
    _pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def records(self) -> tuple[ImageRecord, ...]:
        """One record per image, made when first asked for: 120,000 of them take longer than reading the whole index."""
        columns = (column.tolist() for column in (self.path, self.label, self.generator, self.group, self.split))
        return tuple(ImageRecord(path, Label(label), *rest) for path, label, *rest in zip(*columns, strict=True))

    @cached_property
    def is_fake(self) -> np.ndarray:
        """Bool, shape (n,), read-only."""
        is_fake = self.label.astype(bool)
        is_fake.setflags(write=False)
        return is_fake

    @cached_property
    def is_uniform(self) -> bool:
        """Whether all images have one size."""
        return bool((self.height == self.height[0]).all() and (self.width == self.width[0]).all())

    def image(self, position: int) -> np.ndarray:
        """Return one image: uint8, shape (h, w, 3), a read-only view of the file."""
        height, width = int(self.height[position]), int(self.width[position])
        start = int(self._offset[position])
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def batch(self, positions: np.ndarray) -> np.ndarray:
        """Return images of one size as a copy: uint8, shape (n, h, w, 3).

        Raises:
            DataError: The store holds images of several sizes.
        """
        if not self.is_uniform:
            raise DataError("the images have several sizes: take them one by one")
        height, width = int(self.height[0]), int(self.width[0])
        n_bytes = height * width * 3
        rows = self._pixels.reshape(-1, n_bytes)[self._offset[positions] // n_bytes]
        images: np.ndarray = rows.reshape(-1, height, width, 3)
        return images


def load_data(
    path: str | Path, *, skip_broken: bool = False, cache: Path | None = None, progress: Progress | None = None
) -> Store:
    """Return the decoded store of a folder, an archive or a manifest: what every verb calls.

    An archive that was decoded before and has not changed since is not even opened.

    Args:
        path: As for ``open_source``.
        skip_broken: Leave unreadable images out instead of refusing the whole set.
        cache: Folder of all stores; ``runs.cache_folder()`` by default.
        progress: Called with (done, total) now and then while building.

    Raises:
        DataError: There are no such data, they are damaged or not labelled, or an image cannot be read.
        UsageError: The cache cannot be written.
        DiskFullError: There is no room for the store; nothing is left behind.
    """
    root = locate(path)
    if root.is_file() and not is_manifest(root):
        home = _home(cache)
        folder = home / _noted(home, archive_fingerprint(root))
        if _is_whole(folder):
            return _checked(read_store(folder), skip_broken=skip_broken)
    return open_store(open_source(root), skip_broken=skip_broken, cache=cache, progress=progress)


def open_store(
    source: Source, *, skip_broken: bool = False, cache: Path | None = None, progress: Progress | None = None
) -> Store:
    """Return the decoded store of a source, building it if it is not in the cache.

    Args:
        source: What to decode.
        skip_broken: As for ``load_data``.
        cache: As for ``load_data``.
        progress: As for ``load_data``.

    Raises:
        DataError: An image cannot be read and ``skip_broken`` is False, or none can, or the data change meanwhile.
        UsageError: The cache cannot be written.
        DiskFullError: There is no room for the store; nothing is left behind.
    """
    home = _home(cache)
    fingerprint = source.stat_fingerprint()
    with _cache_errors_named(home):
        (home / "keys").mkdir(parents=True, exist_ok=True)
        key = _noted(home, fingerprint)
        if not key:
            key = source.content_key()
            write_text(home / "keys" / fingerprint, key)
        if not _is_whole(home / key):
            _build(source, home / key, fingerprint, progress or (lambda done, total: None))
    return _checked(read_store(home / key), skip_broken=skip_broken)


def read_store(folder: Path) -> Store:
    """Map a store that was built before.

    Raises:
        DataError: The folder holds no whole store of this version.
    """
    refusal = f"{folder} is not a whole store of version {VERSION}: delete it and it is built again"
    if not _is_whole(folder):
        raise DataError(refusal)
    try:
        about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            columns = {name: index[name] for name in index.files}
        offset = columns.pop("offset")
        pixels = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="r")
        broken = tuple((path, reason) for path, reason in about["broken"])
        return Store(folder, **columns, broken=broken, _offset=offset, _pixels=pixels)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(refusal) from error


def _home(cache: Path | None) -> Path:
    return (cache or cache_folder()) / "stores"


def _checked(store: Store, *, skip_broken: bool) -> Store:
    if store.broken and not skip_broken:
        shown = "; ".join(f"{path!r}: {reason}" for path, reason in store.broken[:3])
        more = " ..." if len(store.broken) > 3 else ""
        raise DataError(
            f"{len(store.broken)} of {len(store) + len(store.broken)} images cannot be read ({shown}{more}): "
            "mend or remove them, or pass --skip-broken to leave them out"
        )
    return store


def _noted(home: Path, fingerprint: str) -> str:
    """Return the content key that is remembered for a fingerprint, or "": hashing is skipped while no file has changed."""
    try:
        key = (home / "keys" / fingerprint).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return key if len(key) == 64 and key.isalnum() else ""


def _is_whole(folder: Path) -> bool:
    try:
        about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        return bool(about["version"] == VERSION and (folder / "pixels.bin").stat().st_size == about["n_bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def _cache_errors_named(home: Path) -> Iterator[None]:
    try:
        with disk_errors_named(home):
            yield
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"the cache {home} cannot be written ({reason}): let FAUXTO_CACHE name a folder that can") from error


def _build(source: Source, folder: Path, fingerprint: str, progress: Progress) -> None:
    """Decode into a private neighbour, then rename: a second builder or a kill never leaves half a store in place."""
    _sweep(folder.parent)
    private = folder.parent / f"building-{uuid.uuid4().hex}"
    private.mkdir()
    try:
        _fill(source, private, progress)
        if source.stat_fingerprint() != fingerprint:
            raise DataError(f"{source.root} changed while it was read: run the same again when it is at rest")
        _publish(private, folder)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _publish(private: Path, folder: Path) -> None:
    if folder.exists() and not _is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        os.rename(private, folder)
    except OSError:
        if not _is_whole(folder):  # else another process was first, with the same content
            raise


def _sweep(home: Path) -> None:
    """Remove what a killed builder left: nothing in it was written for long."""
    for left in home.glob("building-*"):
        try:
            last_write = max(path.stat().st_mtime for path in (left, *left.iterdir()))
        except OSError:
            continue
        if time.time() - last_write > STALE_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)


def _fill(source: Source, folder: Path, progress: Progress) -> None:
    rows: list[_Row] = []
    broken: list[tuple[str, str]] = []
    offset = 0
    with (folder / "pixels.bin").open("wb", buffering=1 << 20) as pixels:
        for n_done, (position, size, result) in enumerate(decoded(source.payloads()), start=1):
            if isinstance(result, str):
                broken.append((source.records[position].path, result))
            else:
                height, width = result.pixels.shape[:2]
                rows.append((position, offset, height, width, result.digest, result.file_format, size))
                offset += pixels.write(result.pixels.tobytes())
            if n_done % 1000 == 0 or n_done == len(source.records):
                progress(n_done, len(source.records))
        pixels.flush()
        os.fsync(pixels.fileno())  # store.json must not outlive a power cut that takes the pixels
    if not rows:
        raise DataError(f"none of the {len(broken)} images can be read, the first is {broken[0][0]!r}: {broken[0][1]}")
    _write_index(source, folder, sorted(rows))
    write_text(folder / "store.json", json.dumps({"version": VERSION, "n_bytes": offset, "broken": sorted(broken)}))


def _write_index(source: Source, folder: Path, rows: list[_Row]) -> None:
    position, offset, height, width, digest, file_format, size = zip(*rows, strict=True)
    records = [source.records[at] for at in position]
    with (folder / "index.npz").open("wb", buffering=0) as stream:
        np.savez(
            stream,
            path=[record.path for record in records],
            label=np.array([int(record.label) for record in records], np.uint8),
            generator=[record.generator for record in records],
            group=[record.group for record in records],
            split=[record.split for record in records],
            offset=np.array(offset, np.int64),
            height=np.array(height, np.int32),
            width=np.array(width, np.int32),
            pixel_hash=np.array(digest, "S32"),
            file_format=np.array(file_format),
            file_bytes=np.array(size, np.int64),
        )
        os.fsync(stream.fileno())
