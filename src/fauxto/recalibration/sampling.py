"""The user's own images as a sample for calibration: from a store with labels, or from a plain folder without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fauxto.data.decoding import pixel_digest
from fauxto.data.layouts import is_image
from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.errors import DataError, ImageError, UsageError
from fauxto.evaluation.seen import SEEN, may_be_seen, training_on
from fauxto.images import SUFFIXES, to_pixels
from fauxto.recalibration import Sample
from fauxto.session import Item
from fauxto.vocabulary import Kind

NEEDED = 10  # images of a class, without labels in all, that must remain where the detector does not judge some of them
_BY = {Kind.SIZE.value: "size", Kind.UNFAMILIAR.value: "statistics"}
OUT_OF_SCOPE = tuple(_BY)
COPIES, BOTH_LABELS, UNREADABLE = "copies", "both labels", "unreadable"
_TOO_CERTAIN = "its answers on them are surer than on others, and what is calibrated here is too certain"
Progress = Callable[[int, int], None]


def labelled_sample(detector: Detector, store: Store, *, data: str = "", progress: Progress | None = None) -> Sample:
    """Return the images of a store that may calibrate a detector.

    These are none of a test part, none that it was trained on as far as its card tells, none of which it is unsure whatever its
    answer, and of equal pixels one; equal pixels under both labels are left out.

    Args:
        detector: Whose answers they get.
        store: Decoded images.
        data: Where they came from, in words.
        progress: Called with (done, total) images.

    Raises:
        UsageError: The detector was trained on these data, or all of them are a test part, or it judges too few of them.
    """
    if training_on(detector.card, store) is not None:
        raise UsageError(
            "these are the data that the detector was trained on, and its calibration comes from their validation part already: "
            "give images of your own"
        )
    members = np.flatnonzero(store.split != "test")
    if not len(members):
        raise UsageError("all of these images are marked as a test part, which must choose nothing: calibrate on others")
    members, left_out = _distinct(store, members)
    if not len(members):
        raise UsageError(
            "the pixels of each of these images are called real and fake: mend the labels, nothing can be learned here"
        )
    tell = progress or (lambda done, total: None)
    images = _counted((store.image(at) for at in members.tolist()), lambda done: tell(done, len(members)))
    answers = _Answers.of(detector, images)
    is_fake = store.is_fake[members][answers.is_judged]
    answers.check_enough({"real": int((~is_fake).sum()), "fake": int(is_fake.sum())})
    hashes = tuple(each.decode("ascii") for each in store.pixel_hash[members[answers.is_judged]].tolist())
    left_out |= answers.left_out
    caveats = (*may_be_seen(detector.card, store, then=_TOO_CERTAIN), *_told(left_out, answers))
    return Sample(answers.logit, is_fake, hashes, data, left_out, caveats, answers.over_tiles)


def unlabelled_sample(detector: Detector, folder: Path, *, skip_broken: bool = False, progress: Progress | None = None) -> Sample:
    """Return the images below a folder, nobody says which are fake: of equal pixels one, and none out of the detector's scope.

    Args:
        detector: Whose answers they get.
        folder: Searched in depth; hidden files are passed over.
        skip_broken: Leave unreadable images out instead of stopping.
        progress: Called with (done, total) files.

    Raises:
        DataError: There is no such folder, no image in it, or one that cannot be read and ``skip_broken`` is False.
        UsageError: The detector judges too few of them.
    """
    paths, left_out, hashes = _images_below(folder), dict[str, int](), dict[str, None]()
    tell = progress or (lambda done, total: None)

    def distinct() -> Iterator[np.ndarray]:
        for path in _counted(paths, lambda done: tell(done, len(paths))):
            pixels = _read(path, skip_broken=skip_broken)
            digest = "" if pixels is None else pixel_digest(pixels)
            if pixels is None or digest in hashes:
                reason = UNREADABLE if pixels is None else COPIES
                left_out[reason] = left_out.get(reason, 0) + 1
                continue
            hashes[digest] = None
            yield pixels

    answers = _Answers.of(detector, distinct())
    if not hashes:
        raise DataError(f"none of the {len(paths)} images in {folder} can be read: give others")
    answers.check_enough({"": len(answers.logit)})
    kept = tuple(digest for digest, is_judged in zip(hashes, answers.is_judged.tolist(), strict=True) if is_judged)
    left_out |= answers.left_out
    caveat = f"Whether the detector was trained on some of these images is not checked. {SEEN}{_TOO_CERTAIN}."
    return Sample(answers.logit, None, kept, folder.name, left_out, (caveat, *_told(left_out, answers)), answers.over_tiles)


@dataclass(frozen=True)
class _Answers:
    """What a detector says of images.

    Attributes:
        logit: float64, of those that are in its scope.
        is_judged: Bool, of all: whether one is.
        left_out: Kind of reason -> how many are not.
        example: Of such a reason, in words; "" where all are.
        over_tiles: Those in its scope were answered over tiles.
    """

    logit: np.ndarray
    is_judged: np.ndarray
    left_out: Mapping[str, int] = field(default_factory=dict)
    example: str = ""
    over_tiles: bool = False

    @staticmethod
    def of(detector: Detector, images: Iterable[np.ndarray]) -> _Answers:
        is_tiled: list[bool] = []
        answers = detector.predict(_noted(images, lambda image: is_tiled.append(detector.is_tiled(*image.shape[:2]))))
        unjudged = [answer for answer in answers if answer.kind in OUT_OF_SCOPE]
        counts = {kind: sum(answer.kind == kind for answer in unjudged) for kind in OUT_OF_SCOPE}
        return _Answers(
            np.array([answer.logit for answer in answers if answer.kind not in OUT_OF_SCOPE]),
            np.array([answer.kind not in OUT_OF_SCOPE for answer in answers], bool),
            {kind: n for kind, n in counts.items() if n},
            unjudged[0].reason if unjudged else "",
            _same_way([tiled for tiled, answer in zip(is_tiled, answers, strict=True) if answer.kind not in OUT_OF_SCOPE]),
        )

    def check_enough(self, n_judged: Mapping[str, int]) -> None:
        """Refuse a sample of which little remains: what it would calibrate is not what the user's images are."""
        if not self.left_out or min(n_judged.values()) >= NEEDED:
            return
        words = " and ".join(f"{n:,} {label}".strip() for label, n in n_judged.items())
        raise UsageError(
            f"of {self.is_judged.size:,} images this detector judges only {words}, of all others it is unsure whatever they show "
            f"(of the first: {self.example}): give at least {NEEDED}{' of each' * (len(n_judged) > 1)} that it judges, or take a "
            "detector that was trained on images like yours"
        )


def _distinct(store: Store, members: Positions) -> tuple[Positions, dict[str, int]]:
    """Return the first of each set of equal pixels, without those under both labels, and how many of the others there are."""
    _, first, which, counts = np.unique(store.pixel_hash[members], return_index=True, return_inverse=True, return_counts=True)
    n_fake = np.bincount(which, weights=store.is_fake[members])
    is_mixed = (n_fake > 0) & (n_fake < counts)
    left_out = {COPIES: int((counts[~is_mixed] - 1).sum()), BOTH_LABELS: int(counts[is_mixed].sum())}
    return members[np.sort(first[~is_mixed])], {reason: n for reason, n in left_out.items() if n}


def _told(left_out: Mapping[str, int], answers: _Answers) -> Iterator[str]:
    if answers.left_out:
        words = ", ".join(f"{n:,} by {_BY[kind]}" for kind, n in answers.left_out.items())
        n_unjudged = sum(answers.left_out.values())
        yield (
            f"The detector is unsure of {n_unjudged:,} of {answers.is_judged.size:,} images whatever they show ({words}; of the "
            f"first: {answers.example}). They are left out, and of images like them the new detector is unsure too."
        )
    if left_out.get(COPIES):
        yield f"{_images(left_out[COPIES])} left out, having the pixels of another one: a picture counts once."
    if left_out.get(BOTH_LABELS):
        yield f"{_images(left_out[BOTH_LABELS])} left out, since the same pixels are called real and fake: mend the labels."
    if left_out.get(UNREADABLE):
        yield f"{_images(left_out[UNREADABLE])} left out, being unreadable."


def _images(n: int) -> str:
    return f"{n:,} image{'s are' if n > 1 else ' is'}"


def _counted(items: Iterable[Item], tell: Callable[[int], None]) -> Iterator[Item]:
    """Yield the items, and tell how many have been dealt with."""
    for done, item in enumerate(items, start=1):
        yield item
        tell(done)


def _noted(images: Iterable[np.ndarray], note: Callable[[np.ndarray], None]) -> Iterator[np.ndarray]:
    for image in images:
        note(image)
        yield image


def _same_way(is_tiled: list[bool]) -> bool:
    """Return whether all were answered over tiles; refuse where some were and some were not: each way has rules of its own."""
    if 0 < sum(is_tiled) < len(is_tiled):
        raise UsageError(
            f"{sum(is_tiled):,} of these {len(is_tiled):,} images are answered over tiles, by rules of their own: calibrate on "
            "the large images, then the detector that comes of it on the small ones"
        )
    return any(is_tiled)


def _images_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        found = "a file, and no folder" if folder.exists() else "not there"
        raise DataError(f"{folder} is {found}: images without labels come from a plain folder, unpack an archive first")
    paths = sorted(path for path in folder.rglob("*") if is_image(path.relative_to(folder).as_posix()) and path.is_file())
    if not paths:
        raise DataError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}): name a folder with images")
    return paths


def _read(path: Path, *, skip_broken: bool) -> np.ndarray | None:
    try:
        return to_pixels(path)
    except ImageError as error:
        if skip_broken:
            return None
        raise DataError(f"{path} cannot be read ({error}): remove it, or pass --skip-broken") from error
