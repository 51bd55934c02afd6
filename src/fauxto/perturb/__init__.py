"""What happens to images on their way: JPEG, WebP, blur, noise, resize, crop, colour; pure, seeded, named severities."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from fauxto.config import nearest
from fauxto.errors import ConfigError, UsageError

# What reports measure. The last two are what a messenger does: it shrinks, then compresses.
STANDARD: tuple[str, ...] = (
    "jpeg-95", "jpeg-85", "jpeg-75", "jpeg-60", "jpeg-40", "jpeg-30",
    "webp-80", "webp-50", "resize-0.5", "resize-0.75", "resize-2",
    "blur-0.4", "blur-0.6", "blur-0.8", "blur-1.0", "blur-1.5",
    "noise-0.02", "noise-0.05", "noise-0.1", "crop-0.9", "crop-0.75",
    "brightness-0.8", "brightness-1.25", "contrast-0.8", "contrast-1.25",
    "resize-0.5+jpeg-70", "resize-0.75+jpeg-80",
)  # fmt: skip

# What training draws from: weight, kind, lowest and highest severity, how it is drawn (evenly, evenly in its logarithm, whole).
Policy = tuple[tuple[float, str, float, float, str], ...]
TRAINING: Policy = (
    (0.28, "jpeg", 30, 95, "whole"),
    (0.10, "jpeg444", 30, 95, "whole"),
    (0.08, "blur", 0.3, 1.1, "even"),
    (0.33, "noise", 0.01, 0.13, "even"),
    (0.04, "resize_any", 0.5, 0.95, "even"),
    (0.04, "resize_any", 1.2, 2.0, "even"),
    (0.05, "webp_fast", 40, 95, "whole"),
    (0.03, "crop_any", 0.75, 0.97, "even"),
    (0.02, "brightness", 0.8, 1.25, "log"),
    (0.02, "contrast", 0.8, 1.25, "log"),
    (0.01, "saturation", 0.8, 1.25, "log"),
)
# Images often go through two hands, and the last one mostly writes a JPEG.
TRAINING_AGAIN: Policy = (
    (0.42, "jpeg", 30, 95, "whole"),
    (0.18, "jpeg444", 30, 95, "whole"),
    (0.10, "blur", 0.3, 1.1, "even"),
    (0.30, "noise", 0.02, 0.13, "log"),
)
AGAIN_SHARE = 0.15  # of the perturbed images get a second one

KERNELS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
_PIXELS_AT_ONCE = 2**18  # keeps the float copies of a large set in the cache, and out of swap

RngOf = Callable[[int], np.random.Generator]  # position of an image -> where its randomness comes from
Apply = Callable[[np.ndarray, np.ndarray, RngOf], np.ndarray]  # uint8 (n, h, w, 3), severities (n,) -> uint8 (n, h, w, 3)


def perturbed(images: np.ndarray, name: str, *, seed: int = 0, first: int = 0) -> np.ndarray:
    """Return images as they look after a named perturbation.

    The result of image i depends on its pixels, ``name``, ``seed`` and ``first + i`` only, not on the images beside it.

    Args:
        images: uint8, shape (n, h, w, 3), any h and w from 1.
        name: Kind and severity such as "jpeg-40" or "blur-0.6", or several joined with "+", applied from left to right.
        seed: At least 0; decides the noise and, for the kinds in "_any", kernel and place. The others have no randomness.
        first: Position of the first image in a set that is perturbed in parts, at least 0.

    Returns:
        uint8, shape (n, h, w, 3); a new array.

    Raises:
        ConfigError: The kind is unknown, or the severity, the seed or the position impossible.
        UsageError: The images are not a batch of 8-bit RGB images, or too large for the codec.

    Example:
        >>> grey = np.full((1, 2, 2, 3), 100, np.uint8)
        >>> perturbed(grey, "brightness-1.2+jpeg-90").ravel().tolist()
        [120, 120, 120, 120, 120, 120, 120, 120, 120, 120, 120, 120]
    """
    todo = steps(name)
    _check_images(images)
    if type(seed) is not int or type(first) is not int or min(seed, first) < 0:
        raise ConfigError(f"seed and first position must be whole numbers of at least 0, got {seed!r} and {first!r}")
    result = np.array(images, order="C")
    at_once = max(1, _PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), at_once):
        part = result[start : start + at_once]
        for position, (kind, severity) in enumerate(todo):
            part[:] = KINDS[kind][0](part, np.full(len(part), severity), _seeded(seed, name, position, first + start))
    return result


def training_perturbed(images: np.ndarray, rng: np.random.Generator, *, share: float) -> np.ndarray:
    """Return images of which some went through one or two perturbations, drawn from ``TRAINING`` and ``TRAINING_AGAIN``.

    Args:
        images: uint8, shape (n, h, w, 3).
        rng: Decides everything that is drawn; its state moves on.
        share: Probability of an image to be perturbed, in [0, 1].

    Returns:
        uint8, shape (n, h, w, 3); a new array.

    Raises:
        ConfigError: The share is outside [0, 1].
        UsageError: As ``perturbed``.

    Example:
        >>> images = np.full((8, 4, 4, 3), 100, np.uint8)
        >>> bool((training_perturbed(images, np.random.default_rng(0), share=0.0) == images).all())
        True
    """
    _check_images(images)
    if not 0 <= share <= 1:
        raise ConfigError(f"the share of perturbed images must be at least 0 and at most 1, got {share!r}")
    result = np.array(images, order="C")
    once = rng.random(len(images)) < share
    twice = once & (rng.random(len(images)) < AGAIN_SHARE)
    _perturb_drawn(result, np.flatnonzero(once), TRAINING, rng)
    _perturb_drawn(result, np.flatnonzero(twice), TRAINING_AGAIN, rng)
    return result


def steps(name: str) -> list[tuple[str, float]]:
    """Return what a perturbation's name says: kinds and severities in order.

    Raises:
        ConfigError: A kind is unknown or a severity impossible; the text says what is possible.

    Example:
        >>> steps("resize-0.5+jpeg-70")
        [('resize', 0.5), ('jpeg', 70)]
    """
    return [_step(text) for text in name.split("+")]


def _step(text: str) -> tuple[str, float]:
    kind, _, number = text.partition("-")
    if kind not in KINDS:
        raise ConfigError(f"no perturbation is called {kind!r}{nearest(kind, KINDS)}")
    _, low, high, number_type = KINDS[kind]
    try:
        severity = number_type(number)
    except ValueError:
        severity = float("nan")
    if not low <= severity <= high:  # NaN is refused too
        what = "a whole number" if number_type is int else "a number"
        raise ConfigError(f"{text!r} is not possible: write '{kind}-' and {what} from {low:g} to {high:g}")
    return kind, severity


def _check_images(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
        came = f"{images.dtype} of shape {images.shape}"
        raise UsageError(f"expected images as uint8 of shape (n, h, w, 3), got {came}: convert to 8-bit RGB and stack them")


def _seeded(seed: int, name: str, position: int, start: int) -> RngOf:
    # crc32 and not hash(): Python salts the latter anew in each process.
    return lambda i: np.random.default_rng([seed, zlib.crc32(name.encode()), position, start + i])


def _perturb_drawn(images: np.ndarray, chosen: np.ndarray, policy: Policy, rng: np.random.Generator) -> None:
    """Perturb the chosen images where they are; those of one kind go together, which is what makes it fast."""
    weights = np.array([row[0] for row in policy])
    drawn = rng.choice(len(policy), len(chosen), p=weights / weights.sum())
    for number, (_, kind, low, high, spacing) in enumerate(policy):
        members = chosen[drawn == number]
        if members.size:
            severities = _drawn(low, high, spacing, members.size, rng)
            images[members] = KINDS[kind][0](images[members], severities, lambda _: rng)


def _drawn(low: float, high: float, spacing: str, size: int, rng: np.random.Generator) -> np.ndarray:
    if spacing == "whole":
        return rng.integers(int(low), int(high) + 1, size)
    return np.exp(rng.uniform(np.log(low), np.log(high), size)) if spacing == "log" else rng.uniform(low, high, size)


def _recoded(images: np.ndarray, qualities: np.ndarray, _: RngOf, *, codec: str, **options: int) -> np.ndarray:
    largest = 16_383 if codec == "WEBP" else 65_500  # what the formats can hold
    if max(images.shape[1:3]) > largest:
        raise UsageError(f"{codec} holds at most {largest:,} pixels a side, got {max(images.shape[1:3]):,}: shrink the image")
    result = np.empty_like(images)
    for i, quality in enumerate(qualities):
        stream = io.BytesIO()
        Image.fromarray(images[i]).save(stream, codec, quality=int(quality), **options)
        with Image.open(stream, formats=[codec]) as decoded:
            result[i] = np.asarray(decoded)
    return result


def _blur(images: np.ndarray, sigmas: np.ndarray, _: RngOf) -> np.ndarray:
    """Blur with Gaussians cut at 4 sigma, the border mirrored with its pixel repeated: scipy.ndimage's definition."""
    radii = np.floor(4 * sigmas + 0.5)
    radius = int(radii.max())
    taps = np.arange(-radius, radius + 1)
    # Each image keeps its own radius, so that its result does not depend on a stronger blur beside it.
    weights = np.exp(-(taps**2) / (2 * sigmas[:, None] ** 2)) * (np.abs(taps) <= radii[:, None])
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return _rounded(_filtered(_filtered(images.astype(np.float32), weights, axis=1), weights, axis=2))


def _filtered(pixels: np.ndarray, weights: np.ndarray, *, axis: int) -> np.ndarray:
    size, n_taps = pixels.shape[axis], weights.shape[1]
    # Mirrored by index, because the border may be many times wider than the image.
    index = np.arange(-(n_taps // 2), size + n_taps // 2) % (2 * size)
    wide = pixels.take(np.minimum(index, 2 * size - 1 - index), axis=axis)
    result = np.zeros_like(pixels)
    for tap in range(n_taps):
        part = wide[:, tap : tap + size] if axis == 1 else wide[:, :, tap : tap + size]
        result += part * weights[:, tap, None, None, None]
    return result


def _noise(images: np.ndarray, deviations: np.ndarray, rng_of: RngOf) -> np.ndarray:
    noise = np.empty(images.shape, np.float32)
    for i in range(len(images)):
        rng_of(i).standard_normal(dtype=np.float32, out=noise[i])
    noise *= (255 * deviations[:, None, None, None]).astype(np.float32)
    noise += images
    return _rounded(noise)


def _resize(images: np.ndarray, factors: np.ndarray, rng_of: RngOf, *, at_random: bool = False) -> np.ndarray:
    result, (height, width) = np.empty_like(images), images.shape[1:3]
    for i, factor in enumerate(factors):
        kernel = KERNELS[rng_of(i).integers(3)] if at_random else Image.Resampling.BICUBIC
        other = _scaled(width, factor), _scaled(height, factor)
        result[i] = np.asarray(Image.fromarray(images[i]).resize(other, kernel).resize((width, height), kernel))
    return result


def _crop(images: np.ndarray, factors: np.ndarray, rng_of: RngOf, *, at_random: bool = False) -> np.ndarray:
    result, (height, width) = np.empty_like(images), images.shape[1:3]
    for i, factor in enumerate(factors):
        rows, columns = _scaled(height, factor), _scaled(width, factor)
        top, left, kernel = (height - rows) // 2, (width - columns) // 2, Image.Resampling.BICUBIC
        if at_random:
            draws = rng_of(i).integers((height - rows + 1, width - columns + 1, len(KERNELS)))
            top, left, kernel = int(draws[0]), int(draws[1]), KERNELS[draws[2]]
        # Cut first: resize(box=...) would let the kernel look over the edge of the crop.
        cut = Image.fromarray(images[i, top : top + rows, left : left + columns])
        result[i] = np.asarray(cut.resize((width, height), kernel))
    return result


def _scaled(side: int, factor: float) -> int:
    return max(1, round(side * factor))


def _brightness(images: np.ndarray, factors: np.ndarray, _: RngOf) -> np.ndarray:
    return _enhanced(images, np.zeros((1, 1, 1, 1), np.float32), factors)


def _contrast(images: np.ndarray, factors: np.ndarray, _: RngOf) -> np.ndarray:
    means = np.floor(_grey(images).mean(axis=(1, 2), keepdims=True, dtype=np.float64) + 0.5)
    return _enhanced(images, means.astype(np.float32), factors)


def _saturation(images: np.ndarray, factors: np.ndarray, _: RngOf) -> np.ndarray:
    return _enhanced(images, _grey(images).astype(np.float32), factors)


def _grey(images: np.ndarray) -> np.ndarray:
    """Return luma by ITU-R 601-2 in Pillow's own fixed-point arithmetic, int32, shape (n, h, w, 1)."""
    red, green, blue = np.split(images.astype(np.int32), 3, axis=3)
    luma: np.ndarray = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16
    return luma


def _enhanced(images: np.ndarray, dull: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Move away from the dull version (factor 0) to beyond the image (factor 1), as Pillow's ImageEnhance does."""
    bright = dull + factors[:, None, None, None].astype(np.float32) * (images - dull)
    result: np.ndarray = bright.clip(0, 255).astype(np.uint8)  # cut off, not rounded: so does Pillow
    return result


def _rounded(pixels: np.ndarray) -> np.ndarray:
    np.rint(pixels, out=pixels)
    return pixels.clip(0, 255).astype(np.uint8)


# Kind -> what does it, lowest and highest severity, and the severity's type.
KINDS: dict[str, tuple[Apply, float, float, type[int] | type[float]]] = {
    "jpeg": (partial(_recoded, codec="JPEG", subsampling=2), 1, 100, int),  # 4:2:0, the default of nearly every program
    "jpeg444": (partial(_recoded, codec="JPEG", subsampling=0), 1, 100, int),
    "webp": (partial(_recoded, codec="WEBP", method=4), 1, 100, int),
    "webp_fast": (partial(_recoded, codec="WEBP", method=0), 1, 100, int),
    "blur": (_blur, 0.1, 20, float),
    "noise": (_noise, 0, 1, float),
    "resize": (_resize, 0.05, 4, float),
    "resize_any": (partial(_resize, at_random=True), 0.05, 4, float),
    "crop": (_crop, 0.05, 1, float),
    "crop_any": (partial(_crop, at_random=True), 0.05, 1, float),
    "brightness": (_brightness, 0, 4, float),
    "contrast": (_contrast, 0, 4, float),
    "saturation": (_saturation, 0, 4, float),
}
