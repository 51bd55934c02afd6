"""From an RGB image to the network's input: without PyTorch, so that training and serving share one code path."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from fauxto.errors import DetectorError
from fauxto.perturb import perturbed

# 98 % of lossless CIFAR-10 images change by 4.2 to 14.1 levels, nearly all with noise of sigma 0.08 by more (docs/LOG.md).
RECODE_LIMIT = 15.0
_RECODED = (("recode_from", 0.0), ("recode_limit", RECODE_LIMIT))  # what a card says that does not speak of them
MAX_SIZE = 4096  # a card from a stranger must not make us allocate without end
Fit = Literal["resize", "centre"]


@dataclass(frozen=True)
class PreprocessSpec:
    """How pixels become numbers.

    Attributes:
        size: Side of the square that goes into the network, in pixels.
        mean: Subtracted per channel, on a scale of [0, 1].
        std: Divided by per channel, on a scale of [0, 1].
        recode: JPEG quality (4:2:0) at which an image is saved before the network sees it, as its training images were: then an
            image that was never compressed shows it nothing that they did not. 0 leaves images as they are.
        recode_from: An image that this would change by less is left as it is: it was saved like that already, and every
            further save only loses. Root mean square in levels of 255.
        recode_limit: An image that this would change by more, in the same measure, is left as it is too: what would be lost in
            strong noise is more than what would be matched.
        mirrored: Whether a detector whose first answer is not certain asks about the mirror image too, and answers with the mean.
        fit: How an image becomes a square: "resize" squeezes all of it in; "centre" takes the middle at its own pixels, so that
            no trace in them is lost, and of an image that is too small its largest square, enlarged.
    """

    size: int = 32
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    recode: int = 0
    recode_limit: float = RECODE_LIMIT
    mirrored: bool = False
    recode_from: float = 0.0
    fit: Fit = "resize"

    @staticmethod
    def from_dict(values: dict[str, object]) -> PreprocessSpec:
        """Read the spec as a card holds it.

        Raises:
            DetectorError: A value is missing, of the wrong kind or without sense.

        Example:
            >>> PreprocessSpec.from_dict({"size": 32, "mean": [0, 0, 0], "std": [1, 1, 1]}).std
            (1.0, 1.0, 1.0)
        """
        try:
            mean, std = (tuple(float(v) for v in values[key]) for key in ("mean", "std"))  # type: ignore[attr-defined]
            size, recode = values["size"], values.get("recode", 0)
            mirrored, fit = values.get("mirrored", False), values.get("fit", "resize")
            least, limit = (float(values.get(key, default)) for key, default in _RECODED)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DetectorError(f"the card's preprocessing cannot be read ({error!r}): export the detector again") from error
        is_square = type(size) is int and 1 <= size <= MAX_SIZE
        is_scale = len(mean) == len(std) == 3 and np.isfinite([*mean, *std]).all() and min(std) > 0
        is_codec = type(recode) is int and 0 <= recode <= 100 and 0 <= least <= 255 and 0 <= limit <= 255
        if not (is_square and is_scale and is_codec and isinstance(mirrored, bool) and fit in get_args(Fit)):
            raise DetectorError(f"the card's preprocessing makes no sense ({values}): export the detector again")
        return PreprocessSpec(size, mean, std, recode, limit, mirrored, least, fit)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def fit_square(image: np.ndarray, *, size: int, fit: Fit = "resize") -> np.ndarray:
    """Return an image as (size, size, 3): untouched if it fits; else what ``PreprocessSpec.fit`` says, resized with antialiasing.

    Args:
        image: uint8, shape (h, w, 3).
        size: Side of the result in pixels.
        fit: "resize" squeezes the whole image in, "centre" takes its middle at native pixels.

    Example:
        >>> fit_square(np.full((6, 9, 3), 7, np.uint8), size=2)[..., 0].tolist()
        [[7, 7], [7, 7]]
        >>> fit_square(np.arange(15, dtype=np.uint8).reshape(1, 5, 3), size=1, fit="centre").tolist()
        [[[6, 7, 8]]]
    """
    if fit == "centre":
        image = cut_square(image, at=(0.5, 0.5), size=size)
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def cut_square(image: np.ndarray, *, at: tuple[float, float], size: int) -> np.ndarray:
    """Return a square of so many pixels, or the largest that there is, from somewhere between the corners (0, 0) and (1, 1).

    Example:
        >>> cut_square(np.arange(4).reshape(2, 2, 1), at=(0, 1), size=1).ravel().tolist()
        [1]
    """
    height, width = image.shape[:2]
    side = min(height, width, size)
    top, left = round(at[0] * (height - side)), round(at[1] * (width - side))
    return image[top : top + side, left : left + side]


def to_network_input(images: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """Return a batch as the network wants it: ``normalised(recoded(images))``.

    Args:
        images: uint8, shape (n, size, size, 3).
        spec: What the network was trained with.

    Returns:
        float32, shape (n, 3, size, size).

    Example:
        >>> to_network_input(np.full((1, 1, 1, 3), 255, np.uint8), PreprocessSpec(size=1)).ravel().tolist()
        [1.0, 1.0, 1.0]
    """
    return normalised(recoded(images, spec), spec)


def recoded(images: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """Return a batch as JPEG files of the spec's quality would show it; what they would change too little or too much stays.

    Args:
        images: uint8, shape (n, h, w, 3).
        spec: What the network was trained with.

    Returns:
        uint8, same shape.

    Example:
        >>> grey = np.full((1, 8, 8, 3), 100, np.uint8)
        >>> bool((recoded(grey, PreprocessSpec(recode=75)) == grey).all())
        True
    """
    if not spec.recode:
        return images
    saved = perturbed(images, f"jpeg-{spec.recode}")
    change = (saved.astype(np.float32) - images) ** 2
    change = change.mean(axis=(1, 2, 3))
    is_shown = (change >= spec.recode_from**2) & (change <= spec.recode_limit**2)
    return np.where(is_shown[:, None, None, None], saved, images)


def normalised(images: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """Return a batch as numbers about 0.

    Args:
        images: uint8, shape (n, h, w, 3).
        spec: What the network was trained with.

    Returns:
        float32, shape (n, 3, h, w).
    """
    scale = (1 / (255 * np.asarray(spec.std))).astype(np.float32).reshape(3, 1, 1)
    shift = (-np.asarray(spec.mean) / np.asarray(spec.std)).astype(np.float32).reshape(3, 1, 1)
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    numbers: np.ndarray = planes * scale + shift
    return numbers
