"""Scope: for which images a detector may answer, by their size and by how familiar a few simple statistics of them are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fauxto.errors import DetectorError, ScoreError
from fauxto.perturb import training_perturbed
from fauxto.vocabulary import Kind, Reason

NAMES = (
    "brightness", "contrast", "chroma", "horizontal_detail", "vertical_detail", "diagonal_detail", "medium_detail",
    "coarse_detail", "chroma_detail", "clipped", "peakedness", "blockiness",
)  # fmt: skip
MIN_SIZE = 16  # in pixels; a smaller square has no three scales and no border between blocks
NEEDED = 1000  # validation images; the limit is their 99.9 % quantile
QUANTILE = 0.999

_FLOOR = 0.1  # squared grey levels: below the rounding of a pixel, so that a flat image has a logarithm, and a low one
_RIDGE = 1e-3
_PIXELS_AT_ONCE = 512 * 1024
_MAX_NUMBER, _MAX_REENCODINGS = 1e9, 4  # a card from a stranger must not make us overflow, or work without end
_REENCODING = re.compile(r"(jpeg|webp)-([1-9]\d?|100)")


@dataclass(frozen=True)
class Scope:
    """What a card says of the images that its detector may answer for.

    Attributes:
        min_side: Shortest side, in pixels.
        max_side: Longest side, in pixels.
        statistics: As ``fit_statistics`` returns them; None leaves this rule out.
        stable_under: Re-encodings under which a verdict must not flip, as in ``perturb``.
    """

    min_side: float
    max_side: float
    statistics: Mapping[str, Any] | None = None
    stable_under: tuple[str, ...] = ()

    @staticmethod
    def from_card(values: Mapping[str, Any], *, size: int) -> Scope:
        """Read the scope as a card holds it.

        Args:
            values: The card's "scope".
            size: Side of the network's input square, in pixels.

        Raises:
            DetectorError: A value is missing or impossible.

        Example:
            >>> Scope.from_card({"min_side": 16, "max_side": 64}, size=32).size_reason(40, 65).text
            'the image has 65 x 40 pixels, this detector was trained for 16 to 64 a side'
        """
        try:
            sides = float(values["min_side"]), float(values["max_side"])
            scope = Scope(*sides, values.get("statistics"), tuple(values.get("stable_under", ())))
            is_sound = 0 <= scope.min_side <= scope.max_side and _are_reencodings(scope.stable_under)
            if scope.statistics is not None:
                is_sound = is_sound and size >= MIN_SIZE and _are_sound(scope.statistics)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DetectorError(f"the card's scope lacks a value ({error!r}): export the detector again") from error
        if not is_sound:
            raise DetectorError(
                "the card's scope holds an impossible value, or one that this version of fauxto does not know: "
                "use the fauxto that made it, or export the detector again"
            )
        return scope

    def size_reason(self, height: int, width: int) -> Reason | None:
        """Return why an image of this size is out of scope, or None."""
        if self.min_side <= min(height, width) and max(height, width) <= self.max_side:
            return None
        trained_for = f"{self.min_side:g} to {self.max_side:g} a side"
        text = f"the image has {width} x {height} pixels, this detector was trained for {trained_for}"
        return Reason(Kind.SIZE, text)

    def unfamiliar_reasons(self, squares: np.ndarray) -> list[Reason | None]:
        """Return for each of the network's squares, uint8 (n, h, w, 3), why it is out of scope, or None."""
        if self.statistics is None:
            return [None] * len(squares)
        limit = float(self.statistics["limit"])
        return [None if far <= limit else _unfamiliar(far, limit) for far in distance(squares, self.statistics).tolist()]


def fit_statistics(
    train_images: np.ndarray, validation_images: np.ndarray, *, perturbed: bool = True, seed: int = 0
) -> dict[str, Any]:
    """Return what ``distance`` needs, and the limit beyond which an image is unfamiliar, as plain values for a card.

    The training images give mean and covariance. The limit is the 99.9 % quantile of the distances of validation images, so that
    about one in a thousand images like them is turned away. Where training perturbs its images, what its perturbations make of
    the validation images counts as much as these, so that it is not unfamiliar either.

    Args:
        train_images: uint8, shape (n, h, w, 3), the network's squares, at least 1,000.
        validation_images: uint8, same.
        perturbed: Whether training perturbs its images.
        seed: Of the perturbations.

    Raises:
        ScoreError: Too few images, or see ``statistics_of``.
    """
    if len(validation_images) < NEEDED or len(train_images) < NEEDED:
        raise ScoreError(
            f"need {NEEDED:,} training and {NEEDED:,} validation images for a limit that one in a thousand exceeds, "
            f"got {len(train_images):,} and {len(validation_images):,}: leave the statistics out"
        )
    judging = validation_images
    if perturbed:
        judging = np.concatenate([judging, training_perturbed(judging, np.random.default_rng(seed), share=1.0)])
    familiar = statistics_of(train_images)
    covariance = np.cov(familiar.T)
    ridge = max(_RIDGE * float(np.trace(covariance)) / len(NAMES), _RIDGE**2) * np.eye(len(NAMES))
    # Cholesky's factor whitens: the distance is then a plain length, which cannot come out negative as with a precision.
    whitening = np.linalg.inv(np.linalg.cholesky(covariance + ridge))
    mean = familiar.mean(axis=0)
    limit = float(np.quantile(_lengths(statistics_of(judging), mean, whitening), QUANTILE))
    return {"names": list(NAMES), "mean": mean.tolist(), "whitening": whitening.tolist(), "limit": limit}


def distance(images: np.ndarray, statistics: Mapping[str, Any]) -> np.ndarray:
    """Return how far images are from the familiar ones: float64, shape (n,), Mahalanobis' distance (1936) of their statistics.

    Args:
        images: uint8, shape (n, h, w, 3), the network's squares.
        statistics: As ``fit_statistics`` returns them.

    Raises:
        ScoreError: See ``statistics_of``.
    """
    mean, whitening = (np.asarray(statistics[key], np.float64) for key in ("mean", "whitening"))
    return _lengths(statistics_of(images), mean, whitening)


def statistics_of(images: np.ndarray) -> np.ndarray:
    """Return the statistics that are named in ``NAMES``: float64, shape (n, 12).

    brightness: mean luma in [0, 1]. contrast, chroma: log variance of luma, log energy of the colour differences.
    horizontal_detail, vertical_detail: log energy of neighbour differences. diagonal_detail, medium_detail, coarse_detail: log
    energy of Haar's details (1910) at scale 1 (diagonal only), 2 and 3; chroma_detail: of the colour differences at scale 1.
    clipped: root of the share of samples at 0 or 255. peakedness: log kurtosis of the horizontal differences, high where edges
    are few and hard. blockiness: log ratio of the steps across the borders of 8x8 blocks (JPEG's) to all others.

    Args:
        images: uint8, shape (n, h, w, 3), at least 16 pixels a side.

    Raises:
        ScoreError: Another type or shape, or images that are too small.

    Example:
        >>> statistics_of(np.full((1, 16, 16, 3), 51, np.uint8))[0, [0, 9]].round(6).tolist()
        [0.2, 0.0]
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < MIN_SIZE:
        raise ScoreError(
            f"expected uint8 images of shape (n, h, w, 3), at least {MIN_SIZE} pixels a side, got {images.dtype} {images.shape}"
        )
    found = np.empty((len(images), len(NAMES)))
    n_at_once = max(1, _PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), n_at_once):
        found[start : start + n_at_once] = _statistics(images[start : start + n_at_once])
    return found


def _unfamiliar(far: float, limit: float) -> Reason:
    differs = f"its statistics are {far:.3g} away from theirs, the limit is {limit:.3g}"
    return Reason(Kind.UNFAMILIAR, f"the image is unlike those this detector was trained on: {differs}")


def _statistics(images: np.ndarray) -> np.ndarray:
    red, green, blue = (images[..., channel].astype(np.float32) for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # Rec. 601, as in JPEG
    colour = blue - luma, red - luma
    brightness = luma.mean(axis=(1, 2))
    across, down = np.diff(luma, axis=2), np.diff(luma, axis=1)
    half, *fine = _haar(luma)
    quarter, *medium = _haar(half)
    _, *coarse = _haar(quarter)
    of_colour = [detail for plane in colour for detail in _haar(plane)[1:]]
    clipped = ((images == 0) | (images == 255)).mean(axis=(1, 2, 3))
    columns = (
        brightness / 255, _log_energy(luma - brightness[:, None, None]), _log_energy(*colour),
        _log_energy(across), _log_energy(down), _log_energy(fine[2]), _log_energy(*medium), _log_energy(*coarse),
        _log_energy(*of_colour), np.sqrt(clipped), _peakedness(across), _blockiness(across, down),
    )  # fmt: skip
    return np.stack(columns, axis=1)


def _haar(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return means and horizontal, vertical and diagonal details of 2x2 cells; an odd last row or column is left out."""
    height, width = plane.shape[1] // 2 * 2, plane.shape[2] // 2 * 2
    a, b = plane[:, :height:2, :width:2], plane[:, :height:2, 1:width:2]
    c, d = plane[:, 1:height:2, :width:2], plane[:, 1:height:2, 1:width:2]
    return (a + b + c + d) / 4, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2


def _log_energy(*planes: np.ndarray) -> np.ndarray:
    energy: np.ndarray = np.log(sum(np.square(plane).mean(axis=(1, 2)) for plane in planes) + _FLOOR)
    return energy


def _peakedness(across: np.ndarray) -> np.ndarray:
    squared = np.square(across)
    fourth, second = np.square(squared).mean(axis=(1, 2)), squared.mean(axis=(1, 2))
    log_kurtosis: np.ndarray = np.log((fourth + _FLOOR) / (np.square(second) + _FLOOR))
    return log_kurtosis


def _blockiness(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    steps = np.abs(across).mean(axis=1), np.abs(down).mean(axis=2)
    is_border = [np.arange(1, each.shape[1] + 1) % 8 == 0 for each in steps]
    on, off = (sum(each[:, at].mean(axis=1) for each, at in zip(steps, where, strict=True))
               for where in (is_border, [~at for at in is_border]))  # fmt: skip
    log_ratio: np.ndarray = np.log((on + _FLOOR) / (off + _FLOOR))
    return log_ratio


def _lengths(found: np.ndarray, mean: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm((found - mean) @ whitening.T, axis=1)
    return lengths


def _are_reencodings(names: tuple[Any, ...]) -> bool:
    """Only re-encodings: noise would make an image's answer depend on its place among the others."""
    return len(names) <= _MAX_REENCODINGS and all(isinstance(name, str) and _REENCODING.fullmatch(name) for name in names)


def _are_sound(statistics: Mapping[str, Any]) -> bool:
    if tuple(statistics["names"]) != NAMES:
        return False
    mean, whitening = (np.asarray(statistics[key], np.float64) for key in ("mean", "whitening"))
    fit = mean.shape == (len(NAMES),) and whitening.shape == (len(NAMES), len(NAMES))
    numbers = np.concatenate([mean.ravel(), whitening.ravel()])
    return fit and bool((np.abs(numbers) <= _MAX_NUMBER).all()) and 0 < float(statistics["limit"]) <= _MAX_NUMBER
