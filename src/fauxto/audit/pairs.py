"""Pictures of pairs of duplicates, side by side, for the audit's page."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from fauxto.audit.duplicates import Pair
from fauxto.data.info import enlarged
from fauxto.data.store import Store
from fauxto.errors import UsageError

SIDE = 96
PAIRS_PER_ROW = 3
_GAP, _BETWEEN = 4, 16
_EDGE = {True: "#D55E00", False: "#0072B2"}  # a fake's frame is orange, a real image's blue, as in the plots


def pair_sheet(store: Store, pairs: Sequence[Pair], *, per_row: int = PAIRS_PER_ROW, side: int = SIDE) -> bytes:
    """Return a PNG with both images of each pair side by side, pixels enlarged as squares, framed in their label's colour.

    Args:
        store: Where the pairs' positions point to.
        pairs: In the order in which they are drawn, row by row.
        per_row: Pairs in a row.
        side: Of an image's square, in pixels.

    Raises:
        UsageError: There is no pair, or a number is under 1.
    """
    if not pairs or per_row < 1 or side < 1:
        raise UsageError(f"a sheet needs a pair, a pair per row and a side of a pixel, got {len(pairs)}, {per_row} and {side}")
    per_row = min(per_row, len(pairs))
    cell = side + 2 * _GAP
    wide = 2 * cell + _BETWEEN
    sheet = Image.new("RGB", (per_row * wide - _BETWEEN, -(-len(pairs) // per_row) * cell), "white")
    for at, pair in enumerate(pairs):
        left, top = at % per_row * wide, at // per_row * cell
        _paste(sheet, store, pair.first, left, top, side)
        _paste(sheet, store, pair.second, left + cell, top, side)
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def caption(n_shown: int, n_all: int, order: str) -> str:
    """Return how the pictures of pairs were chosen and made.

    Example:
        >>> caption(8, 672, "nearest first")[:36]
        '8 of 672 pairs, nearest first. Each '
    """
    which = f"{n_shown:,} of {n_all:,} pair{'s' * (n_all != 1)}{f', {order}' if n_shown < n_all else ''}"
    return (
        f"{which}. Each picture shows both images side by side as they were decoded: small ones with every pixel a square block, "
        f"those over {SIDE} pixels a side reduced to {SIDE} (Lanczos). A real image's frame is blue, a fake's orange. "
        "duplicates.csv lists all duplicates."
    )


def _paste(sheet: Image.Image, store: Store, position: int, left: int, top: int, side: int) -> None:
    image = enlarged(store.image(position), side=side)
    x, y = left + _GAP + (side - image.width) // 2, top + _GAP + (side - image.height) // 2
    box = (x - 2, y - 2, x + image.width + 1, y + image.height + 1)
    ImageDraw.Draw(sheet).rectangle(box, outline=_EDGE[bool(store.is_fake[position])], width=2)
    sheet.paste(image, (x, y))
