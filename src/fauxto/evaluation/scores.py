"""Scores from a CSV: how any detector joins a comparison, also one that fauxto cannot run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fauxto.data.store import Store
from fauxto.errors import DataError

MAX_CSV_BYTES = 512 * 1024 * 1024
_IS_FAKE = {"real": False, "0": False, "fake": True, "1": True}  # as in a manifest


class FileLabel(NamedTuple):
    """What a file says of an image, and where.

    Attributes:
        is_fake: Whether it is AI-generated.
        line: Of the file, from 1.
    """

    is_fake: bool
    line: int


@dataclass(frozen=True)
class ScoresFile:
    """What any detector said, by the images' paths inside the data.

    Attributes:
        name: Of the detector.
        p_fake: Path -> p_fake, in [0, 1].
        threshold: An image is called fake when ``p_fake >= threshold``.
        labels: Path -> label, where the file has such a column; they are compared with the data's own and used for nothing else.
    """

    name: str
    p_fake: Mapping[str, float]
    threshold: float
    labels: Mapping[str, FileLabel] = field(default_factory=dict)


def read_scores(file: Path, *, name: str, threshold: float = 0.5) -> ScoresFile:
    """Read a CSV with the columns path and p_fake, and threshold and label where it has them.

    Args:
        file: UTF-8; further columns are left alone, so that ``scores.csv`` of ``fauxto evaluate`` fits.
        name: Of the detector.
        threshold: Where the file has no such column.

    Raises:
        DataError: It cannot be read, lacks a column, holds a path twice, a number outside [0, 1] or a label that is none, or its
            lines do not all have the same threshold.
    """
    try:
        if file.stat().st_size > MAX_CSV_BYTES:
            raise DataError(f"{file} has {file.stat().st_size:,} bytes, far too many for scores: give path,p_fake only")
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            columns = set(rows.fieldnames or ())
            missing = {"path", "p_fake"} - columns
            if missing:
                raise DataError(f"{file} has no column {' and '.join(sorted(missing))}: its first line must name path,p_fake")
            p_fake, thresholds, labels = _rows(file, rows, columns)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as CSV ({error}): give path,p_fake in UTF-8") from error
    if len(thresholds) > 1:
        raise DataError(f"{file} holds several thresholds, such as {sorted(thresholds)[:2]}: one detector has one")
    return ScoresFile(name, p_fake, thresholds.pop() if thresholds else threshold, labels)


def check_labels(scores: ScoresFile, store: Store) -> None:
    """Refuse scores whose labels are not the data's own: they were made for other images, or fake means something else there.

    Raises:
        DataError: The two disagree; the first such line is named.
    """
    if not scores.labels:
        return
    own = dict(zip(store.path.tolist(), store.is_fake.tolist(), strict=True))
    wrong = [(path, label) for path, label in scores.labels.items() if own.get(path, label.is_fake) != label.is_fake]
    if not wrong:
        return
    (path, label), n_known = wrong[0], sum(path in own for path in scores.labels)
    theirs, ours = ("fake", "real") if label.is_fake else ("real", "fake")
    raise DataError(
        f"line {label.line} of the scores of {scores.name} calls {path!r} {theirs}, the data call it {ours}; so do "
        f"{len(wrong):,} of {n_known:,} lines: give the scores of these images, with 1 for fake and p_fake high on fakes"
    )


def _rows(file: Path, rows: csv.DictReader[str], columns: set[str]) -> tuple[dict[str, float], set[float], dict[str, FileLabel]]:
    found: dict[str, float] = {}
    labels: dict[str, FileLabel] = {}
    thresholds = set()
    for row in rows:
        path, line = row["path"], f"{file}, line {rows.line_num}"
        if not path or path in found:
            raise DataError(f"{line}: {'no path' if not path else f'the path {path!r} stands twice'}")
        found[path] = _share(row["p_fake"], line, "logits must become probabilities first")
        if "threshold" in columns:
            hint = "the column threshold holds the same number in each line, or is left out"
            thresholds.add(_share(row["threshold"], line, hint))
        if "label" in columns:
            labels[path] = FileLabel(_is_fake(row["label"], line), rows.line_num)
    if not found:
        raise DataError(f"{file} holds no scores: give one line per image")
    return found, thresholds, labels


def _share(text: str | None, line: str, hint: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise DataError(f"{line}: expected a number from 0 to 1, got {text!r}: {hint}")
    return value


def _is_fake(text: str | None, line: str) -> bool:
    word = (text or "").strip().lower()
    if word not in _IS_FAKE:
        raise DataError(f"{line}: expected the label real or fake (0 or 1), got {text!r}: mend it, or leave the column out")
    return _IS_FAKE[word]
