"""What an audit holds: findings, the table of shortcuts, a detector read against it, and where all of it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fauxto.audit.findings import SEVERITIES, Finding
from fauxto.audit.repeats import Repeats
from fauxto.audit.shortcuts import CONTROL, Score, Shortcut
from fauxto.data.info import Info


@dataclass(frozen=True, eq=False)
class Answers:
    """What a detector says of the images that it may be measured on.

    Attributes:
        name: The detector's.
        threshold: An image is called fake when ``p_fake >= threshold``.
        positions: In the store, sorted.
        p_fake: Float, same shape, in [0, 1].
        caveats: Why its answers may be too good, each a sentence.
    """

    name: str
    threshold: float
    positions: np.ndarray
    p_fake: np.ndarray
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Margin:
    """How far a detector lies above one shortcut, on the same images.

    Attributes:
        shortcut: Its name.
        points_above: Percentage points of accuracy.
        auc_above: AUC.
    """

    shortcut: str
    points_above: float
    auc_above: float


@dataclass(frozen=True)
class Against:
    """A detector read against shortcuts and leaks.

    Attributes:
        name: The detector's.
        whole: On all images that it was asked about.
        without_leaks: Without the images that also stand outside of what it was asked about, by themselves or by their group;
            None where there is none.
        n_leaked: How many those are.
        sample: On the very images of the shortcuts, half of them fake.
        margins: Above each row of the table, in its order.
        best_shortcut: Name of the one with the highest accuracy.
        points_above: Percentage points of accuracy above that one.
        auc_above: AUC above that of the shortcut with the highest AUC.
    """

    name: str
    whole: Score
    without_leaks: Score | None
    n_leaked: int
    sample: Score
    margins: tuple[Margin, ...]
    best_shortcut: str
    points_above: float
    auc_above: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class AuditReport:
    """One audit of one set of data.

    Attributes:
        data: Where the images came from, in words.
        note: A sentence that must not be missed, such as that the data are simulated; empty otherwise.
        info: Counts.
        findings: The worst first.
        shortcuts: In the order of the table; empty where there are too few images.
        measured_on: On which images the table's first number was measured, in words.
        detector: Read against all this; None if none was given.
        repeats: All duplicates, listed and counted, and what they do to the detector's score.
        files: Such as "colour mode" -> word -> {"real": n, "fake": n}; the most frequent words.
        paths: Path of every image that a finding shows, by its position.
        seed: Of every draw.
        command: What made this.
        date: When, in ISO 8601.
        environment: Versions and hardware.
        caveats: Why the detector's numbers may be too good.
    """

    data: str
    note: str
    info: Info
    findings: tuple[Finding, ...]
    shortcuts: tuple[Shortcut, ...]
    measured_on: str
    detector: Against | None
    repeats: Repeats
    files: Mapping[str, Mapping[str, Mapping[str, int]]]
    paths: Mapping[int, str]
    seed: int = 0
    command: str = ""
    date: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each severity, the worst first."""
        return {severity: sum(found.severity == severity for found in self.findings) for severity in SEVERITIES}

    @property
    def table(self) -> tuple[Shortcut, ...]:
        """The shortcuts proper, without the control."""
        return tuple(shortcut for shortcut in self.shortcuts if shortcut.kind != CONTROL)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, ready for JSON; pictures are left out."""
        return {
            "data": self.data,
            "note": self.note,
            "counts": self.counts,
            "findings": [self._finding(found) for found in self.findings],
            "shortcuts": [shortcut.to_dict() for shortcut in self.shortcuts],
            "measured_on": self.measured_on,
            "detector": self.detector.to_dict() if self.detector else None,
            "duplicate_pairs": self.repeats.n_pairs,
            "duplicates": self.repeats.to_dict(),
            "files": {name: {word: dict(counts) for word, counts in words.items()} for name, words in self.files.items()},
            "info": self.info.to_dict(),
            "seed": self.seed,
            "caveats": list(self.caveats),
            "command": self.command,
            "date": self.date,
            "environment": dict(self.environment),
        }

    def _finding(self, found: Finding) -> dict[str, Any]:
        plain = {name: getattr(found, name) for name in ("kind", "severity", "title", "what", "todo", "caption")}
        pairs = [
            {"first": self.paths[pair.first], "second": self.paths[pair.second], "kind": pair.kind, "change": pair.change}
            for pair in found.pairs
        ]
        return {**plain, "numbers": dict(found.numbers), "pairs": pairs}
