"""Seconds that one large photo costs over tiles: ``python benchmarks/tiles_cost.py --detector D``.

For 0.25, 1, 12 and 48 megapixels of 4:3, each a JPEG of quality 90 in memory: decoding alone; ``Detector.predict``, which
decodes, cuts, asks the network about every tile and, where the answer could turn, about the re-encoded tiles once more; and the
most that an answer can cost, with every re-encoding on the card asked. The pictures are noise at three scales, made on the spot:
what they show decides only whether that second look is taken. The bar, 2 s and 0.5 s to reach for, is for 12 megapixels with the
default tiles. Writes results/tiles_cost.json. Waits until the machine is quiet.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import record
from PIL import Image

from fauxto.detector import Detector
from fauxto.images import open_rgb, to_pixels

MEGAPIXELS = (0.25, 1.0, 12.0, 48.0)
BAR_S, REACH_FOR_S, BAR_MEGAPIXELS = 2.0, 0.5, 12.0
QUALITY, SEED = 90, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    load_before = record.quiet_load()
    detector = Detector.load(arguments.detector)
    if detector.tiles is None:
        raise SystemExit("this detector's card has no tiles: give one that answers large images over tiles")
    rows = [costs(detector, megapixels, n_runs=arguments.repeats) for megapixels in MEGAPIXELS]
    at_bar = next(row for row in rows if row["megapixels"] == BAR_MEGAPIXELS)
    bars = {
        name: record.against_bar(at_bar[name]["median_s"], BAR_S, REACH_FOR_S, at_most=True) for name in ("predict", "at_most")
    }
    about = {"detector": detector.card["name"], "tiles": detector.card["tiles"], "load_before": load_before}
    record.write_result("tiles_cost", about | {"images": rows, "bar_s": bars})


def costs(detector: Detector, megapixels: float, *, n_runs: int) -> dict[str, Any]:
    """Return what an image of this size costs, after one run to warm up."""
    payload = photo(megapixels)
    pixels = to_pixels(payload)
    rows, columns = detector.tiles.lattice(*pixels.shape[:2]) if detector.tiles else (0, 0)

    def at_most() -> None:
        image = to_pixels(payload)
        for saved_as in ("", *detector.over_tiles.scope.stable_under):
            detector.tile_logits(image, saved_as=saved_as)

    works = {"decode": lambda: open_rgb(payload), "predict": lambda: detector.predict([payload]), "at_most": at_most}
    found: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(n_runs):  # in turn, so that a change of the machine's pace meets all of them
        for name, work in works.items():
            found[name] += record.timed(work, n_runs=1)
    size = {"megapixels": megapixels, "height": pixels.shape[0], "width": pixels.shape[1], "bytes": len(payload)}
    return {**size, "n_tiles": rows * columns, **{name: record.summary(seconds) for name, seconds in found.items()}}


def photo(megapixels: float) -> bytes:
    """Return a JPEG of 4:3 with detail at every scale, so that decoding costs what a photo's does."""
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    width, rng = round(height * 4 / 3), np.random.default_rng(SEED)
    image = np.zeros((height, width, 3), np.float32)
    for factor, strength in ((64, 60), (8, 25), (2, 8)):
        coarse = rng.normal(128, strength, (height // factor + 2, width // factor + 2, 3)).clip(0, 255).astype(np.uint8)
        image += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR), np.float32) - 128
    stream = io.BytesIO()
    Image.fromarray((image + 128).clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


if __name__ == "__main__":
    main()
