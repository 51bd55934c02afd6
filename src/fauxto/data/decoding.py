"""File bytes to pixels, on all cores and within bounded memory."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fauxto.data.archives import Payload
from fauxto.errors import ImageError
from fauxto.images import decode

_CHUNK_IMAGES = 256
_CHUNK_FILE_BYTES = 4_000_000
_CHUNK_PIXEL_BYTES = 128_000_000


@dataclass(frozen=True)
class Pixels:
    """One decoded image.

    Attributes:
        pixels: uint8, shape (h, w, 3).
        digest: As ``pixel_digest``.
        file_format: Pillow's name of the file's format.
    """

    pixels: np.ndarray
    digest: str
    file_format: str


def decoded(payloads: Iterator[tuple[int, Payload]]) -> Iterator[tuple[int, int, Pixels | str]]:
    """Decode on all cores (Pillow's decoders release the lock), a few chunks ahead of the reader.

    Args:
        payloads: An image's number, and its file's bytes or the error that took their place.

    Yields:
        The image's number, its file's size in bytes, and its pixels or the reason why there are none.
    """
    n_workers = os.cpu_count() or 1
    waiting: deque[Future[list[tuple[int, Payload, Pixels | str | None]]]] = deque()
    with ThreadPoolExecutor(n_workers) as pool:
        for chunk in _chunks(payloads):
            waiting.append(pool.submit(_decode_chunk, chunk))
            if len(waiting) > 2 * n_workers:
                yield from _finished(waiting.popleft().result())
        while waiting:
            yield from _finished(waiting.popleft().result())


def pixel_digest(pixels: np.ndarray) -> str:
    """Return 32 hex characters that are equal for equal pixels of equal shape.

    Args:
        pixels: uint8, shape (h, w, 3).

    Example:
        >>> pixel_digest(np.zeros((1, 2, 3), np.uint8)) == pixel_digest(np.zeros((2, 1, 3), np.uint8))
        False
    """
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _chunks(payloads: Iterator[tuple[int, Payload]]) -> Iterator[list[tuple[int, Payload]]]:
    """Group payloads, by number and by size, so that neither small nor large files make a worker wait."""
    chunk: list[tuple[int, Payload]] = []
    n_bytes = 0
    for item in payloads:
        chunk.append(item)
        n_bytes += _size(item[1])
        if len(chunk) >= _CHUNK_IMAGES or n_bytes > _CHUNK_FILE_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _decode_chunk(chunk: list[tuple[int, Payload]]) -> list[tuple[int, Payload, Pixels | str | None]]:
    """Decode until the pixels fill the chunk's share of memory: small files can hold very large images."""
    done: list[tuple[int, Payload, Pixels | str | None]] = []
    n_bytes = 0
    for number, payload in chunk:
        result = _decode_one(payload) if n_bytes < _CHUNK_PIXEL_BYTES else None
        n_bytes += result.pixels.nbytes if isinstance(result, Pixels) else 0
        done.append((number, payload, result))
    return done


def _finished(chunk: Iterable[tuple[int, Payload, Pixels | str | None]]) -> Iterator[tuple[int, int, Pixels | str]]:
    for number, payload, result in chunk:
        yield number, _size(payload), _decode_one(payload) if result is None else result


def _decode_one(payload: Payload) -> Pixels | str:
    if isinstance(payload, ImageError):
        return str(payload)
    try:
        image = decode(payload)
    except ImageError as error:
        return str(error)
    pixels = np.asarray(image.image)
    return Pixels(pixels, pixel_digest(pixels), image.format)


def _size(payload: Payload) -> int:
    return len(payload) if isinstance(payload, bytes) else 0
