"""images: every kind of file becomes upright 8-bit RGB or one clear error of ours."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from fauxto import images
from fauxto.errors import ImageError
from fauxto.images import decode, open_rgb, to_rgb

RED, BLUE = (250, 10, 10), (10, 10, 250)
ORIENTATION = 0x0112
LOSSLESS = ["PNG", "GIF", "BMP", "TIFF"]
LOSSY = ["JPEG", "WEBP", "AVIF"]


def two_halves(width: int = 32, height: int = 16) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    return Image.fromarray(pixels)


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def assert_near(image: Image.Image, at: tuple[int, int], colour: tuple[int, int, int], tolerance: int = 30) -> None:
    found = image.getpixel(at)
    assert np.abs(np.subtract(found, colour)).max() <= tolerance, f"{found} at {at}, expected about {colour}"


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("file_format", LOSSLESS + LOSSY)
def test_each_format_gives_its_pixels_and_its_name(file_format):
    found = decode(saved(two_halves(), file_format))
    assert (found.format, found.image.mode, found.image.size) == (file_format, "RGB", (32, 16))
    tolerance = 1 if file_format in LOSSLESS else 30
    assert_near(found.image, (3, 8), RED, tolerance)
    assert_near(found.image, (28, 8), BLUE, tolerance)


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_a_lossless_file_gives_exactly_the_saved_pixels(file_format):
    pixels = np.random.default_rng(0).integers(0, 4, (9, 7, 3), np.uint8) * 60  # few colours, so that GIF keeps them
    np.testing.assert_array_equal(np.asarray(open_rgb(saved(Image.fromarray(pixels), file_format))), pixels)


def test_bytes_path_and_text_path_give_the_same(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(saved(two_halves(), "PNG"))
    expected = np.asarray(open_rgb(path.read_bytes()))
    np.testing.assert_array_equal(np.asarray(open_rgb(path)), expected)
    np.testing.assert_array_equal(np.asarray(open_rgb(str(path))), expected)


def test_the_content_counts_and_not_the_name(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(saved(two_halves(), "PNG"))
    assert decode(path).format == "PNG"


def test_only_a_few_decoders_see_a_strangers_bytes():
    assert images._known_formats() == ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
    for file_format in ("PPM", "ICO", "EPS"):
        with pytest.raises(ImageError, match="not an image that can be read"):
            open_rgb(saved(two_halves(), file_format))


def test_one_pixel():
    assert open_rgb(saved(Image.new("RGB", (1, 1), RED), "PNG")).getpixel((0, 0)) == RED


# ---------------------------------------------------------------- kinds of pixels


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk(file_format):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    assert_near(open_rgb(saved(cmyk, file_format)), (8, 8), (255, 0, 0), 12)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(file_format):
    values = np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], np.uint16)
    found = np.asarray(open_rgb(saved(Image.fromarray(values), file_format)))
    assert found[..., 0].tolist() == [[0, 0, 1], [0x12, 0x80, 0xFF]]
    assert (found == found[..., :1]).all()


def test_sixteen_bit_grey_with_a_transparent_value_lies_on_white():
    image = to_rgb(Image.fromarray(np.array([[0x1000, 0x2000]], np.uint16)))
    assert image.getpixel((0, 0)) == (0x10,) * 3
    see_through = Image.fromarray(np.array([[0x1000, 0x2000]], np.uint16))
    see_through.info["transparency"] = 0x1000
    assert np.asarray(to_rgb(see_through))[0].tolist() == [[255] * 3, [0x20] * 3]


def test_big_endian_sixteen_bits():
    big = Image.frombytes("I;16B", (2, 1), np.array([0x1234, 0xABCD], ">u2").tobytes())
    assert np.asarray(to_rgb(big))[0, :, 0].tolist() == [0x12, 0xAB]


def test_palette_with_transparency_lies_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([0, 1])
    found = open_rgb(saved(image, "PNG", transparency=0))
    assert [found.getpixel((0, 0)), found.getpixel((1, 0))] == [(255, 255, 255), BLUE]


def test_palette_with_graded_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *BLUE])
    image.putdata([0, 1])
    found = open_rgb(saved(image, "PNG", transparency=bytes([128, 255])))
    assert_near(found, (0, 0), (127, 127, 127), 1)


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_alpha_lies_on_white(mode, colour):
    assert open_rgb(saved(Image.new(mode, (3, 3), colour), "PNG")).getpixel((1, 1)) == (255, 255, 255)


def test_rgb_png_with_a_transparent_colour_lies_on_white():
    found = open_rgb(saved(two_halves(), "PNG", transparency=RED))
    assert (found.getpixel((0, 0)), found.getpixel((31, 0))) == ((255, 255, 255), BLUE)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I;16B"]
)
def test_every_mode_of_pillow_becomes_rgb(mode):
    assert to_rgb(Image.new(mode, (4, 3))).mode == "RGB"


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_an_agreed_white_are_refused(mode):
    with pytest.raises(ImageError, match="no agreed white: save it with 8 or 16 bits"):
        open_rgb(saved(Image.new(mode, (4, 4), 1), "TIFF"))


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ImageError, match="0 x 5 pixels"):
        to_rgb(Image.new("RGB", (0, 5)))


def test_a_pillow_image_that_cannot_be_loaded_is_refused_with_our_error(tmp_path):
    path = tmp_path / "cut.png"
    path.write_bytes(saved(Image.effect_noise((64, 64), 80), "PNG")[:900])
    with Image.open(path) as lazy, pytest.raises(ImageError, match="damaged or truncated"):
        to_rgb(lazy)


# ---------------------------------------------------------------- animation, orientation, colour profiles


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(file_format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    payload = saved(frames[0], file_format, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(payload)) as animation:
        assert animation.n_frames == 2
    assert_near(open_rgb(payload), (8, 8), RED)


def test_a_multi_picture_jpeg_gives_its_first():
    payload = saved(Image.new("RGB", (16, 16), RED), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16), BLUE)])
    found = decode(payload)
    assert found.format == "MPO"
    assert_near(found.image, (8, 8), RED)


# Where the top-left corner of the stored picture must be seen, by the EXIF standard (TIFF 6.0, tag 274).
@pytest.mark.parametrize(
    ("orientation", "right", "bottom"),
    [(1, 0, 0), (2, 1, 0), (3, 1, 1), (4, 0, 1), (5, 0, 0), (6, 1, 0), (7, 1, 1), (8, 0, 1)],
)
def test_exif_orientation(orientation, right, bottom):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:4, :8] = RED
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    found = open_rgb(saved(Image.fromarray(pixels), "PNG", exif=exif))
    width, height = (16, 8) if orientation < 5 else (8, 16)
    assert found.size == (width, height)
    assert found.getpixel((right * (width - 1), bottom * (height - 1))) == RED
    assert found.getpixel(((1 - right) * (width - 1), (1 - bottom) * (height - 1))) == (0, 0, 0)


@pytest.mark.parametrize("body", [b"garbage", b"II*\0\xff\xff\xff\xff", b"", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 9])
def test_broken_exif_leaves_the_pixels_as_they_are(body):
    assert_near(open_rgb(saved(two_halves(), "JPEG", exif=b"Exif\0\0" + body)), (3, 8), RED)


def test_an_unknown_orientation_leaves_the_pixels_as_they_are():
    exif = Image.Exif()
    exif[ORIENTATION] = 99
    assert open_rgb(saved(two_halves(), "PNG", exif=exif)).size == (32, 16)


def test_a_pillow_image_is_turned_upright_like_its_file():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    payload = saved(two_halves(), "PNG", exif=exif)
    with Image.open(io.BytesIO(payload)) as opened:
        np.testing.assert_array_equal(np.asarray(to_rgb(opened)), np.asarray(open_rgb(payload)))


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries are exchanged, so that using it shows."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    return profile.replace("sRGB".encode("utf-16-be"), "odd.".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_applied(mode):
    found = open_rgb(saved(two_halves().convert(mode), "PNG", icc_profile=swapped_profile()))
    assert_near(found, (3, 8), BLUE, 12)
    assert_near(found, (28, 8), RED, 12)


def test_a_colour_profile_is_applied_once_even_if_the_answer_comes_back():
    once = open_rgb(saved(two_halves(), "PNG", icc_profile=swapped_profile()))
    np.testing.assert_array_equal(np.asarray(to_rgb(once)), np.asarray(once))


def test_an_srgb_profile_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = open_rgb(saved(two_halves(), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(two_halves()))


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 128])
def test_a_broken_profile_is_ignored(profile):
    found = open_rgb(saved(two_halves(), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(two_halves()))
