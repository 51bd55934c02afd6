"""Drawing an image, its map and both: enlarged, blended, with a colour bar."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PICTURE_SIDE, MIN_WIDTH = 320, 480
INK, GREY, PAPER = (24, 24, 27), (96, 96, 104), (255, 255, 255)
font = cache(ImageFont.load_default)


def picture(image: np.ndarray, heat_map: np.ndarray, *, headline: str, caption: str, note: str = "") -> Image.Image:
    """Return image, overlay and colour bar side by side, with the headline above and the caption below.

    Args:
        image: uint8, shape (h, w, 3).
        heat_map: Float, shape (h', w'), in [0, 1].
        headline: Such as the detector's answer.
        caption: Such as the map's size and target.
        note: Written over the overlay; empty for none.
    """
    factor = max(1, round(PICTURE_SIDE / max(image.shape[:2])))
    height, width = (factor * side for side in image.shape[:2])
    page = Image.new("RGB", (max(2 * width + 132, MIN_WIDTH), height + 94), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((16, 12), headline, fill=INK, font=font(20))
    page.paste(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST), (16, 48))
    page.paste(blended(image, heat_map, height=height, width=width, note=note), (width + 28, 48))
    page.paste(colour_bar(height, 16).rotate(90, expand=True), (2 * width + 40, 48))
    for text, y in (("1", 54), ("share\nof the\npeak", 48 + height // 2), ("0", 42 + height)):
        draw.text((2 * width + 64, y), text, fill=GREY, font=font(13), anchor="lm")
    draw.text((16, height + 62), caption, fill=INK, font=font(15))
    return page


def blended(image: np.ndarray, heat_map: np.ndarray, *, height: int, width: int, note: str = "") -> Image.Image:
    """Return an image (h, w, 3), enlarged pixel by pixel, under its smoothly enlarged map; warmer covers more."""
    below = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST), np.float32)
    heat = enlarged(heat_map, height=height, width=width, is_smooth=True)
    share = 0.35 + 0.4 * heat[..., None]
    mixed = (1 - share) * below + share * palette()[np.rint(heat * 255).astype(int)]
    panel = Image.fromarray(np.rint(mixed).astype(np.uint8))
    if note:
        draw = ImageDraw.Draw(panel)
        draw.rectangle((0, 0, width, 22), fill=PAPER)
        draw.text((6, 4), note, fill=INK, font=font(12))
    return panel


def enlarged(heat_map: np.ndarray, *, height: int, width: int, is_smooth: bool = False) -> np.ndarray:
    """Return a map in [0, 1] as float32 (height, width): bilinear, or bicubic if ``is_smooth``, which is kinder to the eye."""
    method = Image.Resampling.BICUBIC if is_smooth else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(heat_map.astype(np.float32)).resize((width, height), method)).clip(0, 1)


def colour_bar(width: int, height: int) -> Image.Image:
    """Return the palette from 0 (left) to 1 (right)."""
    levels = np.rint(np.linspace(0, 255, width)).astype(int)
    return Image.fromarray(np.repeat(palette()[levels].astype(np.uint8)[None], height, axis=0))


@cache
def palette() -> np.ndarray:
    """Return matplotlib's inferno, which grows evenly brighter to the eye: float32, shape (256, 3), in [0, 255]."""
    from matplotlib import colormaps

    return np.asarray(colormaps["inferno"](np.arange(256))[:, :3] * 255, np.float32)
