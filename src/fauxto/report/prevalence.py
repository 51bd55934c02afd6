"""What the report says of the user's own share of fakes: a table and a picture, from the error rates at each threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxto.metrics import AtShare, Confusion, Interval, at_share, confusion
from fauxto.metrics.prevalence import SHARES
from fauxto.report.contents import Report
from fauxto.report.generators import AS_IS
from fauxto.report.plots import Palette, png_of, svg_of
from fauxto.report.tables import text
from fauxto.verdicts import points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (7.2, 3.6)  # in inches
NAME = "prevalence"
_FROM, _TO, _STEPS = 5e-4, 0.5, 60
_STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class PointShares:
    """One threshold at several shares of fakes.

    Attributes:
        name: Of the operating point; empty for the report's own threshold.
        threshold: An image is called fake when ``p_fake >= threshold``.
        counts: What it did on the images of the report's headline column, or of its part on generators where that has
            photographs of other data.
        shares: One entry per share of fakes.
    """

    name: str
    threshold: float
    counts: Confusion
    shares: tuple[AtShare, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"name": self.name, "threshold": self.threshold, "shares": [share.to_dict() for share in self.shares]}


def prevalence_of(report: Report) -> tuple[PointShares, ...]:
    """Return the report's threshold and the card's points at the usual shares and the user's.

    Where the headline column lacks a class, the report's own threshold alone, by the photographs that its part on generators
    has of other data; none without such a part, for which ``why_none`` has the words.
    """
    shares = sorted({*SHARES, *([report.prevalence] if report.prevalence is not None else [])})
    found = []
    for name, threshold, counts in _counts(report):
        rows = tuple(at_share(counts, share, level=report.level) for share in shares)
        found.append(PointShares(name, threshold, counts, rows))
    return tuple(found)


def why_none(report: Report) -> str:
    """Return why there is nothing to say of other shares of fakes, and what to do; empty where there is.

    Example:
        >>> from types import SimpleNamespace
        >>> report = SimpleNamespace(columns=[SimpleNamespace(n_real=0, n_fake=5)], across=None, prevalence=None)
        >>> why_none(report).partition(":")[0]
        'What a verdict is worth at other shares of fakes cannot be given'
    """
    head = report.columns[0]
    if (head.n_real and head.n_fake) or report.across is not None:
        return ""
    where = "other shares of fakes" if report.prevalence is None else f"your share of {percent(report.prevalence)} fakes"
    missing, rate, other = (
        ("photograph", "false alarms", ", or with --by generator those of other data as --reals")
        if head.n_fake
        else ("fake image", "fakes found", "")
    )
    return (
        f"What a verdict is worth at {where} cannot be given: there is no {missing} among these images, so that their share of "
        f"{rate} is not known. Give data that hold some{other}."
    )


def source_of(report: Report) -> str:
    """Return in words on which images the error rates were measured."""
    head, across = report.columns[0], report.across
    if (head.n_real and head.n_fake) or across is None:
        return f"{head.n:,} images ({head.n_real:,} real, {head.n_fake:,} fake; {head.name})"
    how = "" if across.encode == AS_IS else f", all saved as {across.encode} first"
    return f"{head.n_fake:,} fakes ({head.name}) and {across.n_real:,} photographs of {across.reals}{how}"


def _counts(report: Report) -> list[tuple[str, float, Confusion]]:
    """Return name, threshold and counts of everything that has both error rates."""
    head = report.columns[0]
    if head.n_real and head.n_fake:
        is_fake, p_fake = report.scores.is_fake[head.members], report.scores.p_fake[head.members]
        points = {name: float(at["threshold"]) for name, at in points_of(report.card).items() if name != report.operating_point}
        thresholds = {report.operating_point: report.threshold, **points}
        return [(name, at, confusion(is_fake, p_fake, threshold=at)) for name, at in thresholds.items()]
    if report.across is None:
        return []
    own = report.across.rows[0]
    return [(report.operating_point, own.threshold, own.counts(report.across.n_real))]


def prevalence_context(report: Report) -> dict[str, Any]:
    """Return what the template needs; where a class is missing, why there is nothing."""
    points = prevalence_of(report)
    if not points:
        return {"why_none": why_none(report)}
    level = f"{100 * report.level:g} %"
    caption = (
        f"Of the images called fake, the share that is fake, over the share of fakes among all. From the error rates on "
        f"{source_of(report)}; bands: {level} intervals (Donner and Zou)."
    )
    return {
        "why_none": "",
        "source": source_of(report),
        "level": level,
        "points": [{"title": title(point), "rows": [_row(item, report.prevalence) for item in point.shares]} for point in points],
        "figure": _figure(points, report, caption),
        "own": [sentence(point, report) for point in points] if report.prevalence is not None else [],
    }


def picture_of(report: Report) -> dict[str, bytes]:
    """Return the picture as PNG by its name; none where a class is missing."""
    points = prevalence_of(report)
    return {NAME: png_of(partial(draw, points=points, level=report.level, own=report.prevalence), SIZE)} if points else {}


def draw(axes: Axes, palette: Palette, *, points: Sequence[PointShares], level: float, own: float | None = None) -> None:
    """Draw the predictive value of "fake" over the share of fakes, one line with a band for each threshold."""
    at = np.geomspace(_FROM, _TO, _STEPS)
    colours = (palette.fake, palette.real, palette.ink, palette.unsure)
    for number, point in enumerate(points[: len(_STYLES)]):
        found = [at_share(point.counts, float(share), level=level).ppv for share in at]
        if found[0].value is not None:
            value, low, high = (np.array([getattr(ppv, end) for ppv in found]) for end in ("value", "low", "high"))
            axes.plot(100 * at, 100 * value, color=colours[number], linestyle=_STYLES[number], label=title(point))
            axes.fill_between(100 * at, 100 * low, 100 * high, color=colours[number], alpha=0.15, linewidth=0)
    if own is not None and _FROM <= own <= _TO:
        axes.axvline(100 * own, color=palette.ink, linewidth=0.9, linestyle=":", label=f"yours: {percent(own)}")
    axes.set_xscale("log")
    ticks = [100 * share for share in SHARES]
    axes.set_xticks(ticks)
    axes.set_xticklabels([f"{tick:g} %" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="share of fakes among all images", ylabel="fake among those called fake, %", ylim=(0, 101))
    axes.set_xlim(100 * _FROM, 100 * _TO)
    if axes.get_legend_handles_labels()[0]:  # no line where nothing is called fake
        axes.legend(loc="lower right", labelcolor=palette.ink)


def title(point: PointShares) -> str:
    """Return what a threshold is called."""
    name = point.name or "the card's threshold"
    return f"{name}, p_fake ≥ {point.threshold:.4g}"


def percent(share: float) -> str:
    """Return a share as it is spoken.

    Example:
        >>> percent(0.001), percent(0.2)
        ('0.1 %', '20 %')
    """
    return f"{100 * share:.4g} %"


def sentence(point: PointShares, report: Report) -> str:
    """Return what the threshold means at the user's own share of fakes."""
    item = next(item for item in point.shares if item.share == report.prevalence)
    ppv = (
        "nothing would be called fake"
        if item.ppv.value is None
        else f"{text(item.ppv, '%')['value']} ({_ends(item.ppv)}) are fake"
    )
    return (
        f"At {title(point)}, with {percent(item.share)} fakes: of the images called fake, {ppv}; of 10,000 images, "
        f"{_count(item.false_alarms)} photographs are called fake and {_count(item.missed)} fakes are missed."
    )


def _figure(points: Sequence[PointShares], report: Report, caption: str) -> dict[str, Any]:
    from markupsafe import Markup  # comes with jinja2

    drawing = partial(draw, points=points, level=report.level, own=report.prevalence)
    # The drawing is made here from numbers, and matplotlib escapes the names in it.
    return {"name": NAME, "svg": Markup(svg_of(drawing, SIZE, prefix=NAME, description=caption)), "caption": caption}  # noqa: S704


def _row(item: AtShare, own: float | None) -> dict[str, Any]:
    counts = [{"value": _count(number), "ends": _count_ends(number), "reason": ""} for number in (item.false_alarms, item.missed)]
    return {
        "share": percent(item.share),
        "is_own": item.share == own,
        "cells": [text(item.ppv, "%"), *counts, text(item.npv, "%")],
    }


def _ends(number: Interval) -> str:
    return text(number, "%")["ends"]


def _count(number: Interval) -> str:
    return _rounded(number.value or 0.0)


def _count_ends(number: Interval) -> str:
    return f"{_rounded(number.low or 0.0)}–{_rounded(number.high or 0.0)}"


def _rounded(value: float) -> str:
    """Return a count; small ones keep a digit, so that a few tenths are not taken for none.

    Example:
        >>> _rounded(1234.5), _rounded(3.21), _rounded(0)
        ('1,234', '3.2', '0')
    """
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.2g}"
