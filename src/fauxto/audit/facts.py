"""How every file of a data set was saved: one pass over the files, headers only, remembered beside the decoded store."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np

from fauxto.audit.headers import UNREADABLE, Header, read_header
from fauxto.data.sources import Source
from fauxto.data.store import Store
from fauxto.errors import DataError
from fauxto.runs import write_whole

VERSION = 1
CATEGORIES = ("format", "mode", "tables", "subsampling", "coding", "metadata")
WORDS = {
    "format": "file format", "mode": "colour mode", "tables": "JPEG tables", "subsampling": "chroma subsampling",
    "coding": "coding", "metadata": "metadata",
}  # fmt: skip
MAX_WORDS = 8
_EVERY = 1000


@dataclass(frozen=True, eq=False)
class Facts:
    """One entry per image of the store in each array; the words are those of ``Header``."""

    format: np.ndarray
    mode: np.ndarray
    tables: np.ndarray
    quality: np.ndarray
    subsampling: np.ndarray
    coding: np.ndarray
    metadata: np.ndarray

    def __len__(self) -> int:
        return len(self.format)


def read_facts(source: Source, store: Store, *, progress: Callable[[int, int], None] | None = None) -> Facts:
    """Return what the headers of a store's files say; a second call for the same content reads no file.

    Args:
        source: Where the store's files are; its records may be in any order.
        store: Decoded from that source.
        progress: Called with (done, total) now and then.

    Raises:
        DataError: A file is not the one that was decoded.
    """
    file = store.folder / f"facts-{VERSION}.npz"
    known = _remembered(file, n_images=len(store))
    if known is None:
        known = _from_headers(_headers(source, store, progress or (lambda done, total: None)))
        write_whole(file, lambda part: _save(part, known))
    return known


def count_words(facts: Facts, is_fake: np.ndarray) -> dict[str, dict[str, dict[str, int]]]:
    """Return how often each format, colour mode and so on occurs in the classes, whether they differ or not.

    Args:
        facts: One entry per image.
        is_fake: Bool, shape (n,).

    Returns:
        Such as "colour mode" -> "RGB" -> {"real": n, "fake": n}: the most frequent words first, at most ``MAX_WORDS``; what is
        left shares the last entry.
    """
    return {words: _counted(getattr(facts, name), is_fake, partial(named, facts, name)) for name, words in WORDS.items()}


def named(facts: Facts, name: str, word: str) -> str:
    """Return a word of the facts for a reader: tables with the quality that they come nearest to, "none" for nothing."""
    if name == "tables" and word:
        quality = int(facts.quality[np.flatnonzero(facts.tables == word)[0]])
        return f"tables {word} (about quality {quality})"
    return word or "none"


def _counted(values: np.ndarray, is_fake: np.ndarray, name: Callable[[str], str]) -> dict[str, dict[str, int]]:
    words, number = np.unique(values, return_inverse=True)
    real, fake = (np.bincount(number[chosen], minlength=len(words)) for chosen in (~is_fake, is_fake))
    order = np.argsort(-(real + fake), kind="stable").tolist()
    n_own = MAX_WORDS if len(order) <= MAX_WORDS else MAX_WORDS - 1
    found = {name(str(words[at])): {"real": int(real[at]), "fake": int(fake[at])} for at in order[:n_own]}
    if rest := order[n_own:]:
        found[f"{len(rest):,} others"] = {"real": int(real[rest].sum()), "fake": int(fake[rest].sum())}
    return found


def _headers(source: Source, store: Store, progress: Callable[[int, int], None]) -> list[Header]:
    place = {path: at for at, path in enumerate(store.path.tolist())}
    found = [Header(UNREADABLE)] * len(store)
    n_done = 0
    for number, payload in source.payloads():
        at = place.pop(source.records[number].path, None)
        if at is None:
            continue  # a broken image, which is not in the store
        if not isinstance(payload, bytes) or len(payload) != store.file_bytes[at]:
            raise DataError(f"{source.root} changed after it was decoded: run the same again when it is at rest")
        found[at] = read_header(payload)
        n_done += 1
        if n_done % _EVERY == 0 or n_done == len(store):
            progress(n_done, len(store))
    if place:
        raise DataError(f"{source.root} no longer holds {next(iter(place))!r}: run the same again when it is at rest")
    return found


def _from_headers(headers: list[Header]) -> Facts:
    columns = dict(zip(Header._fields, zip(*headers, strict=True), strict=True))
    return Facts(**{name: np.array(values) for name, values in columns.items()})


def _remembered(file: Path, *, n_images: int) -> Facts | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            facts = Facts(**{field.name: stored[field.name] for field in fields(Facts)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return facts if len(facts) == n_images else None


def _save(path: Path, facts: Facts) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **{field.name: getattr(facts, field.name) for field in fields(facts)})
