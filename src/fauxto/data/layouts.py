"""From the names in a folder or archive, or from a CSV manifest, to records."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
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
_LABELS = {"real": Label.REAL, "0": Label.REAL, "fake": Label.FAKE, "1": Label.FAKE}


def records_from_names(names: Iterable[str], *, where: str) -> list[ImageRecord]:
    """Read labels, splits and generators off folder names.

    Three layouts are known: a folder per class (REAL/FAKE, real/fake, 0_real/1_fake, nature/ai), the same inside a folder
    per generator, and a folder per generator beside one folder of real images.

    Args:
        names: Paths inside the source, with forward slashes.
        where: The source's name, for messages.

    Raises:
        DataError: No image, or no folder that says which images are real.

    Example:
        >>> [(r.label.name, r.generator, r.split) for r in records_from_names(["train/REAL/1.png", "train/gan/2.png"], where="d")]
        [('REAL', '', 'train'), ('FAKE', 'gan', 'train')]
    """
    images = sorted(name for name in names if is_image(name))
    if not images:
        raise DataError(f"{where} holds no image: expected one subfolder per class, such as REAL and FAKE")
    n_shared = len(_shared_folders(images))
    by_class = [_record_by_class(name, n_shared) for name in images]
    if any(record is not None and record.label is Label.FAKE for record in by_class):
        records = by_class
    else:
        has_real = any(record is not None for record in by_class)
        records = [
            record or (_record_by_generator(name) if has_real else None) for name, record in zip(images, by_class, strict=True)
        ]
    stray = [name for name, record in zip(images, records, strict=True) if record is None]
    if stray:
        raise DataError(
            f"{where}: no folder above {stray[0]!r} says whether it is real or fake; "
            "name the class folders REAL and FAKE (or 0_real/1_fake, nature/ai), or give a manifest.csv"
        )
    return [record for record in records if record is not None]


def records_of_photographs(names: Iterable[str], *, where: str) -> list[ImageRecord] | None:
    """Take all images for real, if no folder calls any of them real or fake; return None if one does.

    Raises:
        DataError: No image.

    Example:
        >>> [(r.label.name, r.split) for r in records_of_photographs(["1.jpg", "test/2.jpg"], where="d") or []]
        [('REAL', ''), ('REAL', 'test')]
        >>> records_of_photographs(["1.jpg", "fake/2.jpg"], where="d") is None
        True
    """
    images = sorted(name for name in names if is_image(name))
    if not images:
        raise DataError(f"{where} holds no image: give a folder or archive of photographs")
    folders = [PurePosixPath(name).parts[:-1] for name in images]
    if any(_label_of(folder) is not None for above in folders for folder in above):
        return None
    return [ImageRecord(name, Label.REAL, split=_split_of(above)) for name, above in zip(images, folders, strict=True)]


def records_from_manifest(text: str, *, where: str) -> list[ImageRecord]:
    r"""Read a CSV manifest: columns path and label (real or fake, 0 or 1); generator, group and split are optional.

    Raises:
        DataError: A column is missing, a label is unknown, a path leaves the source, or a path comes twice.

    Example:
        >>> records_from_manifest("path,label,generator\na.png,fake,gan\n", where="d")[0].generator
        'gan'
    """
    reader = csv.DictReader(io.StringIO(text))
    try:
        columns = list(reader.fieldnames or ())
        missing = {"path", "label"} - set(columns)
        if missing:
            came = ", ".join(map(repr, columns[:8])) or "nothing"
            raise DataError(f"{where}: the manifest needs the columns path and label, separated by commas; it has {came}")
        rows = [_record_from_row(row, f"{where}: line {reader.line_num} of the manifest") for row in reader]
    except csv.Error as error:
        raise DataError(f"{where}: the manifest is not CSV after line {reader.line_num} ({error}): mend it") from error
    if not rows:
        raise DataError(f"{where}: the manifest lists no image: give one line per image below path,label")
    return rows


def root_of_manifest(text: str, *, where: str) -> str:
    r"""Return the folder or archive that a manifest's paths count from, as its column root names it; "" if it has none.

    Args:
        text: A manifest that ``records_from_manifest`` can read.
        where: The source's name, for messages.

    Raises:
        DataError: Two lines name different ones.

    Example:
        >>> root_of_manifest("path,label,root\na.png,fake,../set.zip\n", where="d")
        '../set.zip'
    """
    reader = csv.DictReader(io.StringIO(text))
    if "root" not in (reader.fieldnames or ()):
        return ""
    named = {(row["root"] or "").strip() for row in reader}
    if len(named) > 1:
        first, second = sorted(named)[:2]
        raise DataError(f"{where}: the manifest names two roots, {first!r} and {second!r}: write one manifest for each")
    return named.pop()


def safe_name(name: str) -> str | None:
    """Return a member's name in its plain form, or None if it would lead outside of the source.

    Example:
        >>> safe_name("./train/REAL/1.jpg"), safe_name("../etc/passwd"), safe_name("/etc/passwd")
        ('train/REAL/1.jpg', None, None)
    """
    path = PurePosixPath(name.replace("\\", "/"))
    has_drive = path.as_posix()[1:2] == ":"
    if path.is_absolute() or ".." in path.parts or has_drive or "\0" in name:
        return None
    return path.as_posix()


def is_image(name: str) -> bool:
    """Return whether a name has an image's suffix and no hidden folder above it.

    Example:
        >>> is_image("REAL/1.JPG"), is_image("REAL/notes.txt"), is_image("__MACOSX/REAL/1.jpg")
        (True, False, False)
    """
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _shared_folders(images: Sequence[str]) -> Sequence[str]:
    """Return the folders that all images lie in, such as the one folder at the top of an archive; ``images`` is sorted."""
    first, last = (PurePosixPath(name).parts[:-1] for name in (images[0], images[-1]))
    n_equal = next(
        (n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), min(len(first), len(last))
    )
    return first[:n_equal]


def _record_by_class(name: str, n_shared: int) -> ImageRecord | None:
    folders = PurePosixPath(name).parts[:-1]
    for position in range(len(folders) - 1, -1, -1):
        label = _label_of(folders[position])
        if label is not None:
            generator = "" if label is Label.REAL else _generator_of(folders, position, n_shared)
            return ImageRecord(name, label, generator, split=_split_of(folders))
    return None


def _record_by_generator(name: str) -> ImageRecord | None:
    folders = PurePosixPath(name).parts[:-1]
    named = [folder for folder in folders if folder.lower() not in SPLIT_FOLDERS]
    return ImageRecord(name, Label.FAKE, named[-1], split=_split_of(folders)) if named else None


def _label_of(folder: str) -> Label | None:
    if folder.lower() in REAL_FOLDERS:
        return Label.REAL
    return Label.FAKE if folder.lower() in FAKE_FOLDERS else None


def _generator_of(folders: tuple[str, ...], position: int, n_shared: int) -> str:
    """Return the folder that names the generator of the fake image in class folder ``folders[position]``, or "".

    That is the one below the class folder (fake/stylegan), else the outermost above it (progan/cat/1_fake: ForenSynths puts
    categories between), where folders that all images share count last.
    """
    candidates = (*folders[position + 1 :], *folders[n_shared:position], *reversed(folders[: min(n_shared, position)]))
    return next((folder for folder in candidates if folder.lower() not in SPLIT_FOLDERS), "")


def _split_of(folders: tuple[str, ...]) -> str:
    return next((SPLIT_FOLDERS[f.lower()] for f in folders if f.lower() in SPLIT_FOLDERS), "")


def _record_from_row(row: dict[str, str | None], line: str) -> ImageRecord:
    name = safe_name((row["path"] or "").strip())
    if not name or name == ".":
        raise DataError(f"{line} has the path {row['path']!r}; expected a path inside the data, without '..'")
    word = (row["label"] or "").strip().lower()
    if word not in _LABELS:
        raise DataError(f"{line} has the label {row['label']!r}; expected real or fake (0 or 1)")
    split = (row.get("split") or "").strip().lower()
    if split and split not in SPLIT_FOLDERS:
        raise DataError(f"{line} has the split {split!r}; expected train, val or test")
    label = _LABELS[word]
    generator = "" if label is Label.REAL else (row.get("generator") or "").strip()
    return ImageRecord(name, label, generator, (row.get("group") or "").strip(), SPLIT_FOLDERS.get(split, ""))
