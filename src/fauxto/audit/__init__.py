"""What is wrong with a data set, before a number on it is believed: ``fauxto audit DATA --out FOLDER``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import NamedTuple

import numpy as np

from fauxto.audit.against import effects_of, read_against
from fauxto.audit.alarms import shortcut_findings
from fauxto.audit.cast import Cast, find_cast
from fauxto.audit.contents import Against, Answers, AuditReport
from fauxto.audit.duplicates import find_duplicates
from fauxto.audit.facts import count_words, read_facts
from fauxto.audit.features import GRID, corners, thumbnail, views
from fauxto.audit.findings import SEVERITIES, Finding, at_least, worst_first
from fauxto.audit.leaks import find_leaks, known_outside, leak_findings
from fauxto.audit.positions import PositionMap, position_map
from fauxto.audit.repeats import Repeats, list_pairs
from fauxto.audit.samples import MIN_PER_CLASS, Sample, draw_sample
from fauxto.audit.sanity import sanity_findings
from fauxto.audit.shortcuts import Shortcut, measure_shortcuts
from fauxto.audit.twins import Twins
from fauxto.data.info import describe
from fauxto.data.sources import Source
from fauxto.data.store import Store
from fauxto.runs import environment_record

__all__ = ["SEVERITIES", "Against", "Answers", "AuditReport", "Finding", "Shortcut", "at_least", "audit"]

Progress = Callable[[str, int, int], None]
_CROSS = "images drawn from all of the data, cross-validated"


def audit(
    source: Source,
    store: Store,
    *,
    answers: Answers | None = None,
    seed: int = 0,
    data: str = "",
    note: str = "",
    command: str = "",
    date: str = "",
    progress: Progress | None = None,
) -> AuditReport:
    """Look for duplicates, leaks, shortcuts and odd labels.

    Args:
        source: Where the files are; ``sources.source_of`` gives it for a decoded store.
        store: Decoded from it.
        answers: What a detector says of its test part, to be read against the shortcuts.
        seed: Same seed, same report.
        data: Where the images came from, in words.
        note: A sentence about them that must not be missed.
        command: What the user typed.
        date: When, in ISO 8601; now by default.
        progress: Called with (step, done, total).

    Raises:
        DataError: The files are not those that were decoded.
        MissingExtraError: scikit-learn is not installed.
    """
    tell = progress or (lambda step, done, total: None)
    duplicates = find_duplicates(store, progress=tell)
    facts = read_facts(source, store, progress=lambda done, total: tell("reading headers", done, total))
    twins = Twins(store, duplicates.pairs)
    leaks = find_leaks(store, twins)
    look = _look(store, draw_sample(store, pairs=duplicates.pairs, test=_test_of(store, answers), seed=seed), seed)
    shortcuts = measure_shortcuts(
        store, facts, look.sample, seed=seed, progress=lambda done, total: tell("measuring shortcuts", done, total)
    )
    findings = worst_first(
        [
            *leak_findings(store, leaks),
            *shortcut_findings(shortcuts, look.cast, look.maps),
            *sanity_findings(store, facts),
        ]
    )
    known = known_outside(store, twins, answers.positions) if answers else {}
    effects = effects_of(store, answers, known, seed=seed) if answers else ()
    shown = {at for found in findings for pair in found.pairs for at in (pair.first, pair.second)}
    return AuditReport(
        data=data, note=note, info=describe(store), findings=findings, shortcuts=shortcuts,
        measured_on=look.sample.test_name or _CROSS,
        detector=read_against(store, answers, list(known.values())[-1], look.sample, shortcuts) if answers else None,
        repeats=Repeats(duplicates, list_pairs(store, duplicates.pairs), effects), files=count_words(facts, store.is_fake),
        paths={at: str(store.path[at]) for at in sorted(shown)},
        seed=seed, command=command, date=date or datetime.now(timezone.utc).isoformat(timespec="seconds"),
        environment=environment_record(), caveats=answers.caveats if answers else (),
    )  # fmt: skip


class _Look(NamedTuple):
    sample: Sample
    cast: Cast | None
    maps: tuple[tuple[str, PositionMap], ...]


def _look(store: Store, sample: Sample, seed: int) -> _Look:
    """Compare the classes' colours and places on the images drawn."""
    at, is_fake = sample.cross, store.is_fake[sample.cross]
    if len(at) < 2 * MIN_PER_CLASS:
        return _Look(sample, None, ())
    maps = [("the picture", position_map(views(store, at, thumbnail), is_fake))]
    if max(store.height[at].max(), store.width[at].max()) > GRID:
        maps.append(("the picture's corners at full size", position_map(views(store, at, corners), is_fake)))
    return _Look(sample, find_cast(store, at, seed=seed), tuple(maps))


def _test_of(store: Store, answers: Answers | None) -> np.ndarray | None:
    """Return the part that a detector was asked about, unless that is everything."""
    return answers.positions if answers is not None and len(answers.positions) < len(store) else None
