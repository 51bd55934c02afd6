"""The contact sheet of a forge: one row per member, reconstructions beside their originals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from fauxto.data.info import enlarged
from fauxto.forge.folder import REAL, finished
from fauxto.images import to_pixels
from fauxto.runs import write_whole

FILE = "contact.png"
CELL, GAP, TITLE = 64, 4, 440


def write_sheet(out: Path, *, n_columns: int = 14) -> Path:
    """Draw contact.png from the files of a forge; originals have a green frame."""
    rows: list[tuple[str, list[tuple[Path, bool]]]] = [("real", _first(out / REAL, n_columns))]
    for folder, record in finished(out):
        rows.append((record["member"]["name"], _cells(out, folder, record["images"], n_columns)))
    page = Image.new("RGB", (TITLE + n_columns * (CELL + GAP) + GAP, len(rows) * (CELL + GAP) + GAP), "white")
    for number, (title, cells) in enumerate(rows):
        top = GAP + number * (CELL + GAP)
        ImageDraw.Draw(page).text((GAP, top + CELL // 2 - 6), title, fill="black")
        for column, (file, is_original) in enumerate(cells):
            _paste(page, file, TITLE + column * (CELL + GAP), top, framed=is_original and number > 0)
    write_whole(out / FILE, lambda part: page.save(part, "PNG"))
    return out / FILE


def _cells(out: Path, folder: Path, images: list[dict[str, Any]], n_columns: int) -> list[tuple[Path, bool]]:
    """Return files and whether each is an original: pairs where there are originals, images no operation has touched first."""
    chosen = sorted(images, key=lambda one: bool(one["operation"]))
    cells: list[tuple[Path, bool]] = []
    for one in chosen:
        if one["source"] >= 0:
            cells.append((out / REAL / f"{one['source']:05d}{Path(one['file']).suffix}", True))
        cells.append((folder / one["file"], False))
    return cells[:n_columns]


def _first(folder: Path, n: int) -> list[tuple[Path, bool]]:
    return [(file, True) for file in sorted(folder.glob("[0-9]*"))[:n]]


def _paste(page: Image.Image, file: Path, left: int, top: int, *, framed: bool) -> None:
    cell = enlarged(to_pixels(file), side=CELL)
    if framed:
        box = (left - 2, top - 2, left + cell.width + 1, top + cell.height + 1)
        ImageDraw.Draw(page).rectangle(box, outline=(0, 150, 60), width=2)
    page.paste(cell, (left, top))
