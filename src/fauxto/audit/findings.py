"""What an audit has to say: one finding each, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fauxto.audit.duplicates import Pair

SEVERITIES = ("leak", "shortcut", "warning", "note")  # the worst first


@dataclass(frozen=True)
class Finding:
    """One thing that a reader should know before believing a number.

    Attributes:
        kind: Which check says so, one word for programs, such as "test-in-train".
        severity: "leak": test images are known from training. "shortcut": real and fake can be told by what is no trace of
            generation. "warning": read the numbers with care. "note": good to know.
        title: One line, without a full stop.
        what: What was found, in sentences.
        todo: What to do about it.
        numbers: For programs.
        pairs: Images that show it.
        pictures: PNG files: one for each of ``pairs``, or without pairs what else shows it.
        caption: How the pictures were made; empty without pictures.
    """

    kind: str
    severity: str
    title: str
    what: str
    todo: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    pictures: tuple[bytes, ...] = ()
    caption: str = ""


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by severity; within one, the order stays."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def at_least(findings: Sequence[Finding], severity: str) -> tuple[Finding, ...]:
    """Return the findings that are as bad as ``severity`` or worse.

    Example:
        >>> found = [Finding("x", "warning", "", "", ""), Finding("y", "leak", "", "", "")]
        >>> [finding.kind for finding in at_least(found, "shortcut")]
        ['y']
    """
    limit = SEVERITIES.index(severity)
    return tuple(finding for finding in findings if SEVERITIES.index(finding.severity) <= limit)
