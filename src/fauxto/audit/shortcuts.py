"""What can be told without looking at what a picture shows: file size, format, metadata, colour, spectrum, each alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from fauxto.audit import features
from fauxto.audit.facts import CATEGORIES, Facts
from fauxto.audit.samples import MIN_PER_CLASS, N_FOLDS, Sample
from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.errors import missing_extra
from fauxto.metrics import Interval, auc_interval, confusion, ratio_interval_of

CONTAINER, CONTENT, CONTROL = "container", "content", "control"
FILE_SIZE, ALIKE = "file size", "file size, saved alike"
_ALIKE_QUALITY = 75
_MAX_CODES = 200
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Score:
    """How well real and fake were told apart.

    Attributes:
        n: Images, half of them fake.
        accuracy: At p_fake 0.5.
        roc_auc: Without a threshold.
    """

    n: int
    accuracy: Interval
    roc_auc: Interval


@dataclass(frozen=True)
class Shortcut:
    """What one kind of numbers alone achieves.

    Attributes:
        name: Such as "file size".
        kind: "container": the file and not the picture, which should tell nothing. "content": simple statistics of the pixels,
            which a detector may use, and against which it must be read. "control": what "file size" has to be compared with.
        what: Which numbers, in words.
        cross_validated: On images drawn from all of the data.
        on_test: Trained outside of the test part and tested on it; None where there is none.
    """

    name: str
    kind: str
    what: str
    cross_validated: Score
    on_test: Score | None

    @property
    def headline(self) -> Score:
        """The score on the test part, or else the cross-validated one."""
        return self.on_test or self.cross_validated

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Group:
    kind: str
    what: str
    table: Callable[[Store, Facts, Positions], np.ndarray]


def measure_shortcuts(
    store: Store, facts: Facts, sample: Sample, *, seed: int = 0, progress: Progress | None = None
) -> tuple[Shortcut, ...]:
    """Measure every shortcut with gradient-boosted trees (scikit-learn's HistGradientBoostingClassifier, 100 trees).

    One learner for all, so that they compare: trees need no scaling, take categories and numbers, and bend. Nothing is tuned.

    Args:
        store: The images.
        facts: How their files were saved.
        sample: On which images.
        seed: Of the learner.
        progress: Called with (done, total) shortcuts.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if len(sample.cross) < 2 * MIN_PER_CLASS:
        return ()
    found = []
    for name, group in GROUPS.items():
        found.append(_measured(name, group, store, facts, sample, seed))
        if progress:
            progress(len(found), len(GROUPS))
    return tuple(found)


def score(is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float = 0.5) -> Score:
    """Return accuracy with Wilson's and AUC with DeLong's 95 % interval; no AUC where there is one class only.

    Example:
        >>> score(np.array([False, True]), np.array([0.2, 0.7])).roc_auc.value
        1.0
    """
    p_fake = p_fake.astype(np.float64)
    right = ratio_interval_of("accuracy", confusion(is_fake, p_fake, threshold=threshold))
    return Score(len(is_fake), right, auc_interval(is_fake, p_fake))


def _measured(name: str, group: _Group, store: Store, facts: Facts, sample: Sample, seed: int) -> Shortcut:
    used = np.unique(np.concatenate([sample.cross, sample.train, sample.test]))
    values = group.table(store, facts, used)
    cross, train, test = (values[np.searchsorted(used, part)] for part in (sample.cross, sample.train, sample.test))
    is_fake = store.is_fake
    p_fake = np.empty(len(cross))
    for fold in range(N_FOLDS):
        held = sample.fold == fold
        if held.any():
            p_fake[held] = _answers(cross[~held], is_fake[sample.cross][~held], cross[held], seed)
    crossed = score(is_fake[sample.cross], p_fake)
    tested = None
    if sample.has_test:
        tested = score(is_fake[sample.test], _answers(train, is_fake[sample.train], test, seed))
    return Shortcut(name, group.kind, group.what, crossed, tested)


def _answers(known: np.ndarray, is_fake: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise missing_extra("train", "scikit-learn") from error
    if is_fake.all() or not is_fake.any():  # all of the other class is one group
        return np.full(len(asked), 0.5)
    model = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed)
    answers: np.ndarray = model.fit(known, is_fake).predict_proba(asked)[:, 1]
    return answers


def _file_size(store: Store, facts: Facts, at: Positions) -> np.ndarray:
    return _sizes(store.file_bytes[at], store, at)


def _saved_alike(store: Store, facts: Facts, at: Positions) -> np.ndarray:
    """Return what the file sizes would be, had one program saved all pictures as JPEG; of large ones, by their middle."""
    n_bytes = np.empty(len(at))
    for row, position in enumerate(at.tolist()):
        image = store.image(position)
        part = features.middle(image)
        stream = io.BytesIO()
        Image.fromarray(part).save(stream, "JPEG", quality=_ALIKE_QUALITY)
        n_bytes[row] = len(stream.getbuffer()) * image.size / part.size
    return _sizes(n_bytes, store, at)


def _sizes(n_bytes: np.ndarray, store: Store, at: Positions) -> np.ndarray:
    return np.stack([n_bytes, n_bytes / (store.height[at].astype(np.int64) * store.width[at])], axis=1).astype(np.float64)


def _image_size(store: Store, facts: Facts, at: Positions) -> np.ndarray:
    height, width = store.height[at].astype(np.float64), store.width[at].astype(np.float64)
    return np.stack([height, width, width / height, width * height], axis=1)


def _format(store: Store, facts: Facts, at: Positions) -> np.ndarray:
    named = [_codes(getattr(facts, name)[at]) for name in CATEGORIES if name != "metadata"]
    return np.stack([*named, facts.quality[at].astype(np.float64)], axis=1)


def _metadata(store: Store, facts: Facts, at: Positions) -> np.ndarray:
    words = facts.metadata[at]
    kinds = sorted({kind for text in np.unique(words).tolist() for kind in text.split("+") if kind})[:_MAX_CODES]
    has = [np.char.find(np.char.add(np.char.add("+", words), "+"), f"+{kind}+") >= 0 for kind in kinds]
    return np.stack([_codes(words), *(each.astype(np.float64) for each in has)], axis=1)


def _codes(words: np.ndarray) -> np.ndarray:
    """Return one number per word, the most frequent first; the rarest share the last."""
    _, number, counts = np.unique(words, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.minimum(rank, _MAX_CODES)[number]


def _pixels(
    feature: features.Feature, view: Callable[[np.ndarray], np.ndarray]
) -> Callable[[Store, Facts, Positions], np.ndarray]:
    return lambda store, facts, at: features.table(store, at, feature, view=view)


def _places(store: Store, facts: Facts, at: Positions) -> np.ndarray:
    """Return corners and edges of the whole picture, and of its corners at native resolution where they are a part of it."""
    found = [features.table(store, at, features.corners_and_edges, view=features.thumbnail)]
    if max(store.height[at].max(), store.width[at].max()) > features.GRID:
        found.append(features.table(store, at, features.corners_and_edges, view=features.corners))
    return np.hstack(found)


GROUPS: Mapping[str, _Group] = {
    FILE_SIZE: _Group(CONTAINER, "bytes, and bytes per pixel", _file_size),
    ALIKE: _Group(CONTROL, f"the same, had all pictures been saved as JPEG of quality {_ALIKE_QUALITY}", _saved_alike),
    "image size": _Group(CONTAINER, "width, height, their ratio and product", _image_size),
    "format and tables": _Group(CONTAINER, "file format, colour mode, JPEG tables and subsampling, PNG depth", _format),
    "metadata": _Group(CONTAINER, "which kinds of metadata are in the file, not what they say", _metadata),
    "colour": _Group(
        CONTENT, "mean, spread, minimum and maximum of each channel", _pixels(features.colour, features.middle)
    ),
    "power spectrum": _Group(
        CONTENT, "power in 16 rings of spatial frequency", _pixels(features.spectrum, features.middle)
    ),
    "DCT energies": _Group(CONTENT, "energy of each frequency in 8x8 blocks", _pixels(features.dct_energies, features.middle)),
    "corners and edges": _Group(CONTENT, "colour and spread of the four corners and outermost lines", _places),
}  # fmt: skip
