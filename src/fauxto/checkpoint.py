"""weights.safetensors + card.json, written whole and checked on reading; no pickle, ever."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fauxto.errors import DetectorError, missing_extra
from fauxto.runs import sha256_of, write_json, write_whole

CARD = "card.json"
MODEL = "model.onnx"
TILES_MODEL = "tiles.onnx"  # where the card's "tiles" names it: what is asked about tiles
WEIGHTS = "weights.safetensors"
CARD_FORMAT = 1
# How a detector comes from another: the key under which its card says so -> the option that does it.
LINES = {"begun_from": "--init", "taught_by": "--teacher"}
MAX_CARD_BYTES = 4 * 1024 * 1024


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray], *, about: Mapping[str, Any] | None = None) -> None:
    """Write arrays, and JSON beside them in the header, whole or not at all.

    Raises:
        DiskFullError: There was no room; what stood there before still does.
    """
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise missing_extra("train", "safetensors") from error
    plain = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    metadata = {"about": json.dumps(about)} if about is not None else None
    write_whole(path, lambda part: save_file(plain, part, metadata=metadata))


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what ``save_tensors`` wrote.

    Raises:
        DetectorError: The file is missing or damaged.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise missing_extra("train", "safetensors") from error
    try:
        with safe_open(path, framework="numpy") as stored:
            about = dict(json.loads((stored.metadata() or {}).get("about", "{}")))
            return {name: _plain(stored.get_tensor(name)) for name in stored.keys()}, about  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DetectorError(f"the weights {path} cannot be read ({error}): train or copy them again") from error


def _plain(value: np.ndarray) -> np.ndarray:
    """Refuse bfloat16 and its like, which numpy has or has not, depending on what else was imported."""
    if value.dtype.kind not in "biuf":
        raise TypeError(f"numbers of the type {value.dtype}")
    return value


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Seal a detector folder: add format and checksums of the files that lie in it, write the card last."""
    files = {name: sha256_of(folder / name) for name in (MODEL, TILES_MODEL, WEIGHTS) if (folder / name).exists()}
    write_json(folder / CARD, {"format": CARD_FORMAT} | dict(card) | {"format": CARD_FORMAT, "sha256": files})


def read_card(folder: Path) -> dict[str, Any]:
    """Return a detector's card.

    Raises:
        DetectorError: No card, not JSON, with a number that is not finite, or of another version.
    """
    path = folder / CARD
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_CARD_BYTES:
            raise DetectorError(f"{path} has {n_bytes:,} bytes, far too many for a card: do not trust this detector")
        card = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DetectorError(f"there is no detector in {folder}: give a folder with {CARD}, {MODEL} and {WEIGHTS}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DetectorError(f"{path} cannot be read ({error}): train or copy the detector again") from error
    if not isinstance(card, dict) or card.get("format") != CARD_FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise DetectorError(
            f"{path} has format {found!r}, this fauxto reads {CARD_FORMAT}: use the fauxto that made it, or export it again"
        )
    _check_finite(card, path)
    return card


def models_of(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the files of a detector's networks: that of small images first, then that of tiles where it is another.

    Example:
        >>> models_of({}), models_of({"tiles": {"model": "tiles.onnx"}})
        (('model.onnx',), ('model.onnx', 'tiles.onnx'))
    """
    return (MODEL, TILES_MODEL) if card.get("tiles", {}).get("model") == TILES_MODEL else (MODEL,)


def trainings(card: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what a card says of its training, of each data set in it, then of the detectors it took over from, and so on.

    Of a data set beside others (``data.joined``) an old card gives the key alone, which says nothing of how it was divided.

    Example:
        >>> [about["store"] for about in trainings({"trained_on": {"store": "b", "begun_from": {"trained_on": {"store": "a"}}}})]
        ['b', 'a']
    """
    about = card.get("trained_on")
    if isinstance(about, Mapping):
        yield about
        parts = about.get("parts")
        yield from (part for part in (parts.values() if isinstance(parts, Mapping) else ()) if isinstance(part, Mapping))
        for before in map(about.get, LINES):
            yield from trainings(before if isinstance(before, Mapping) else {})


def _check_finite(card: dict[str, Any], path: Path) -> None:
    """Refuse NaN and 1e999, which Python's reader lets pass and no report could hold."""
    try:
        json.dumps(card, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise DetectorError(
            f"{path} holds an impossible number, NaN or infinity, or lists without end: export the detector again"
        ) from error


def verified(folder: Path, card: Mapping[str, Any], name: str) -> Path:
    """Return the path of one of the detector's files after comparing its checksum with the card's.

    Raises:
        DetectorError: The file is missing or is not the one that the card describes.
    """
    path = folder / name
    sums = card.get("sha256")
    expected = sums.get(name) if isinstance(sums, dict) else None
    if expected is None:
        raise DetectorError(f"the card in {folder} has no checksum for {name}: train or copy the detector again")
    try:
        found = sha256_of(path)
    except OSError as error:
        raise DetectorError(f"{path} cannot be read ({error.strerror}): train or copy the detector again") from error
    if found != expected:
        raise DetectorError(f"{path} has another checksum than its card says: it was changed or damaged, copy it again")
    return path
