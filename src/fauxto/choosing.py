"""Answers of the bundled detectors, each image by the one that is for its size: what ``fauxto check`` does without --detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

from fauxto import bundled
from fauxto.detector import Detector
from fauxto.errors import ImageError
from fauxto.images import ImageLike, to_pixels
from fauxto.vocabulary import Prediction

Answered = tuple[Detector, Prediction | ImageError]


def load_by_size(where: str | None = None, operating_point: str = "") -> dict[str, Detector]:
    """Return what answers images: the named detector alone; without a name the bundled one, or both where two are bundled.

    Args:
        where: As for ``Detector.load``.
        operating_point: As for ``Detector.at``; "" for none.

    Raises:
        DetectorError: Nothing is there, or it is damaged.
        UsageError: One of the cards lacks the operating point.
    """
    names = (bundled.DEFAULT, bundled.GENERAL) if where is None and bundled.by_size() else (where,)
    loaded = [(name or bundled.DEFAULT, Detector.load(name)) for name in names]
    return {name: one.at(operating_point) if operating_point else one for name, one in loaded}


def predict_by_size(images: Iterable[ImageLike], detectors: dict[str, Detector]) -> Iterator[Answered]:
    """Yield, in order, each image's detector and what it says, or why there is no answer.

    Args:
        images: As for ``Detector.predict``; read as they are needed.
        detectors: As ``load_by_size`` returns them; a single one answers everything.
    """
    first = next(iter(detectors.values()))
    if len(detectors) == 1:
        yield from ((first, answer) for answer in first.predict_each(images))
        return
    for name, run in groupby(map(_read, images), key=_name_for):
        if name is None:
            yield from ((first, error) for error in run if isinstance(error, ImageError))
        else:
            yield from ((detectors[name], answer) for answer in detectors[name].predict_each(_readable(run)))


def _read(image: ImageLike) -> np.ndarray | ImageError:
    try:
        return to_pixels(image)
    except ImageError as error:
        return error


def _readable(run: Iterable[np.ndarray | ImageError]) -> Iterator[np.ndarray]:
    return (each for each in run if not isinstance(each, ImageError))


def _name_for(pixels: np.ndarray | ImageError) -> str | None:
    return None if isinstance(pixels, ImageError) else bundled.name_for(*pixels.shape[:2])
