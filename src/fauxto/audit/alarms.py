"""When a shortcut is an alarm: the rules, in one place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fauxto.audit.cast import Cast
from fauxto.audit.features import GRID
from fauxto.audit.findings import Finding
from fauxto.audit.positions import PositionMap, map_caption, map_picture
from fauxto.audit.shortcuts import ALIKE, CONTAINER, CONTENT, FILE_SIZE, Score, Shortcut

# The lower end of the AUC's 95 % interval must lie above this; 0.5 is chance. On data without a shortcut that takes chance more
# than 3 standard errors and the margin (docs/audit.md has the measured rate).
CLEARLY_ABOVE_CHANCE = 0.55
# File sizes follow the contents: a picture with more detail takes more bytes. Only what goes beyond the sizes that the same
# pictures have when one program saves them alike, by this much of AUC, is a shortcut.
BEYOND_CONTENT = 0.05
_TODO = {
    FILE_SIZE: "Save all images again by one program with one setting.",
    "image size": "Give both classes the same sizes, by cropping and never by resizing one of them; where a detector resizes, "
    "the size leaves traces in the pixels.",
    "format and tables": "Save all images again by one program with one setting (same format, quality and subsampling).",
    "metadata": "Strip the metadata of all images, or never let a detector see the file.",
}


def shortcut_findings(
    shortcuts: Sequence[Shortcut], cast: Cast | None, maps: Sequence[tuple[str, PositionMap]]
) -> Iterator[Finding]:
    """Say which shortcuts are alarms.

    Args:
        shortcuts: As measured.
        cast: As found; None if it was not looked for.
        maps: What was compared place by place (such as "the whole picture"), and what came of it.
    """
    by_name = {shortcut.name: shortcut for shortcut in shortcuts}
    for shortcut in shortcuts:
        if shortcut.kind == CONTAINER and _is_alarm(shortcut, by_name):
            yield _container(shortcut)
    if cast is not None and cast.is_sure:
        yield _cast(cast)
    yield from (_stamp(where, found) for where, found in maps if found.n_hits)
    told = [shortcut for shortcut in shortcuts if shortcut.kind == CONTENT and _clear(shortcut.headline)]
    if told:
        yield _content(told)


def _is_alarm(shortcut: Shortcut, by_name: dict[str, Shortcut]) -> bool:
    found = shortcut.headline
    if shortcut.name != FILE_SIZE or ALIKE not in by_name:
        return _clear(found)
    alike = by_name[ALIKE].headline.roc_auc.high or 0.0
    return _clear(found) and (found.roc_auc.low or 0.0) > alike + BEYOND_CONTENT


def _clear(score: Score) -> bool:
    return score.roc_auc.low is not None and score.roc_auc.low > CLEARLY_ABOVE_CHANCE


def _container(shortcut: Shortcut) -> Finding:
    found = shortcut.headline
    return Finding(
        f"shortcut-{shortcut.name.replace(' ', '-')}", "shortcut", f"{_percent(found)} right from {shortcut.name} alone",
        f"From {shortcut.what} and nothing else, {_percent(found)} of the images are told right (AUC {_auc(found)}). Whatever a "
        "detector reaches here, part of it may be this.",
        _TODO[shortcut.name], _numbers(found),
    )  # fmt: skip


def _cast(cast: Cast) -> Finding:
    return Finding(
        "colour-cast", "shortcut", "one class has a colour cast",
        f"What is grey in real images is not grey in fake ones: the most frequent tint differs by {cast.red:+d} grey levels "
        f"in red and {cast.blue:+d} in blue, against green, whatever the pictures show.",
        "Find the step that only one class went through (white balance, colour profile, a lossy conversion) and undo it, or "
        "treat both classes alike.",
        {"red": cast.red, "blue": cast.blue},
    )  # fmt: skip


def _stamp(where: str, found: PositionMap) -> Finding:
    left, top, right, bottom = found.box
    return Finding(
        "stamp", "shortcut", f"the classes differ at one place of {where}",
        f"At {found.n_hits:,} of {GRID * GRID:,} places of {where}, columns {left} to {right - 1} and rows {top} to {bottom - 1} "
        f"of a grid of {GRID} x {GRID}, real and fake differ by what does not follow from the pictures around it: a stamp, a "
        "logo, a border, or what a crop left.",
        "Look at the map. Crop the place away in both classes, or take the images before they were stamped.",
        {"n_places": found.n_hits, "left": left, "top": top, "right": right, "bottom": bottom,
         "effect": float(found.effect.max())},
        pictures=(map_picture(found),), caption=map_caption(found, where),
    )  # fmt: skip


def _content(told: Sequence[Shortcut]) -> Finding:
    best = max(told, key=lambda shortcut: shortcut.headline.roc_auc.value or 0.0)
    rows = ", ".join(f"{shortcut.name} {_percent(shortcut.headline)} (AUC {_auc(shortcut.headline)})" for shortcut in told)
    return Finding(
        "simple-statistics", "warning", f"simple statistics tell {_percent(best.headline)} right",
        f"Without seeing what a picture shows: {rows}. These are partly honest traces of a generator, partly the choice of "
        "pictures; a detector is worth what it reaches beyond them.",
        "Read every score against the best of these rows, and measure on other generators and after re-encoding before you "
        "believe it.",
        {shortcut.name: _numbers(shortcut.headline) for shortcut in told},
    )  # fmt: skip


def _numbers(found: Score) -> dict[str, float | None]:
    return {"accuracy": found.accuracy.value, "roc_auc": found.roc_auc.value, "roc_auc_low": found.roc_auc.low}


def _percent(found: Score) -> str:
    return f"{100 * (found.accuracy.value or 0):.1f} %"


def _auc(found: Score) -> str:
    return f"{found.roc_auc.value or 0:.3f}"
