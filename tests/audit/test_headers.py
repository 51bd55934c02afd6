"""Headers against Pillow's reading of the same bytes, and bytes that are no header."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from fauxto.audit.headers import UNREADABLE, Header, read_header

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def saved(image: Image.Image = NOISE, kind: str = "JPEG", **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


@pytest.mark.parametrize("quality", [1, 10, 25, 49, 50, 74, 75, 90, 95, 100])
def test_quality_and_tables_are_those_of_the_encoder(quality: int) -> None:
    header = read_header(saved(quality=quality))
    assert header.quality == quality
    assert header.tables == read_header(saved(Image.new("RGB", (8, 8)), quality=quality)).tables
    assert header.tables != read_header(saved(quality=quality - 1 if quality > 1 else 2)).tables


@pytest.mark.parametrize(("number", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_subsampling(number: int, name: str) -> None:
    assert read_header(saved(subsampling=number)).subsampling == name


def test_jpeg_by_hand() -> None:
    assert read_header(saved(quality=75)) == Header("JPEG", "RGB", "209975cd", 75, "4:2:0", "baseline", "jfif")
    assert read_header(saved(progressive=True)).coding == "progressive"
    assert read_header(saved(NOISE.convert("L"))).mode == "L"
    assert read_header(saved(NOISE.convert("CMYK"))).mode == "CMYK"
    exif = Image.Exif()
    exif[0x0131] = "x"
    assert read_header(saved(exif=exif.tobytes(), comment=b"hello", icc_profile=b"x" * 200)).metadata == "comment+exif+icc+jfif"


def test_png_by_hand() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "steps: 20")
    assert read_header(saved(kind="PNG", pnginfo=text)) == Header("PNG", "RGB", coding="8 bits", metadata="text parameters")
    assert read_header(saved(NOISE.convert("RGBA"), "PNG", icc_profile=b"x" * 200)).metadata == "icc"
    assert read_header(saved(NOISE.convert("P"), "PNG")).mode == "P"


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "BMP", "TIFF"])
def test_other_formats(kind: str) -> None:
    assert read_header(saved(kind=kind)).format == kind


def test_thousands_of_texts_do_not_make_a_long_header() -> None:
    text = PngImagePlugin.PngInfo()
    for number in range(2000):
        text.add_text(f"key {number:04d}", "")
    assert len(read_header(saved(kind="PNG", pnginfo=text)).metadata) < 200


def test_a_cut_file_is_unreadable_or_read_and_never_an_error() -> None:
    for payload in (saved(), saved(kind="PNG"), saved(kind="GIF"), saved(kind="WEBP")):
        for end in range(len(payload)):
            read_header(payload[:end])
    assert read_header(saved()[:100]) == Header(UNREADABLE)
    assert read_header(b"") == Header(UNREADABLE)


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b""]))
def test_hostile_bytes(junk: bytes, start: bytes) -> None:
    assert isinstance(read_header(start + junk), Header)


def test_a_bomb_is_not_decoded() -> None:
    payload = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    payload[6:10] = b"\xff\xff\xff\xff"
    assert read_header(bytes(payload)).format == UNREADABLE
