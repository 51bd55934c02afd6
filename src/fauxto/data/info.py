"""What a data set holds: counts, sizes, duplicates, and a sheet of sample images: ``fauxto data info DATA``."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fauxto.data.store import Store
from fauxto.errors import UsageError
from fauxto.runs import write_whole

CELL = 96
MAX_ROWS = 24
_GAP = 4
_TITLE_WIDTH = 190
_SHOWN_SIZES = 10


@dataclass(frozen=True)
class Duplicates:
    """Images whose pixels are equal to another's, bit for bit.

    Attributes:
        n_groups: Pictures that occur more than once.
        n_images: Images in those groups.
        n_surplus: Images that would go if each picture were kept once.
        n_test_images_in_train: Test images whose pixels also stand in the data's own train or validation part.
        n_images_with_both_labels: Images whose pixels occur both as real and as fake.
        n_groups_on_two_sides: Named groups that stand both in the data's own test part and in their train or validation part.
    """

    n_groups: int
    n_images: int
    n_surplus: int
    n_test_images_in_train: int
    n_images_with_both_labels: int
    n_groups_on_two_sides: int


@dataclass(frozen=True)
class Info:
    """What a data set holds.

    Attributes:
        n_images: Readable images.
        counts: Split ("all" where the data have none) to {"real": n, "fake": n}.
        generators: Generator to its number of fake images; "" where it is not named.
        sizes: "width x height" to number of images, the ten most frequent.
        n_sizes: How many different sizes there are.
        formats: File format to {"real": n, "fake": n}; a format that only one class has gives the answer away.
        file_bytes: {"real": median bytes per file, "fake": ...}.
        n_groups: Named groups of images that stay together in a split.
        duplicates: Equal pixels.
        broken: Path and reason of every image that could not be read.
        key: The store's content key.
    """

    n_images: int
    counts: dict[str, dict[str, int]]
    generators: dict[str, int]
    sizes: dict[str, int]
    n_sizes: int
    formats: dict[str, dict[str, int]]
    file_bytes: dict[str, float]
    n_groups: int
    duplicates: Duplicates
    broken: tuple[tuple[str, str], ...]
    key: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def describe(store: Store) -> Info:
    """Count what a store holds."""
    pairs = zip(store.width.tolist(), store.height.tolist(), strict=True)
    sizes = Counter(f"{width} x {height}" for width, height in pairs)
    return Info(
        n_images=len(store),
        counts=_by_label(np.where(store.split == "", "all", store.split), store.is_fake),
        generators=_counted(store.generator[store.is_fake]),
        sizes=dict(sizes.most_common(_SHOWN_SIZES)),
        n_sizes=len(sizes),
        formats=_by_label(store.file_format, store.is_fake),
        file_bytes=_median_bytes(store),
        n_groups=len(np.unique(store.group[store.group != ""])),
        duplicates=_duplicates(store),
        broken=store.broken,
        key=store.folder.name,
    )


def contact_sheet(store: Store, path: Path, *, n_per_class: int = 10, seed: int = 0) -> Path:
    """Write a PNG with one row of images drawn by chance for real and for each generator, pixels enlarged as squares.

    Args:
        store: Where to draw from.
        path: Where to write; replaced whole.
        n_per_class: Images in a row.
        seed: Same seed, same images.

    Returns:
        ``path``.

    Raises:
        UsageError: ``n_per_class`` is under 1.
        DiskFullError: There is no room.
    """
    if n_per_class < 1:
        raise UsageError(f"a contact sheet needs at least 1 image per row, got {n_per_class}")
    rows = _rows(store)
    sheet = Image.new("RGB", (_TITLE_WIDTH + n_per_class * (CELL + _GAP) + _GAP, len(rows) * (CELL + _GAP) + _GAP), "white")
    rng = np.random.default_rng(seed)
    for number, (title, members) in enumerate(rows):
        chosen = rng.permutation(members)[:n_per_class]
        top = _GAP + number * (CELL + _GAP)
        _draw_title(sheet, f"{title}\n{len(members):,} image{'s' * (len(members) > 1)}", top)
        for column, position in enumerate(chosen):
            cell = enlarged(store.image(int(position)), side=CELL)
            left = _TITLE_WIDTH + column * (CELL + _GAP)
            sheet.paste(cell, (left + (CELL - cell.width) // 2, top + (CELL - cell.height) // 2))
    write_whole(path, lambda part: sheet.save(part, format="PNG"))
    return path


def enlarged(pixels: np.ndarray, *, side: int) -> Image.Image:
    """Return an image that fits into a square: small ones with every pixel a square block, large ones reduced.

    Args:
        pixels: uint8, shape (h, w, 3).
        side: The square's side, in pixels.

    Example:
        >>> enlarged(np.zeros((32, 16, 3), np.uint8), side=96).size
        (48, 96)
    """
    image = Image.fromarray(pixels)
    times = side // max(image.size)
    if times >= 1:
        return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def _rows(store: Store) -> list[tuple[str, np.ndarray]]:
    """Real first, then one row per generator, the most frequent first; the rarest share the last row of a long sheet."""
    names = list(_counted(store.generator[store.is_fake]))
    n_own = len(names) if len(names) < MAX_ROWS else MAX_ROWS - 2
    rows = [("real", ~store.is_fake)]
    rows += [(f"fake\n{name}".strip(), store.is_fake & (store.generator == name)) for name in names[:n_own]]
    rows.append((f"fake\n{len(names) - n_own} other generators", store.is_fake & np.isin(store.generator, names[n_own:])))
    return [(title, np.flatnonzero(chosen)) for title, chosen in rows if chosen.any()]


def _draw_title(sheet: Image.Image, text: str, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    lines = []
    for line in text.split("\n"):
        cut = line
        while draw.textlength(cut, font=font) > _TITLE_WIDTH - 3 * _GAP:
            cut = cut.removesuffix("…")[:-1] + "…"
        lines.append(cut)
    draw.multiline_text((2 * _GAP, top + CELL // 2), "\n".join(lines), fill="black", font=font, anchor="lm", spacing=6)


def _by_label(words: np.ndarray, is_fake: np.ndarray) -> dict[str, dict[str, int]]:
    return {
        word: {"real": int(((words == word) & ~is_fake).sum()), "fake": int(((words == word) & is_fake).sum())}
        for word in _counted(words)
    }


def _counted(words: np.ndarray) -> dict[str, int]:
    """Return how often each word occurs, the most frequent first, then by alphabet."""
    return dict(sorted(Counter(words.tolist()).items(), key=lambda item: (-item[1], item[0])))


def _median_bytes(store: Store) -> dict[str, float]:
    parts = {"real": store.file_bytes[~store.is_fake], "fake": store.file_bytes[store.is_fake]}
    return {label: float(np.median(n_bytes)) for label, n_bytes in parts.items() if len(n_bytes)}


def _duplicates(store: Store) -> Duplicates:
    _, picture, n_equal = np.unique(store.pixel_hash, return_inverse=True, return_counts=True)
    n_fake = np.bincount(picture, weights=store.is_fake)
    in_test = store.split == "test"
    in_train = (store.split == "train") | (store.split == "val")
    return Duplicates(
        n_groups=int((n_equal > 1).sum()),
        n_images=int(n_equal[n_equal > 1].sum()),
        n_surplus=len(store) - len(n_equal),
        n_test_images_in_train=int(np.isin(picture[in_test], picture[in_train]).sum()),
        n_images_with_both_labels=int(n_equal[(n_fake > 0) & (n_fake < n_equal)].sum()),
        n_groups_on_two_sides=len((set(store.group[in_test].tolist()) & set(store.group[in_train].tolist())) - {""}),
    )
