"""Bytes or a path to an RGB image: capped, upright, first frame, on white; a hostile file gets one clear error."""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from fauxto.errors import ImageError, ImageTooLargeError

ImageLike = str | Path | bytes | Image.Image | np.ndarray
MAX_PIXELS = 150_000_000
MAX_FILE_BYTES = 512 * 1024 * 1024
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"})
# Only these decoders ever see a stranger's bytes (JPEG's also reads MPO); HEIF joins when the user has registered a plugin.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")


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
        max_pixels: Width times height that we are willing to decode; Pillow itself stops at 179 million.

    Raises:
        ImageError: Missing, empty, truncated, not an image, or of a kind without a meaning in RGB.
        ImageTooLargeError: More pixels or bytes than allowed; nothing was decoded.

    Example:
        >>> stream = io.BytesIO()
        >>> Image.new("CMYK", (5, 4)).save(stream, "JPEG")
        >>> open_rgb(stream.getvalue()).mode, open_rgb(stream.getvalue()).size
        ('RGB', (5, 4))
    """
    return decode(source, max_pixels=max_pixels).image


def to_pixels(image: ImageLike) -> np.ndarray:
    """Return the pixels of a path, file contents, a Pillow image or an array: uint8, shape (h, w, 3).

    Raises:
        ImageError: It is none of these, or cannot be read.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ImageError(f"expected a uint8 array of shape (h, w, 3), got {image.dtype} {image.shape}")
        return image
    if isinstance(image, Image.Image):
        return np.asarray(to_rgb(image))
    if isinstance(image, (str, Path, bytes)):
        return np.asarray(open_rgb(image))
    raise ImageError(f"expected a path, bytes, a Pillow image or a uint8 array, got {type(image).__name__}")


def decode(source: bytes | str | Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Do what ``open_rgb`` does, and also say the file's format.

    Raises:
        ImageError: As ``open_rgb``.
        ImageTooLargeError: As ``open_rgb``.
    """
    payload = source if isinstance(source, bytes) else _read(Path(source))
    if len(payload) > MAX_FILE_BYTES:
        raise ImageTooLargeError(f"the image has more than {MAX_FILE_BYTES:,} bytes: make it smaller")
    if not payload:
        raise ImageError("the file is empty (0 bytes): get the image again from where it came from")
    with _decoder_errors_named(max_pixels), Image.open(io.BytesIO(payload), formats=_known_formats()) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(f"{width} x {height} pixels", max_pixels)
        kind = image.format or "unknown"
        return Decoded(_to_rgb(image), kind)


@contextmanager
def opened_lazily(payload: bytes, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Give an image file whose header was read and whose pixels were not, for what the header alone tells.

    Raises:
        ImageError: As ``open_rgb``; also for what goes wrong while the image is used.
        ImageTooLargeError: More pixels than allowed.
    """
    with _decoder_errors_named(max_pixels), Image.open(io.BytesIO(payload), formats=_known_formats()) as image:
        if image.width * image.height > max_pixels:
            raise _too_large(f"{image.width} x {image.height} pixels", max_pixels)
        yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a Pillow image of any mode as upright 8-bit RGB: alpha on white, 16 bits scaled down, CMYK converted.

    Raises:
        ImageError: No pixels, pixels that cannot be loaded, or of a kind without an agreed white (floats, 32-bit integers).
    """
    with _decoder_errors_named(MAX_PIXELS):
        return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if 0 in image.size:
        raise ImageError(f"the image has {image.width} x {image.height} pixels: give one that shows something")
    return _flattened(_to_srgb(_upright(image)))


def _flattened(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("F", "I"):
        what = "floating-point" if image.mode == "F" else "32-bit integer"
        raise ImageError(f"the image holds {what} pixels, which have no agreed white: save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise ImageError("this is a folder, not an image: name an image in it")
        if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device may never end
            raise ImageError("this is a pipe or a device, not a file: save the image to a file first")
        if found.st_size > MAX_FILE_BYTES:
            raise ImageTooLargeError(f"the file has {found.st_size:,} bytes, more than {MAX_FILE_BYTES:,}: make it smaller")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be opened ({error.strerror or error}): check its name and rights") from error
    except ValueError as error:  # a path with a NUL character
        raise ImageError(f"this is not a path ({error}): check its name") from error


def _known_formats() -> list[str]:
    """Return those formats that this Pillow can open; ``Image.open`` raises KeyError for any other name."""
    from PIL import AvifImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - only these: Image.init() loads 40

    Image.preinit()
    return [name for name in _FORMATS if name in Image.OPEN]


@contextmanager
def _decoder_errors_named(max_pixels: int) -> Iterator[None]:
    try:
        with _PILLOW_IS_QUIET:
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large("far more pixels than any camera makes", max_pixels) from error
    except UnidentifiedImageError as error:
        raise ImageError("this is not an image that can be read: give a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF") from error
    except MemoryError as error:
        raise ImageTooLargeError("there is not enough memory to decode this image: make it smaller") from error
    except Exception as error:  # a decoder fed with hostile bytes may raise anything at all
        raise ImageError(f"the image is damaged or truncated ({_short(error)}): get it again") from error


class _Quiet:
    """Keeps Pillow's warnings off while any thread decodes: they tell of what is refused or repaired here anyway.

    ``warnings.catch_warnings`` alone would not do: threads that overlap would restore one another's filters.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._n_inside += 1
            if self._n_inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._filters.__exit__(None, None, None)


_PILLOW_IS_QUIET = _Quiet()


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # a broken EXIF block says nothing about orientation; the pixels are still good
        return image
    return turned if turned is not None else image


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    wanted = "RGB" if image.mode == "CMYK" else image.mode
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=wanted)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # a broken profile: viewers ignore it too
        return image
    return converted if converted is not None else image


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own convert would clip everything above 255 to white."""
    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    see_through = image.info.get("transparency")
    if isinstance(see_through, int):
        grey[values == see_through] = 255  # on white, like every other transparency
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
