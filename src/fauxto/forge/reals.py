"""The real photographs that a forge begins with: from anything that fauxto opens, unlabelled folders and .npz arrays."""

from __future__ import annotations

import hashlib
import tokenize
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fauxto.data.archives import DAMAGED
from fauxto.data.sources import locate, open_photographs
from fauxto.data.store import Progress, Store, load_data, open_store
from fauxto.errors import DataError
from fauxto.forge.settings import ForgeSettings

FEWEST = 16
MAX_ARRAY_BYTES = 8 * 1024**3


@dataclass(frozen=True, eq=False)
class Reals:
    """Real images of one size.

    Attributes:
        name: The source's own name, without the folders above it.
        images: uint8, shape (n, size, size, 3).
        group: What identifies the photograph of each image; crops of one photograph share it.
        said: Sentences on what was taken and what was left out.
        kind: What each image shows, in a word; empty where nobody has said.
    """

    name: str
    images: np.ndarray
    group: tuple[str, ...]
    said: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over pixels, groups and kinds, hex."""
        about = (self.images.shape, self.group, *([self.kind] if self.kind else []))
        digest = hashlib.sha256(repr(about).encode(errors="backslashreplace"))
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()


class _Pictures(NamedTuple):
    """Photographs before they are cut: what identifies each, height and width of each, how to get one, what each shows."""

    group: list[str]
    height: np.ndarray
    width: np.ndarray
    image: Callable[[int], np.ndarray]
    said: list[str]
    kind: list[str]


def open_reals(
    path: str | Path, settings: ForgeSettings, *, skip_broken: bool = False, progress: Progress | None = None
) -> Reals:
    """Return the real images of a source, cut or shrunk to the settings' size.

    Args:
        path: A folder, archive or manifest as for ``load_data``, of which only real images outside of a part called test are
            taken; a folder or archive of photographs that nothing labels; or an .npz file with an array ``image``,
            and perhaps ``cifake_path``, which becomes the group, and ``class``, which becomes the kind.
        settings: Size, fit, crops, limit and seed are used.
        skip_broken: Leave unreadable images out instead of refusing the whole set.
        progress: Called with (done, total) while images are decoded for the first time.

    Raises:
        DataError: There are no such data, they are damaged, or they hold too few real images of at least the size.
    """
    root = locate(path)
    is_array = root.is_file() and root.suffix.lower() == ".npz"
    pictures = _from_npz(root) if is_array else _from_store(root, skip_broken=skip_broken, progress=progress)
    large = np.flatnonzero(np.minimum(pictures.height, pictures.width) >= settings.size)
    n_small = len(pictures.group) - large.size
    small = [f"{n_small} images are smaller than {settings.size} pixels and are left out"] if n_small else []
    pieces = sorted(_pieces(pictures, large, settings), key=lambda piece: piece[0])
    if len(pieces) < FEWEST:
        raise DataError(
            f"{root.name} gives {len(pieces)} real images of {settings.size} pixels, outside of a part called test; a forge "
            f"needs {FEWEST}: give more photographs, several --crops of each, or another --size"
        )
    groups = tuple(pictures.group[position] for position, _ in pieces)
    kinds = tuple(pictures.kind[position] for position, _ in pieces) if pictures.kind else ()
    return Reals(root.name, np.stack([image for _, image in pieces]), groups, (*pictures.said, *small), kinds)


def _pieces(pictures: _Pictures, large: np.ndarray, settings: ForgeSettings) -> Iterator[tuple[int, np.ndarray]]:
    """Yield position and pixels of every real image, photographs in random order, until the limit is reached."""
    rng = np.random.default_rng([settings.seed, 0])
    n_left = settings.limit or large.size * settings.crops
    for position in rng.permutation(large).tolist():
        picture = pictures.image(position)
        fitted = _crops(picture, settings, rng) if settings.fit == "crop" else [_shrunk(picture, settings.size)]
        for image in fitted[:n_left]:
            yield position, image
        n_left -= len(fitted[:n_left])
        if n_left <= 0:
            return


def _crops(picture: np.ndarray, settings: ForgeSettings, rng: np.random.Generator) -> list[np.ndarray]:
    """Return crops at different places, as many as there are and the settings allow."""
    rows, columns = (side - settings.size + 1 for side in picture.shape[:2])
    places = rng.choice(rows * columns, min(settings.crops, rows * columns), replace=False)
    tops, lefts = np.divmod(places, columns)
    s = settings.size
    return [np.array(picture[top : top + s, left : left + s]) for top, left in zip(tops, lefts, strict=True)]


def _shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    """Return the middle of a picture whose shorter side was resized to ``size``."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.array(square.resize((size, size), Image.Resampling.LANCZOS))


def _from_store(root: Path, *, skip_broken: bool, progress: Progress | None) -> _Pictures:
    said = []
    try:
        store = load_data(root, skip_broken=skip_broken, progress=progress)
    except DataError:
        photographs = open_photographs(root)
        if photographs is None:
            raise
        store = open_store(photographs, skip_broken=skip_broken, progress=progress)
        said.append(f"nothing in {root.name} says real or fake: all of its images are taken for photographs")
    said += [f"skipped {path}: {reason}" for path, reason in store.broken[:10]]
    said += [f"{len(store.broken)} images could not be read and are left out"] if store.broken else []
    return _real_pictures(store, said)


def _real_pictures(store: Store, said: list[str]) -> _Pictures:
    at = np.flatnonzero(~store.is_fake & (store.split != "test"))
    if at.size < len(store):
        said.append(f"{at.size:,} of {len(store):,} images are real and in no part called test: only they are used")
    groups = [group or path for group, path in zip(store.group[at].tolist(), store.path[at].tolist(), strict=True)]
    return _Pictures(groups, store.height[at], store.width[at], lambda position: store.image(int(at[position])), said, [])


def _from_npz(file: Path) -> _Pictures:
    """Read the array ``image``, and where they are there ``cifake_path`` and ``class``; nothing in the file is executed."""
    refusal = f"{file.name} is no set of images: expected an .npz with an array image, uint8 of shape (n, height, width, 3)"
    try:
        with zipfile.ZipFile(file) as archive:
            if any(member.file_size > MAX_ARRAY_BYTES for member in archive.infolist()):
                raise DataError(f"{file.name} would fill more than {MAX_ARRAY_BYTES:,} bytes: give fewer images at once")
        with np.load(file, allow_pickle=False) as arrays:
            images = arrays["image"]
            texts = {key: np.asarray(arrays[key]) for key in ("cifake_path", "class") if key in arrays.files}
            names, kinds = (texts[key].tolist() if key in texts else [] for key in ("cifake_path", "class"))
    except (*DAMAGED, MemoryError, SyntaxError, tokenize.TokenError, SystemError, zipfile.LargeZipFile) as error:
        raise DataError(f"{refusal} ({error})") from error
    images = np.asarray(images)  # what is no array is read as bytes
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise DataError(f"{refusal}, got {images.dtype} of shape {images.shape}")
    for key, text in texts.items():
        if text.dtype.kind != "U" or text.shape != images.shape[:1]:
            raise DataError(f"{file.name}: {key} must hold one text for each of {len(images)} images")
    named = names or [f"{file.name}#{number}" for number in range(len(images))]
    sides = [np.full(len(images), side) for side in images.shape[1:3]]
    return _Pictures(named, sides[0], sides[1], lambda position: images[position], [], kinds)
