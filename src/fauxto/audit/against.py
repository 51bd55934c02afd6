"""A detector read against an audit: against each shortcut on the same images, and with what it may know left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fauxto.audit.contents import Against, Answers, Margin
from fauxto.audit.effect import ScoreEffect, score_without
from fauxto.audit.samples import Sample
from fauxto.audit.shortcuts import CONTROL, Score, Shortcut, score
from fauxto.data.splits import Positions
from fauxto.data.store import Store


def read_against(
    store: Store, answers: Answers, known: Positions, sample: Sample, shortcuts: tuple[Shortcut, ...]
) -> Against | None:
    """Return how far a detector lies above every shortcut; None where they were measured on other images or not at all.

    Args:
        store: All images.
        answers: The detector's.
        known: Positions of those images that stand elsewhere too.
        sample: What the shortcuts were measured on.
        shortcuts: As measured.
    """
    proper = [shortcut for shortcut in shortcuts if shortcut.kind != CONTROL]
    common = sample.test if sample.has_test else sample.cross
    if not proper or not np.isin(common, answers.positions).all():
        return None  # the two would be measured on different images

    def measured(positions: Positions) -> Score:
        rows = np.searchsorted(answers.positions, positions)
        return score(store.is_fake[positions], answers.p_fake[rows], threshold=answers.threshold)

    clean = np.setdiff1d(answers.positions, known)
    n_leaked = len(answers.positions) - len(clean)
    on_sample = measured(common)
    margins = {shortcut.name: _margin(on_sample, shortcut) for shortcut in shortcuts}
    best = max(proper, key=lambda shortcut: shortcut.headline.accuracy.value or 0.0)
    return Against(
        name=answers.name, whole=measured(answers.positions),
        without_leaks=measured(clean) if n_leaked and len(clean) else None, n_leaked=n_leaked, sample=on_sample,
        margins=tuple(margins.values()), best_shortcut=best.name, points_above=margins[best.name].points_above,
        auc_above=min(margins[shortcut.name].auc_above for shortcut in proper),
    )  # fmt: skip


def _margin(detector: Score, shortcut: Shortcut) -> Margin:
    found = shortcut.headline
    points = 100 * ((detector.accuracy.value or 0.0) - (found.accuracy.value or 0.0))
    return Margin(shortcut.name, points, (detector.roc_auc.value or 0.0) - (found.roc_auc.value or 0.0))


def effects_of(store: Store, answers: Answers, known: Mapping[str, Positions], *, seed: int) -> tuple[ScoreEffect, ...]:
    """Return what leaving the known images out does to the detector's score; nothing where none is known.

    Args:
        store: All images.
        answers: The detector's.
        known: In words how they are known -> positions.
        seed: Of the bootstrap.
    """
    if not any(len(at) for at in known.values()):
        return ()
    is_fake = store.is_fake[answers.positions]
    return score_without(known, answers.positions, is_fake, answers.p_fake, threshold=answers.threshold, seed=seed)
