"""What a file's header says of how it was saved, read without decoding a pixel: tables, subsampling, metadata, colour mode."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fauxto.errors import ImageError
from fauxto.images import opened_lazily

UNREADABLE = "unreadable"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_MAX_KINDS = 12  # a file may name thousands of texts; the first few, by alphabet, tell one encoder from another
_MAX_PARTS = 10_000  # segments or chunks of one file; no camera or program writes as many before the pixels
# Standard luminance table of the JPEG specification (ITU-T T.81, annex K.1), in zigzag order.
_STANDARD = np.array([
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57,
    51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120,
    92, 101, 103, 99,
])  # fmt: skip


class Header(NamedTuple):
    """How one file was saved.

    Attributes:
        format: "JPEG", "PNG" or Pillow's name of another format; "unreadable" where the header makes no sense.
        mode: Colour mode of the file, such as "RGB", "L", "P" or "CMYK".
        tables: Eight hex characters that are equal for equal JPEG quantisation tables; empty for other formats.
        quality: Quality of the IJG encoder whose luminance table comes nearest, 1 to 100; 0 for other formats.
        subsampling: Such as "4:2:0"; empty for other formats and for grey JPEGs.
        coding: "baseline", "progressive" or another JPEG process; for PNG its bit depth, and whether it is interlaced.
        metadata: Kinds of metadata in the file, sorted and joined by "+": such as "exif+icc"; PNG text by its keyword.
    """

    format: str
    mode: str = ""
    tables: str = ""
    quality: int = 0
    subsampling: str = ""
    coding: str = ""
    metadata: str = ""


def read_header(payload: bytes) -> Header:
    """Read a file's header; hostile bytes give an "unreadable" one, never an error.

    Example:
        >>> read_header(b"no image")
        Header(format='unreadable', mode='', tables='', quality=0, subsampling='', coding='', metadata='')
    """
    try:
        if payload.startswith(b"\xff\xd8"):
            return _jpeg(payload)
        if payload.startswith(_PNG):
            return _png(payload)
        return _other(payload)
    except (struct.error, IndexError, ValueError, ImageError):
        return Header(UNREADABLE)


def _jpeg(payload: bytes) -> Header:
    """Walk the segments before the pixels (ITU-T T.81, annex B)."""
    tables: dict[int, bytes] = {}
    found: set[str] = set()
    mode = subsampling = coding = ""
    for marker, start, end in _segments(payload):
        if marker == 0xDB:
            tables |= _quantisation(payload[start:end])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            mode, subsampling = _frame(payload[start:end])
            coding = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}.get(marker, f"process {marker - 0xC0}")
        elif kind := _jpeg_metadata(marker, payload[start : min(end, start + 40)]):
            found.add(kind)
    if not coding:
        return Header(UNREADABLE)
    digest = hashlib.blake2b(b"".join(bytes([at]) + tables[at] for at in sorted(tables)), digest_size=4).hexdigest()
    quality = estimated_quality(tables[min(tables)]) if tables else 0
    return Header("JPEG", mode, digest if tables else "", quality, subsampling, coding, _joined(found))


def _segments(payload: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment's content, up to the first scan."""
    at = 2
    for _ in range(_MAX_PARTS):
        while payload[at] == 0xFF and payload[at + 1] == 0xFF:
            at += 1  # fill bytes
        marker = payload[at + 1]
        if payload[at] != 0xFF or marker in (0xD9, 0xDA):
            return
        (length,) = struct.unpack_from(">H", payload, at + 2)
        yield marker, at + 4, at + 2 + length
        at += 2 + max(2, length)


def _quantisation(content: bytes) -> dict[int, bytes]:
    """Return each table of a DQT segment as its precision and 64 values in zigzag order."""
    found = {}
    at = 0
    while at < len(content):
        precision, number = content[at] >> 4, content[at] & 15
        size = 128 if precision else 64
        if len(content) < at + 1 + size:
            break
        found[number] = bytes([precision]) + content[at + 1 : at + 1 + size]
        at += 1 + size
    return found


@lru_cache(maxsize=4096)
def estimated_quality(table: bytes) -> int:
    """Return the IJG quality, 1 to 100, whose luminance table comes nearest to this one.

    Args:
        table: Its precision (0 = 8 bits), then 64 values in zigzag order.
    """
    values = np.frombuffer(table[1:], ">u2" if table[0] else "u1").astype(np.int64)
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)  # jpeg_quality_scaling of the IJG's library
    known = np.clip((_STANDARD[None] * scale[:, None] + 50) // 100, 1, 255)
    return int(quality[np.abs(known - values).sum(axis=1).argmin()])


def _frame(content: bytes) -> tuple[str, str]:
    """Return colour mode and chroma subsampling of a frame header."""
    n_components = content[5]
    factors = [(content[7 + 3 * at] >> 4, content[7 + 3 * at] & 15) for at in range(n_components)]
    if n_components != 3:
        return {1: "L", 4: "CMYK"}.get(n_components, f"{n_components} components"), ""
    (height_y, width_y), chroma = (factors[0][1], factors[0][0]), factors[1:]
    ratios = {(width_y / max(1, width), height_y / max(1, height)) for width, height in chroma}
    names = {(1.0, 1.0): "4:4:4", (2.0, 1.0): "4:2:2", (2.0, 2.0): "4:2:0", (4.0, 1.0): "4:1:1", (1.0, 2.0): "4:4:0"}
    return "RGB", names.get(ratios.pop(), "other") if len(ratios) == 1 else "other"


def _jpeg_metadata(marker: int, begin: bytes) -> str:
    if marker == 0xFE:
        return "comment"
    if not 0xE0 <= marker <= 0xEF:
        return ""
    known = {
        b"JFIF": "jfif", b"JFXX": "jfif", b"Exif": "exif", b"http://ns.adobe.com/": "xmp", b"ICC_PROFILE": "icc",
        b"Photoshop": "iptc", b"Adobe": "adobe", b"JP\0\0": "c2pa", b"JP": "c2pa", b"MPF": "mpf",
    }  # fmt: skip
    return next((kind for start, kind in known.items() if begin.startswith(start)), f"app{marker - 0xE0}")


def _png(payload: bytes) -> Header:
    """Walk the chunks (PNG specification, third edition); they may stand behind the pixels too."""
    depth, colour, interlaced = payload[24], payload[25], payload[28]
    if payload[12:16] != b"IHDR" or colour not in _PNG_MODES:
        return Header(UNREADABLE)
    found = {_png_metadata(kind, begin) for kind, begin in _chunks(payload)} - {""}
    coding = f"{depth} bits{', interlaced' if interlaced else ''}"
    return Header("PNG", _PNG_MODES[colour], coding=coding, metadata=_joined(found))


def _chunks(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    for _ in range(_MAX_PARTS):
        if at + 8 > len(payload):
            return
        length, kind = struct.unpack_from(">I4s", payload, at)
        yield kind, payload[at + 8 : at + 8 + min(length, 80)]
        at += 12 + length


def _png_metadata(kind: bytes, begin: bytes) -> str:
    if kind in (b"tEXt", b"zTXt", b"iTXt"):
        keyword = begin.split(b"\0")[0].decode("latin-1")
        return "xmp" if keyword == "XML:com.adobe.xmp" else f"text {keyword[:40]}"
    known = {b"eXIf": "exif", b"iCCP": "icc", b"sRGB": "srgb", b"gAMA": "gamma", b"pHYs": "density", b"tIME": "time"}
    return "c2pa" if kind == b"caBX" else known.get(kind, "")


def _other(payload: bytes) -> Header:
    """Let Pillow read the header of any other format."""
    with opened_lazily(payload) as image:
        info, kinds = image.info, []
        kinds += ["exif"] if info.get("exif") else []
        kinds += ["icc"] if info.get("icc_profile") else []
        kinds += ["xmp"] if info.get("xmp") else []
        kinds += ["comment"] if info.get("comment") else []
        return Header(image.format or "unknown", image.mode, metadata=_joined(set(kinds)))


def _joined(kinds: set[str]) -> str:
    return "+".join(sorted(kinds)[:_MAX_KINDS])
