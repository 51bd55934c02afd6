"""From the names in a folder or archive, or from a CSV manifest, to records."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import PurePosixPath

from fauxto.data.records import ImageRecord
from fauxto.errors import DataError
from fauxto.images import SUFFIXES
from fauxto.vocabulary import Label

MANIFEST = "manifest.csv"
# CIFAKE, CNNDetection (ForenSynths) and GenImage name their class folders so.
REAL_FOLDERS = frozenset({"real", "0_real", "nature", "reals", "photo", "photos"})
FAKE_FOLDERS = frozenset({"fake", "1_fake", "ai", "fakes", "generated", "synthetic"})
SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def records_from_names(names: Iterable[str], *, where: str) -> list[ImageRecord]:
    """Read labels, splits and generators off folder names.

    Three layouts are known: a folder per class (REAL/FAKE, real/fake, 0_real/1_fake, nature/ai), the same inside a folder
    per generator, and a folder per generator beside one folder of real images.

    Args:
        names: Paths inside the source, with forward slashes.
        where: The source's name, for messages.

    Raises:
        DataError: No image, or no folder that says which images are real.
    """
    images = sorted(name for name in names if _is_image(name))
    if not images:
        raise DataError(f"{where} holds no image: expected one subfolder per class, such as REAL and FAKE")
    records = [_record_by_class(name) for name in images]
    labelled = [record for record in records if record is not None]
    if len(labelled) == len(images):
        return labelled
    if any(record.label is Label.FAKE for record in labelled) or not labelled:
        stray = next(name for name, record in zip(images, records, strict=True) if record is None)
        raise DataError(
            f"{where}: no folder above {stray!r} says whether it is real or fake; "
            "name the class folders REAL and FAKE (or 0_real/1_fake, nature/ai), or give a manifest.csv"
        )
    return [record or _record_by_generator(name) for name, record in zip(images, records, strict=True)]


def records_from_manifest(text: str, *, where: str) -> list[ImageRecord]:
    """Read a CSV manifest: columns path and label (real or fake, 0 or 1); generator, group and split are optional.

    Raises:
        DataError: A column is missing, a label is unknown, or a path leaves the source.
    """
    reader = csv.DictReader(io.StringIO(text))
    missing = {"path", "label"} - set(reader.fieldnames or ())
    if missing:
        raise DataError(f"{where}: the manifest lacks the column {sorted(missing)[0]!r}; it needs path and label")
    rows = [_record_from_row(row, where, number) for number, row in enumerate(reader, start=2)]
    if not rows:
        raise DataError(f"{where}: the manifest lists no image")
    return rows


def safe_name(name: str) -> str | None:
    """Return a member's name in its plain form, or None if it would lead outside of the source.

    Example:
        >>> safe_name("./train/REAL/1.jpg"), safe_name("../etc/passwd"), safe_name("/etc/passwd")
        ('train/REAL/1.jpg', None, None)
    """
    unified = name.replace("\\", "/")
    path = PurePosixPath(unified)
    has_drive = len(unified) > 1 and unified[1] == ":"
    if path.is_absolute() or ".." in path.parts or has_drive or "\0" in name:
        return None
    return path.as_posix()


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _record_by_class(name: str) -> ImageRecord | None:
    folders = PurePosixPath(name).parts[:-1]
    for position in range(len(folders) - 1, -1, -1):
        label = _label_of(folders[position])
        if label is not None:
            return ImageRecord(name, label, _generator_of(folders, position, label), split=_split_of(folders))
    return None


def _record_by_generator(name: str) -> ImageRecord:
    folders = PurePosixPath(name).parts[:-1]
    named = [folder for folder in folders if folder.lower() not in SPLIT_FOLDERS]
    return ImageRecord(name, Label.FAKE, named[-1] if named else "", split=_split_of(folders))


def _label_of(folder: str) -> Label | None:
    if folder.lower() in REAL_FOLDERS:
        return Label.REAL
    return Label.FAKE if folder.lower() in FAKE_FOLDERS else None


def _generator_of(folders: tuple[str, ...], position: int, label: Label) -> str:
    """Return the folder above or below the class folder that is not a split: its generator."""
    if label is Label.REAL:
        return ""
    others = [f for f in (*folders[position + 1 :], *reversed(folders[:position])) if f.lower() not in SPLIT_FOLDERS]
    return others[0] if others else ""


def _split_of(folders: tuple[str, ...]) -> str:
    return next((SPLIT_FOLDERS[f.lower()] for f in folders if f.lower() in SPLIT_FOLDERS), "")


def _record_from_row(row: dict[str, str | None], where: str, number: int) -> ImageRecord:
    name = safe_name((row["path"] or "").strip())
    if not name or name == ".":
        raise DataError(f"{where}: line {number} of the manifest has the path {row['path']!r}, outside of the data")
    labels = {"real": Label.REAL, "0": Label.REAL, "fake": Label.FAKE, "1": Label.FAKE}
    word = (row["label"] or "").strip().lower()
    if word not in labels:
        raise DataError(f"{where}: line {number} of the manifest has the label {row['label']!r}; expected real or fake")
    split = (row.get("split") or "").strip().lower()
    if split and split not in SPLIT_FOLDERS:
        raise DataError(f"{where}: line {number} of the manifest has the split {split!r}; expected train, val or test")
    generator = "" if labels[word] is Label.REAL else (row.get("generator") or "").strip()
    return ImageRecord(name, labels[word], generator, (row.get("group") or "").strip(), SPLIT_FOLDERS.get(split, ""))
