"""images, fed with hostile files: cut, empty, renamed, huge, mutated; each gets RGB or one clear error of ours."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from fauxto import images
from fauxto.errors import ImageError, ImageTooLargeError
from fauxto.images import open_rgb

ORIENTATION = 0x0112


def two_halves(width: int = 32, height: int = 16) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = (250, 10, 10), (10, 10, 250)
    return Image.fromarray(pixels)


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "GIF"])
def test_a_file_cut_in_half_is_refused(file_format):
    payload = saved(Image.effect_noise((64, 64), 80).convert("RGB"), file_format)
    with pytest.raises(ImageError):
        open_rgb(payload[: len(payload) // 2])


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageError, match="empty \\(0 bytes\\)"):
        open_rgb(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="empty"):
        open_rgb(b"")


@pytest.mark.parametrize("payload", [b"hello, this is text", b"<svg xmlns='x'/>", b"\xff\xd8", b"\0" * 1000, b"GIF89a"])
def test_what_is_not_an_image_is_refused(tmp_path, payload):
    (tmp_path / "a.jpg").write_bytes(payload)
    with pytest.raises(ImageError):
        open_rgb(tmp_path / "a.jpg")


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (2**31 - 1, 2**31 - 1), (150_000_001, 1), (12_300, 12_300)])
def test_a_bomb_is_refused_before_it_is_decoded(width, height):
    with pytest.raises(ImageTooLargeError, match="more than 150,000,000 are not decoded: make it smaller"):
        open_rgb(png_that_declares(width, height))


def test_max_pixels_is_the_largest_that_passes():
    payload = saved(two_halves(20, 10), "PNG")
    assert open_rgb(payload, max_pixels=200).size == (20, 10)
    with pytest.raises(ImageTooLargeError, match="20 x 10 pixels"):
        open_rgb(payload, max_pixels=199)


def test_a_file_with_too_many_bytes_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(saved(two_halves(), "PNG"))
    monkeypatch.setattr(images, "MAX_FILE_BYTES", path.stat().st_size - 1)
    with pytest.raises(ImageTooLargeError, match="the file has"):
        open_rgb(path)


def test_no_memory_is_named(monkeypatch):
    def no_memory(image):
        raise MemoryError

    monkeypatch.setattr(images.ImageOps, "exif_transpose", no_memory)
    with pytest.raises(ImageTooLargeError, match="not enough memory"):
        open_rgb(saved(two_halves(), "PNG"))


# ---------------------------------------------------------------- paths


def test_a_missing_file_is_named():
    with pytest.raises(ImageError, match="No such file"):
        open_rgb("/nowhere/at/all.jpg")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="this is a folder"):
        open_rgb(tmp_path)


def test_a_path_with_nul_is_refused():
    with pytest.raises(ImageError, match="not a path"):
        open_rgb("a\0b.jpg")


def test_a_name_longer_than_the_system_allows_is_refused():
    with pytest.raises(ImageError, match="cannot be opened"):
        open_rgb("x" * 5000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="pipe or a device"):
        open_rgb(tmp_path / "a.jpg")


def test_a_device_is_refused_instead_of_read_for_ever():
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(ImageError, match="pipe or a device"):
        open_rgb("/dev/zero")


# ---------------------------------------------------------------- warnings


def test_pillows_warnings_stay_off_and_ours_stay_on():
    before = list(warnings.filters)
    payload = saved(two_halves(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x01" * 9)
    threads = [threading.Thread(target=lambda: [open_rgb(payload) for _ in range(40)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before, "threads that overlap must not leave one another's filters behind"
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", stacklevel=1)


# ---------------------------------------------------------------- property: RGB or our error, nothing else


def _seeds() -> list[bytes]:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (24, 20, 3), np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    alpha = noise.convert("RGBA")
    alpha.putalpha(128)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return [
        saved(noise, "JPEG", exif=exif, icc_profile=icc),
        saved(noise.convert("CMYK"), "JPEG", progressive=True),
        saved(alpha, "PNG", exif=exif, icc_profile=icc),
        saved(noise.quantize(16), "PNG", transparency=3),
        saved(Image.fromarray(np.arange(480, dtype=np.uint16).reshape(24, 20) * 99), "PNG"),
        saved(noise, "GIF", save_all=True, append_images=[noise.rotate(90)]),
        saved(noise, "BMP"),
        saved(noise.quantize(16), "BMP"),
        saved(noise, "TIFF", exif=exif),
        saved(noise, "TIFF", compression="tiff_lzw"),
        saved(noise.convert("1"), "TIFF", compression="group4"),
        saved(alpha, "WEBP", exif=exif),
        saved(noise, "WEBP", lossless=True),
        saved(noise, "AVIF", exif=exif),
    ]


SEEDS = _seeds()


@st.composite
def mutated_images(draw: st.DrawFn) -> bytes:
    payload = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(payload) - 1, 0)))
        action = draw(st.sampled_from(["flip", "header", "cut", "drop", "insert", "splice"]))
        if action == "flip":
            payload[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif action == "header":  # much of a file's meaning lies behind its magic bytes
            near = 12 + at % 120
            payload[near : near + 4] = draw(st.binary(min_size=4, max_size=4))
        elif action == "cut":
            del payload[at:]
        elif action == "drop":
            del payload[at : at + draw(st.integers(1, 40))]
        elif action == "insert":
            payload[at:at] = draw(st.binary(min_size=1, max_size=40))
        else:
            other = draw(st.sampled_from(SEEDS))
            payload[at:] = other[at:]
    return bytes(payload)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(mutated_images())
def test_a_mutated_image_gives_rgb_or_our_error_and_nothing_else(payload):
    try:
        image = open_rgb(payload, max_pixels=2_000_000)
    except ImageError as error:
        sentence = str(error)
    else:
        sentence = "no error"
        assert image.mode == "RGB"
        assert 0 < image.width * image.height <= 2_000_000
        assert np.asarray(image).shape == (image.height, image.width, 3)
    assert sentence
    assert "\n" not in sentence
