"""The user's own images as a sample for calibration: from a store with labels, or from a plain folder without."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fauxto.checkpoint import trainings
from fauxto.data.decoding import pixel_digest
from fauxto.data.splits import fingerprint
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.errors import DataError, ImageError, UsageError
from fauxto.images import SUFFIXES, to_pixels
from fauxto.recalibration import Sample


def labelled_sample(detector: Detector, store: Store, *, data: str = "") -> Sample:
    """Return the images of a store that may calibrate a detector: none of a test part, none that it was trained on.

    Raises:
        UsageError: The detector was trained on these data, or all of them are a test part.
    """
    _check_foreign(detector, store)
    members = np.flatnonzero(store.split != "test")
    if not len(members):
        raise UsageError("all of these images are marked as a test part, which must choose nothing: calibrate on others")
    logit = detector.logits(store.image(at) for at in members.tolist())
    hashes = tuple(each.decode("ascii") for each in store.pixel_hash[members].tolist())
    return Sample(logit.astype(np.float64), store.is_fake[members], hashes, data)


def unlabelled_sample(detector: Detector, folder: Path, *, skip_broken: bool = False) -> Sample:
    """Return all images below a folder; nobody says which are fake.

    Raises:
        DataError: There is no image, or one cannot be read and ``skip_broken`` is False.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}): name a folder with images")
    logits, hashes = [], []
    for path in paths:
        try:
            pixels = to_pixels(path)
        except ImageError as error:
            if not skip_broken:
                raise DataError(f"{path} cannot be read ({error}): remove it, or pass --skip-broken") from error
            continue
        hashes.append(pixel_digest(pixels))
        logits.append(float(detector.logits([pixels])[0]))
    if not logits:
        raise DataError(f"none of the {len(paths)} images in {folder} can be read: give others")
    return Sample(np.array(logits), None, tuple(hashes), folder.name)


def _check_foreign(detector: Detector, store: Store) -> None:
    told = list(trainings(detector.card))
    pixels = fingerprint(store, np.arange(len(store)))
    if any(about.get("store") == store.folder.name or about.get("pixels") == pixels for about in told):
        raise UsageError(
            "these are the data that the detector was trained on, and its calibration comes from their validation part already: "
            "give images of your own"
        )
