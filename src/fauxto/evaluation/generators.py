"""One detector or several on each generator's images: ``fauxto evaluate DETECTOR --data DATA --out FOLDER --by generator``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.errors import DataError
from fauxto.evaluation import calibrated_here
from fauxto.evaluation.answering import AS_THEY_ARE, Answers, Progress, answers
from fauxto.evaluation.seen import may_be_seen
from fauxto.evaluation.sets import Images, Stored, fitting
from fauxto.metrics import auc_interval, confusion, ratio_interval_of, wilson
from fauxto.report.generators import AS_IS, MIN_FAKES, AcrossGenerators, Against, Row
from fauxto.vocabulary import Verdict

UNKNOWN = "unknown"
UNLIKE, UNLIKE_SHARE = 1.25, 0.25  # what bytes per pixel, pixels (factor) and formats (share) may differ by before files are told


@dataclass(frozen=True)
class Files:
    """How a set of files was saved.

    Attributes:
        formats: Share of each format, the most frequent first.
        bytes_per_pixel: Median.
        pixels: Median number of pixels of an image.
    """

    formats: tuple[tuple[str, float], ...]
    bytes_per_pixel: float
    pixels: float

    def __str__(self) -> str:
        names = " and ".join(name if share == 1 else f"{100 * share:.0f} % {name}" for name, share in self.formats)
        return f"{names}, {self.bytes_per_pixel:.2f} bytes a pixel, {self.pixels:,.0f} pixels"

    def is_unlike(self, other: Files) -> bool:
        """Return whether a detector could tell the one set of files from the other without looking at what they show."""
        pairs = ((self.bytes_per_pixel, other.bytes_per_pixel), (self.pixels, other.pixels))
        own, others = dict(self.formats), dict(other.formats)
        differs = any(abs(own.get(name, 0) - others.get(name, 0)) > UNLIKE_SHARE for name in own | others)
        return differs or any(max(pair) > UNLIKE * min(pair) for pair in pairs)


def measure_generators(
    detectors: Sequence[Detector],
    store: Store,
    members: np.ndarray,
    *,
    reals: tuple[Store, np.ndarray] | None = None,
    reals_from: str = "the same data",
    encode: str = AS_IS,
    level: float = 0.95,
    n_workers: int = 1,
    progress: Progress | None = None,
) -> AcrossGenerators:
    """Measure detectors on each generator's images, each at its own card's threshold, against the same photographs.

    Args:
        detectors: The first is the headline.
        store: Where the fakes are, and the photographs unless ``reals`` says otherwise.
        members: Positions in the store, photographs and fakes.
        reals: Another store and positions in it; its fakes are left out.
        reals_from: Where the photographs came from, in words.
        encode: A perturbation such as "jpeg-75", through which fakes and photographs go alike before they are scored; "as-is"
            leaves them as their files have them.
        level: Coverage of the intervals.
        n_workers: As for ``answering.answers``.
        progress: Called with (done, total) answers of the set that is being asked about.

    Raises:
        DataError: There is no fake image, or no photograph.
        FauxtoError: See ``answering.answers``.
    """
    home, _ = reals or (store, members)
    photographs, fakes = both_classes(store, members, reals)
    names = np.array([name or UNKNOWN for name in store.generator[fakes].tolist()])
    real_files = files_of(home, photographs)
    files = {name: files_of(store, fakes[names == name]) for name in np.unique(names).tolist()}
    sets = Stored(home, photographs), Stored(store, fakes)
    rows: list[Row] = []
    detectors = [fitting(each, *sets) for each in detectors]
    for detector in detectors:
        of_reals, of_fakes = (_said(detector, some, encode, n_workers, progress) for some in sets)
        row = row_of(detector, names, of_fakes, of_reals, files, real_files, level=level)
        n_alike = sum(other.detector.split(" #")[0] == row.detector for other in rows)
        rows.append(replace(row, detector=f"{row.detector} #{n_alike + 1}") if n_alike else row)
    return AcrossGenerators(
        rows=tuple(rows), encode=encode, n_real=photographs.size, reals=reals_from, real_files=str(real_files),
        caveats=_caveats(rows, encode) + _trained_on(detectors, rows, sets, reals_from) + _calibrated_by(detectors, rows, sets),
        level=level,
    )  # fmt: skip


def both_classes(
    store: Store, members: np.ndarray, reals: tuple[Store, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the photographs, as positions in the store of ``reals`` where it is given, and the fakes that are measured.

    Args:
        store: As for ``measure_generators``.
        members: Likewise.
        reals: Likewise.

    Raises:
        DataError: There is no photograph, or no fake image.
    """
    home, places = reals or (store, members)
    photographs, fakes = places[~home.is_fake[places]], members[store.is_fake[members]]
    if not fakes.size:
        raise DataError("there is no fake image among these to measure by generator: give data that hold some")
    if not photographs.size:
        where = "the data of --reals hold none: name others" if reals else "give data that hold some, or name some as --reals"
        raise DataError(f"there is no photograph to measure generators against: {where}")
    return photographs, fakes


def row_of(
    detector: Detector, names: np.ndarray, fakes: Answers, reals: Answers, files: Mapping[str, Files] | None = None,
    real_files: Files | None = None, *, level: float = 0.95,
) -> Row:  # fmt: skip
    """Return one detector's numbers on each generator.

    Args:
        detector: Whose answers these are.
        names: Str, shape (n,): each fake image's generator.
        fakes: What was said of the fakes.
        reals: What was said of the photographs.
        files: Generator -> how its files were saved; left out where nothing is known.
        real_files: How the photographs' files were saved.
        level: Coverage of the intervals.
    """
    known = generators_of(detector.card)
    found = []
    for name in np.unique(names).tolist():
        at, own = names == name, (files or {}).get(name)
        unlike = own is not None and real_files is not None and own.is_unlike(real_files)
        numbers = _numbers(fakes.p_fake[at], fakes.verdict[at], reals.p_fake, detector.threshold, level)
        found.append(Against(name, int(at.sum()), name in known, numbers, "" if own is None else str(own), unlike))
    return Row(str(detector.card.get("name", "unnamed")), known, detector.threshold, tuple(found))


def generators_of(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the generators of a detector's training, as its card names them."""
    named = card.get("trained_on", {}).get("generators")
    return tuple(str(name) for name in named) if isinstance(named, list) else ()


def files_of(store: Store, at: np.ndarray) -> Files:
    """Return how some files of a store were saved."""
    counts = Counter(store.file_format[at].tolist())
    pixels = store.height[at].astype(float) * store.width[at]
    formats = tuple((name, n / at.size) for name, n in counts.most_common())
    return Files(formats, float(np.median(store.file_bytes[at] / pixels)), float(np.median(pixels)))


def _said(detector: Detector, images: Images, encode: str, n_workers: int, progress: Progress | None) -> Answers:
    name = AS_THEY_ARE if encode == AS_IS else encode
    return answers(detector, images, [name], n_workers=n_workers, progress=progress)[name]


def _numbers(fake: np.ndarray, verdict: np.ndarray, real: np.ndarray, threshold: float, level: float) -> dict[str, Any]:
    is_fake = np.repeat([False, True], [real.size, fake.size])
    p_fake = np.concatenate([real, fake])
    counts = confusion(is_fake, p_fake, threshold=threshold)
    n_unsure = int((verdict == Verdict.UNSURE.value).sum())
    return {
        "roc_auc": auc_interval(is_fake, p_fake, level=level),
        "recall": wilson(counts.tp, fake.size, level=level),
        "false_alarm_rate": wilson(counts.fp, real.size, level=level),
        "balanced_accuracy": ratio_interval_of("balanced_accuracy", counts, level=level),
        "unsure": wilson(n_unsure, fake.size, level=level),
    }


def _trained_on(detectors: Sequence[Detector], rows: Sequence[Row], sets: Sequence[Stored], reals_from: str) -> tuple[str, ...]:
    """Say whose numbers a part of the training data may flatter; of the first detector and the fakes, ``evaluate`` says it."""
    photographs, fakes = (some.store for some in sets)
    found: dict[str, list[str]] = {}
    for at, (detector, row) in enumerate(zip(detectors, rows, strict=True)):
        lines = may_be_seen(detector.card, fakes) if at else []
        if photographs is not fakes:
            of_photographs, then = f"The photographs' data, {reals_from},", "its false alarms are too few"
            lines += may_be_seen(detector.card, photographs, what=of_photographs, then=then)
        for line in lines:
            found.setdefault(line, []).append(row.detector)
    return tuple(f"About {', '.join(names)}: {line[0].lower()}{line[1:]}" for line, names in found.items())


def _calibrated_by(detectors: Sequence[Detector], rows: Sequence[Row], sets: Sequence[Stored]) -> tuple[str, ...]:
    pairs = [(detector, row, some) for detector, row in zip(detectors, rows, strict=True) for some in sets]
    return tuple(
        f"About {row.detector}: {line}"
        for detector, row, some in pairs
        for line in calibrated_here(detector.card, some.store, some.members)
    )


def _caveats(rows: Sequence[Row], encode: str) -> tuple[str, ...]:
    found, own = [], rows[0].generators
    unlike = [item.generator for item in own if item.is_unlike]
    small = [item.generator for item in own if item.is_small]
    whose = "all generators" if len(unlike) == len(own) > 1 else ", ".join(unlike)
    if unlike and encode == AS_IS:
        found.append(
            f"The files of {whose} were saved otherwise than the photographs': what is measured may be the file and "
            "not the image. Give --encode, such as --encode jpeg-75, to save both alike first."
        )
    elif unlike:
        found.append(
            f"The files of {whose} were saved otherwise than the photographs'. Both went through {encode} before "
            "they were scored, which does not undo what the first save did to them."
        )
    if small:
        found.append(
            f"Fewer than {MIN_FAKES} images: {', '.join(small)}. Their intervals are wide, and mean and minimum leave them out."
        )
    if UNKNOWN in {item.generator for item in own}:
        found.append(
            f"Where the data do not say which generator made an image, it counts as '{UNKNOWN}': perhaps several in one."
        )
    return tuple(found)
