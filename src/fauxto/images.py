"""Bytes or a path to an RGB image: capped, upright, first frame, on white; a hostile file gets one clear error."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from fauxto.errors import ImageError, ImageTooLargeError

MAX_PIXELS = 150_000_000
MAX_FILE_BYTES = 512 * 1024 * 1024
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"})
# Only these decoders ever see a stranger's bytes; HEIF joins when the user has registered a plugin for it.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


@dataclass(frozen=True)
class Decoded:
    """A decoded image and what its file was.

    Attributes:
        image: RGB, 8 bits, upright.
        format: Pillow's name of the file format, such as "JPEG".
    """

    image: Image.Image
    format: str


def open_rgb(source: bytes | str | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return an image file as upright 8-bit RGB.

    Args:
        source: The file's bytes, or its path.
        max_pixels: Width times height that we are willing to decode.

    Raises:
        ImageError: Missing, empty, truncated, not an image, or of a kind without a meaning in RGB.
        ImageTooLargeError: More pixels or bytes than allowed; nothing was decoded.
    """
    return decode(source, max_pixels=max_pixels).image


def decode(source: bytes | str | Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Do what ``open_rgb`` does, and also say the file's format.

    Raises:
        ImageError: As ``open_rgb``.
        ImageTooLargeError: As ``open_rgb``.
    """
    payload = source if isinstance(source, bytes) else _read(Path(source))
    if not payload:
        raise ImageError("the file is empty (0 bytes): get the image again from where it came from")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused or repaired here anyway
            return _decode(payload, max_pixels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large("more pixels", max_pixels) from error
    except Image.UnidentifiedImageError as error:
        raise ImageError("this is not an image that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF)") from error
    except MemoryError as error:
        raise ImageTooLargeError("there is not enough memory to decode this image: make it smaller") from error
    except Exception as error:  # a decoder fed with hostile bytes may raise anything at all
        raise ImageError(f"the image is damaged or truncated ({_short(error)}): get it again") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a Pillow image of any mode as 8-bit RGB: alpha on white, 16 bits scaled down, CMYK converted.

    Raises:
        ImageError: Floating-point pixels, which have no agreed white.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise ImageError("the image holds floating-point pixels, which have no agreed white: save it with 8 bits")
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ImageTooLargeError(f"the file has {size:,} bytes, more than {MAX_FILE_BYTES:,}: make it smaller")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be opened ({error.strerror or error})") from error
    except ValueError as error:  # a path with a NUL character
        raise ImageError(f"this is not a path ({error})") from error


def _decode(payload: bytes, max_pixels: int) -> Decoded:
    formats = (*_FORMATS, "HEIF") if "HEIF" in Image.OPEN else _FORMATS
    with Image.open(io.BytesIO(payload), formats=formats) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(f"{width} x {height} pixels", max_pixels)
        kind = image.format or "unknown"
        image.load()
        upright = _upright(image)
        return Decoded(to_rgb(_to_srgb(upright)), kind)


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about orientation; the pixels are still good
        return image
    return turned if turned is not None else image


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # a broken profile: viewers ignore it too
        return image
    return converted if converted is not None else image


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own convert would clip everything above 255 to white."""
    values = np.asarray(image).astype(np.int64)
    if values.size and values.max() > 65535:
        raise ImageError("the image holds 32-bit integers, which have no agreed white: save it with 8 or 16 bits")
    grey = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    return page.convert("RGB")


def _too_large(what: str, max_pixels: int) -> ImageTooLargeError:
    return ImageTooLargeError(f"the image declares {what}, more than {max_pixels:,} are not decoded: make it smaller")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 100 else text[:97] + "..."
