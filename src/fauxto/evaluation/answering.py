"""What a detector answers on whole sets of images, as they are or perturbed: several processes side by side, and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata, resources
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from fauxto.checkpoint import MODEL, models_of, verified
from fauxto.detector import Detector
from fauxto.errors import FauxtoError, UsageError
from fauxto.evaluation.sets import Images, Loose, Stored, by_own_rules
from fauxto.perturb import perturbed, steps
from fauxto.runs import cache_folder, write_whole
from fauxto.vocabulary import Kind, Verdict

__all__ = ["AS_THEY_ARE", "Answers", "Images", "Loose", "Progress", "Stored", "answers", "n_cores"]
AT_ONCE = 1024  # images of one task at most, a multiple of the detector's batch: the same batches whoever does the task
_SQUARES_AT_ONCE, _PIXELS_AT_ONCE = 2**24, 2**22  # pixels: of the squares of one task; of images that are being changed
WORTH_PROCESSES = 8192  # answers; fewer are there before the processes are
AS_THEY_ARE = ""  # stands for no perturbation
_KINDS = ("", *(kind.value for kind in Kind))
# What an answer depends on.
_CODE = (
    "asking.py", "calibration.py", "detector.py", "judging.py", "perturb/__init__.py", "preprocess.py", "scope.py", "session.py",
    "tiles.py", "verdicts.py",
)  # fmt: skip
_PACKAGES = ("numpy", "pillow", "onnxruntime")

Progress = Callable[[int, int], None]
_Task = tuple[str, int, np.ndarray | None]  # perturbation, position of the first image, logits where they are known
_Part = tuple[np.ndarray, np.ndarray]  # logits, codes of the kinds
_worker: dict[str, Callable[[_Task], _Part]] = {}  # in a helper process: what it does


@dataclass(frozen=True)
class Answers:
    """What a detector said of n images.

    Attributes:
        logit: float32, shape (n,).
        p_fake: float64, shape (n,), in [0, 1].
        called_fake: Bool, shape (n,): ``p_fake >= threshold``.
        kind: Str, shape (n,): which rule made the verdict "unsure"; "" where it is real or fake.
        verdict: Str, shape (n,): "real", "fake" or "unsure", as ``Detector.predict`` says.
    """

    logit: np.ndarray
    p_fake: np.ndarray
    called_fake: np.ndarray
    kind: np.ndarray
    verdict: np.ndarray


def answers(
    detector: Detector,
    images: Images,
    names: Sequence[str] = (AS_THEY_ARE,),
    *,
    seed: int = 0,
    n_workers: int = 1,
    progress: Progress | None = None,
) -> dict[str, Answers]:
    """Ask a detector about a set of images under each of several perturbations.

    Answers are kept in the cache folder, perturbation by perturbation: what was answered before an interrupt is not asked again.
    They are found by the model's checksum, what the card says, the pixels, the perturbation's name and seed, the code that
    decides and the libraries' versions. Another threshold, unsure range or operating point keeps the network's own answers.

    Args:
        detector: Its card brings threshold, calibration and the rules of "unsure".
        images: ``Stored`` or ``Loose``; "noise" and its like depend on an image's place among them.
        names: As for ``perturb.perturbed``; "" is no perturbation.
        seed: Of the perturbations.
        n_workers: Processes that answer side by side, each on one core. With 1, or little to do, none is started. They begin by
            importing the program that runs, which must therefore do its work under ``if __name__ == "__main__":``.
        progress: Called with (done, total) answers.

    Raises:
        ConfigError: A perturbation is impossible.
        DetectorError: The model is not the card's, or does not fit it.
        UsageError: The number of processes is impossible, or the cache cannot be written.
        FauxtoError: A process was killed.
    """
    if n_workers < 1:
        raise UsageError(f"need at least 1 process that answers, got {n_workers}: leave it out or give another number")
    for name in filter(None, names):
        steps(name)  # refuses what is impossible
    for name in models_of(detector.card):
        verified(detector.folder, detector.card, name)
    found, known = dict[str, _Part](), dict[str, np.ndarray | None]()
    places = {name: _places(detector, images.key, name, seed) for name in names}
    for name, (of_logits, of_kinds) in places.items():
        logit, code = _kept(of_logits, len(images)), _kept(of_kinds, len(images))
        if logit is not None and code is not None:
            found[name] = logit, code
        else:
            known[name] = logit
    _ask(detector, images, known, places, found, seed, n_workers, progress or (lambda done, total: None))
    return {name: _answers(detector, images, *found[name]) for name in names}


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ask(
    detector: Detector, images: Images, known: Mapping[str, np.ndarray | None], places: Mapping[str, tuple[Path, Path]],
    found: dict[str, _Part], seed: int, n_workers: int, progress: Progress,
) -> None:  # fmt: skip
    """Add to ``found`` what is missing, task by task, and keep each perturbation's answers once they are whole."""
    total, done = (len(known) + len(found)) * len(images), len(found) * len(images)
    progress(done, total)
    n = _at_once(detector)
    starts = range(0, len(images), n)
    tasks = [(name, at, None if logit is None else logit[at : at + n]) for name, logit in known.items() for at in starts]
    parts: list[_Part] = []
    with _mapped(detector, images, seed, n_workers if total - done >= WORTH_PROCESSES else 1) as mapped:
        for (name, _, _), part in zip(tasks, mapped(tasks), strict=True):
            parts.append(part)
            done += len(part[0])
            progress(done, total)
            if len(parts) == len(starts):
                logit, code = (np.concatenate(some) for some in zip(*parts, strict=True))
                parts, found[name] = [], (logit, code)
                for place, values in zip(places[name], found[name], strict=True):
                    write_whole(place, partial(_save, values=values))


@contextmanager
def _mapped(
    detector: Detector, images: Images, seed: int, n_workers: int
) -> Iterator[Callable[[Sequence[_Task]], Iterator[_Part]]]:
    """Give what does tasks in their order, here or in helper processes."""
    if n_workers == 1:
        yield partial(map, partial(_part, detector, images, seed))
        return
    alone = replace(detector, n_threads=1)
    # "spawn": a copy of a process that already runs threads may hang.
    pool = ProcessPoolExecutor(n_workers, get_context("spawn"), _begin, (alone, images, seed))
    try:
        yield partial(pool.map, _work)
    except BrokenProcessPool as error:
        raise FauxtoError(
            "a helper process was killed, perhaps for want of memory: run the same with fewer workers; what is answered is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(detector: Detector, images: Images, seed: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops this process
    _worker["part"] = partial(_part, detector, images, seed)


def _work(task: _Task) -> _Part:
    return _worker["part"](task)


def _part(detector: Detector, images: Images, seed: int, task: _Task) -> _Part:
    """Return logits and kinds for the images of one task."""
    name, start, logits = task
    pixels = _changed(images.part(start, start + _at_once(detector)), name, seed, start)
    said = detector.predict(pixels, logits=logits)
    logit = np.array([one.logit for one in said], np.float32)
    return logit, np.array([_KINDS.index(one.kind) for one in said], np.uint8)


def _at_once(detector: Detector) -> int:
    most = AT_ONCE if detector.tiles is None else max(1, AT_ONCE // 4)  # tiles take their time, and progress should show
    return max(1, min(most, _SQUARES_AT_ONCE // detector.spec.size**2))


def _changed(pixels: list[np.ndarray], name: str, seed: int, start: int) -> Iterator[np.ndarray]:
    """Yield the images after a perturbation of each as a whole; few large ones are changed at once, so that any set fits."""
    n = max(1, _PIXELS_AT_ONCE // max(image.shape[0] * image.shape[1] for image in pixels))
    for at in range(0, len(pixels), n):
        yield from _perturbed(pixels[at : at + n], name, seed, start + at) if name else pixels[at : at + n]


def _perturbed(pixels: list[np.ndarray], name: str, seed: int, start: int) -> list[np.ndarray]:
    if len({image.shape for image in pixels}) == 1:
        return list(perturbed(np.stack(pixels), name, seed=seed, first=start))
    return [perturbed(image[None], name, seed=seed, first=start + at)[0] for at, image in enumerate(pixels)]


def _answers(detector: Detector, images: Images, logit: np.ndarray, code: np.ndarray) -> Answers:
    kind = np.array(_KINDS)[code]
    p_fake, called_fake = by_own_rules(detector, images, logit)
    answered = np.where(called_fake, Verdict.FAKE.value, Verdict.REAL.value)
    return Answers(logit, p_fake, called_fake, kind, np.where(kind == "", answered, Verdict.UNSURE.value))


def _places(detector: Detector, images: str, name: str, seed: int) -> tuple[Path, Path]:
    """Return where the logits and the kinds of unsure verdicts are kept."""
    card = detector.card
    code = hashlib.sha256(b"".join(resources.files("fauxto").joinpath(name).read_bytes() for name in _CODE)).hexdigest()
    versions = [metadata.version(package) for package in _PACKAGES]
    # A mirrored detector asks twice where not certain. ``fauxto calibrate`` adds bias and certain_logit; else keys are as ever.
    asked_twice = detector.temperature if detector.spec.mirrored else None
    anew = [[detector.bias, detector.certain_logit]] if {"bias", "certain_logit"} & set(card["calibration"]) else []
    said: list[Any] = [code, versions, card["sha256"][MODEL], detector.spec.to_dict(), asked_twice, images, name, seed, *anew]
    decided = [detector.temperature, card.get("threshold"), card.get("unsure"), card["scope"], detector.operating_point]
    if detector.tiles:
        of_tiles = card["sha256"][detector.tiles.model]
        said, decided = [*said, asdict(detector.tiles), of_tiles], [*decided, card["tiles"]]
    keys = (hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest() for each in (said, said + decided))
    of_logits, of_kinds = (cache_folder() / "answers" / f"{key}.npy" for key in keys)
    return of_logits, of_kinds


def _kept(place: Path, n: int) -> np.ndarray | None:
    """Return what is kept, or None where nothing whole is."""
    try:
        values: np.ndarray = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    is_code = values.dtype == np.uint8 and values.shape == (n,) and bool((values < len(_KINDS)).all())
    return values if is_code or (values.dtype == np.float32 and values.shape == (n,)) else None


def _save(path: Path, *, values: np.ndarray) -> None:
    """Write values under exactly this name; numpy would add a suffix to a path."""
    with path.open("wb") as stream:
        np.save(stream, values)
