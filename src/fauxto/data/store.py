"""Records to one memory-mapped uint8 store: decoded once, keyed by content, whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fauxto.data.records import ImageRecord
from fauxto.data.sources import Source
from fauxto.errors import DataError, ImageError
from fauxto.images import decode
from fauxto.runs import cache_folder, disk_errors_named, write_text
from fauxto.vocabulary import Label

VERSION = 1
STALE_AFTER_S = 24 * 3600
_CHUNK = 256
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Store:
    """Decoded images and what is known of each; every array has one entry per image.

    Attributes:
        folder: Where the store lies.
        records: Path, label, generator, group and split.
        height: int32, pixels.
        width: int32, pixels.
        pixel_hash: Bytes of length 32 (hex); equal for equal pixels of equal shape.
        file_format: Pillow's name of each file's format.
        file_bytes: int64, size of each file.
        broken: Path and reason of every image that could not be read and is left out.
    """

    folder: Path
    records: tuple[ImageRecord, ...]
    height: np.ndarray
    width: np.ndarray
    pixel_hash: np.ndarray
    file_format: np.ndarray
    file_bytes: np.ndarray
    broken: tuple[tuple[str, str], ...]
    _offset: np.ndarray
    _pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    @property
    def is_fake(self) -> np.ndarray:
        """Bool, shape (n,)."""
        return np.array([record.label for record in self.records], dtype=bool)

    @property
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
        return rows.reshape(-1, height, width, 3)


def open_store(source: Source, *, skip_broken: bool = False, cache: Path | None = None, progress: Progress | None = None) -> Store:
    """Return the decoded store of a source, building it if it is not in the cache.

    Args:
        source: What to decode.
        skip_broken: Leave unreadable images out instead of refusing the whole set.
        cache: Folder of all stores; ``runs.cache_folder()`` by default.
        progress: Called with (done, total) now and then while building.

    Raises:
        DataError: An image cannot be read and ``skip_broken`` is False, or none can.
        DiskFullError: There is no room for the store; nothing is left behind.
    """
    home = (cache or cache_folder()) / "stores"
    folder = home / _remembered_key(source, home)
    if not _is_whole(folder):
        _build(source, folder, progress or (lambda done, total: None))
    store = read_store(folder)
    if store.broken and not skip_broken:
        path, reason = store.broken[0]
        raise DataError(
            f"{len(store.broken)} of {len(source.records)} images cannot be read, the first is {path}: {reason}; "
            "mend or remove them, or pass --skip-broken to leave them out"
        )
    return store


def read_store(folder: Path) -> Store:
    """Map a store that was built before.

    Raises:
        DataError: The folder holds no whole store of this version.
    """
    if not _is_whole(folder):
        raise DataError(f"{folder} is not a whole store of version {VERSION}: delete it and it is built again")
    about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
    with np.load(folder / "index.npz", allow_pickle=False) as index:
        columns = {name: index[name] for name in index.files}
    words = (columns.pop(name).tolist() for name in ("path", "label", "generator", "group", "split"))
    records = tuple(ImageRecord(path, Label(label), *rest) for path, label, *rest in zip(*words, strict=True))
    pixels = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="r")
    offset = columns.pop("offset")
    return Store(folder, records, **columns, broken=tuple(map(tuple, about["broken"])), _offset=offset, _pixels=pixels)


def _is_whole(folder: Path) -> bool:
    try:
        about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        return bool(about["version"] == VERSION and (folder / "pixels.bin").stat().st_size == about["n_bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _remembered_key(source: Source, home: Path) -> str:
    """Return the content key; hashing is skipped while no file's inode, size or times have changed."""
    note = home / "keys" / source.stat_fingerprint()
    try:
        key = note.read_text(encoding="utf-8")
    except OSError:
        key = ""
    if len(key) != 64:
        key = source.content_key()
        write_text(note, key)
    return key


def _build(source: Source, folder: Path, progress: Progress) -> None:
    """Decode into a private neighbour, then rename: a second builder or a kill never leaves half a store in place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    private = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    try:
        with disk_errors_named(folder):
            _fill(source, private, progress)
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
    """Remove what a killed builder left long ago."""
    for left in home.glob("building-*"):
        try:
            is_stale = time.time() - left.stat().st_mtime > STALE_AFTER_S
        except OSError:
            continue
        if is_stale:
            shutil.rmtree(left, ignore_errors=True)


def _fill(source: Source, folder: Path, progress: Progress) -> None:
    rows: list[tuple[int, int, int, int, str, str, int]] = []
    broken: list[tuple[str, str]] = []
    offset = 0
    with (folder / "pixels.bin").open("wb", buffering=1 << 20) as pixels:
        for position, size, result in _decoded(source):
            if isinstance(result, str):
                broken.append((source.records[position].path, result))
            else:
                height, width = result.pixels.shape[:2]
                rows.append((position, offset, height, width, result.digest, result.file_format, size))
                offset += pixels.write(result.pixels.tobytes())
            if (len(rows) + len(broken)) % 1000 == 0:
                progress(len(rows) + len(broken), len(source.records))
    if not rows:
        raise DataError(f"none of the {len(broken)} images can be read, the first is {broken[0][0]}: {broken[0][1]}")
    progress(len(source.records), len(source.records))
    _write_index(source, folder, sorted(rows))
    about = {"version": VERSION, "n_images": len(rows), "n_bytes": offset, "broken": sorted(broken)}
    write_text(folder / "store.json", json.dumps(about))


@dataclass(frozen=True)
class _Pixels:
    pixels: np.ndarray
    digest: str
    file_format: str


def _decoded(source: Source) -> Iterator[tuple[int, int, _Pixels | str]]:
    """Decode on all cores (Pillow's decoders release the lock), a few chunks ahead of the writer."""
    n_workers = os.cpu_count() or 1
    waiting: deque[Future[list[tuple[int, int, _Pixels | str]]]] = deque()
    with ThreadPoolExecutor(n_workers) as pool:
        for chunk in _chunks(source.payloads()):
            waiting.append(pool.submit(_decode_chunk, chunk))
            if len(waiting) > 2 * n_workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _chunks(payloads: Iterator[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Group payloads, by number and by size, so that neither small nor large files make a worker wait."""
    chunk: list[tuple[int, bytes]] = []
    n_bytes = 0
    for item in payloads:
        chunk.append(item)
        n_bytes += len(item[1])
        if len(chunk) >= _CHUNK or n_bytes > 4_000_000:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _decode_chunk(chunk: list[tuple[int, bytes]]) -> list[tuple[int, int, _Pixels | str]]:
    return [(position, len(payload), _decode_one(payload)) for position, payload in chunk]


def _decode_one(payload: bytes) -> _Pixels | str:
    try:
        decoded = decode(payload)
    except ImageError as error:
        return str(error)
    pixels = np.asarray(decoded.image)
    return _Pixels(pixels, pixel_digest(pixels), decoded.format)


def pixel_digest(pixels: np.ndarray) -> str:
    """Return 32 hex characters that are equal for equal pixels of equal shape.

    Args:
        pixels: uint8, shape (h, w, 3).
    """
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels))
    return digest.hexdigest()


def _write_index(source: Source, folder: Path, rows: list[tuple[int, int, int, int, str, str, int]]) -> None:
    position, offset, height, width, digest, file_format, size = zip(*rows, strict=True)
    records = [source.records[at] for at in position]
    np.savez(
        folder / "index.npz",
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
