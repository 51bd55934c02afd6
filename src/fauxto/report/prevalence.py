"""What the report says of the user's own share of fakes: a table and a picture, from the error rates at each threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxto.metrics import AtShare, Confusion, Interval, at_share, confusion
from fauxto.metrics.prevalence import SHARES
from fauxto.report.plots import Palette, png_of, svg_of
from fauxto.report.tables import text
from fauxto.verdicts import points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fauxto.report.contents import Report

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
        counts: What it did on the images of the report's headline column.
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
    """Return the report's threshold and the card's points at the usual shares and the user's; none where a class is missing."""
    head = report.columns[0]
    if not head.n_real or not head.n_fake:
        return ()
    is_fake, p_fake = report.scores.is_fake[head.members], report.scores.p_fake[head.members]
    shares = sorted({*SHARES, *([report.prevalence] if report.prevalence is not None else [])})
    named = {name: float(point["threshold"]) for name, point in points_of(report.card).items() if name != report.operating_point}
    found = []
    for name, threshold in {report.operating_point: report.threshold, **named}.items():
        counts = confusion(is_fake, p_fake, threshold=threshold)
        rows = tuple(at_share(counts, share, level=report.level) for share in shares)
        found.append(PointShares(name, threshold, counts, rows))
    return tuple(found)


def prevalence_context(report: Report) -> dict[str, Any] | None:
    """Return what the template needs; None where a class is missing."""
    points = prevalence_of(report)
    if not points:
        return None
    head = report.columns[0]
    level = f"{100 * report.level:g} %"
    caption = (
        f"Of the images called fake, the share that is fake, over the share of fakes among all. From the error rates on "
        f"{head.n:,} images ({head.n_real:,} real, {head.n_fake:,} fake; {head.name}); bands: {level} intervals (Donner and Zou)."
    )
    return {
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
