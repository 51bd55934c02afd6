"""A comparison's files: compare.json, compare.csv and, last, compare.html, one page that needs nothing else."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fauxto.metrics import Interval
from fauxto.report.contents import Mistake
from fauxto.report.page import thumbnail
from fauxto.report.plots import Palette, svg_of
from fauxto.report.rendering import rendered
from fauxto.report.tables import METRICS, text
from fauxto.report.versus import Comparison, Contestant, Disagreement, Pair
from fauxto.runs import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = ("accuracy", "balanced_accuracy", "roc_auc", "tpr_at_fpr1", "expected_calibration_error", "brier_score")
DRAWN = {"accuracy": "Accuracy", "roc_auc": "ROC AUC", "tpr_at_fpr1": "Recall at 1 % false alarms"}
LABELS = {name: (label, unit) for name, (label, _, unit) in METRICS.items()} | {"brier_score": ("Brier score", "")}
_ROW, _HEAD = 0.27, 0.75  # inches


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write a comparison; every file is whole, and those of an older one in the same folder are replaced.

    Returns:
        The page, ``folder / "compare.html"``.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed; nothing was written.
        DiskFullError: There was no room.
    """
    page = to_html(comparison)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "compare.json", json.dumps(comparison.to_dict(), indent=2, allow_nan=False) + "\n")
    write_text(folder / "compare.csv", to_csv(comparison))
    write_text(folder / "compare.html", page)
    return folder / "compare.html"


def to_csv(comparison: Comparison) -> str:
    """Return one line per detector: its numbers with their ends, and its pair with the first detector."""
    stream = io.StringIO()
    ends = [f"{name}{end}" for name in SHOWN for end in ("", "_low", "_high")]
    against = ("only_first_right", "only_this_right", "p_value", "p_holm")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["detector", "threshold", "ms_per_image", *ends, *against])
    with_first = {pair.other: pair for pair in comparison.pairs if pair.own == comparison.contestants[0].name}
    for one in comparison.contestants:
        metrics = [one.metrics[name] for name in SHOWN]
        numbers = [_plain(end) for metric in metrics for end in (metric.value, metric.low, metric.high)]
        pair = with_first.get(one.name)
        last = [pair.test.only_own_right, pair.test.only_other_right, pair.test.p_value, pair.p_holm] if pair else [""] * 4
        writer.writerow([one.name, one.answers.threshold, _plain(one.ms_per_image), *numbers, *last])
    return stream.getvalue()


def to_html(comparison: Comparison) -> str:
    """Return the page; every text that comes from data is escaped.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    return rendered("compare.html", **_context(comparison))


def draw(axes: Axes, palette: Palette, *, comparison: Comparison, name: str) -> None:
    """Draw a number of every detector with its interval; the first detector in another colour."""
    ranked = sorted(comparison.contestants, key=lambda one: -(one.metrics[name].value or 0.0))
    for y, one in enumerate(ranked):
        number, colour = one.metrics[name], palette.fake if one is comparison.contestants[0] else palette.real
        if number.low is not None and number.high is not None:
            axes.plot([100 * number.low, 100 * number.high], [y, y], color=colour, linewidth=1.4)
        axes.plot([100 * (number.value or 0.0)], [y], "o", color=colour, markersize=5)
    axes.set(yticks=range(len(ranked)), ylim=(len(ranked) - 0.4, -0.6), xlabel="%")
    axes.set_yticklabels([_short(one.name) for one in ranked])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def short_p(p_value: float) -> str:
    """Return a p-value for reading.

    Example:
        >>> short_p(0.0123), short_p(3e-12), short_p(0.0)
        ('0.012', '3e-12', '< 1e-99')
    """
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.0e}" if p_value > 1e-99 else "< 1e-99"


def _context(comparison: Comparison) -> dict[str, Any]:
    level = f"{100 * comparison.level:g} %"
    return {
        "comparison": comparison,
        "level": level,
        "is_simulated": "simulat" in comparison.note.lower(),
        "heads": [LABELS[name][0] for name in SHOWN],
        "rows": [_row(one) for one in comparison.contestants],
        "reasons": sorted({one.metrics[name].reason for one in comparison.contestants for name in SHOWN} - {""}),
        "pairs": [_pair(pair) for pair in comparison.pairs],
        "pair_reasons": sorted({number.reason for pair in comparison.pairs for number in pair.differences.values()} - {""}),
        "figures": [_figure(name, comparison, level) for name in DRAWN],
        "galleries": _galleries(comparison),
    }


def _row(one: Contestant) -> dict[str, Any]:
    cost = "" if one.ms_per_image is None else f"{one.ms_per_image:.2f}"
    cells = [text(one.metrics[name], LABELS[name][1]) for name in SHOWN]
    return {"name": one.name, "was_run": one.was_run, "threshold": f"{one.answers.threshold:.4g}", "cells": cells, "cost": cost}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "own": pair.own,
        "other": pair.other,
        "only": f"{pair.test.only_own_right:,} / {pair.test.only_other_right:,}",
        "p": short_p(pair.test.p_value),
        "p_holm": short_p(pair.p_holm),
        "cells": [_difference(pair.differences[name], LABELS[name][1]) for name in SHOWN],
    }


def _difference(number: Interval, unit: str) -> dict[str, str]:
    """Return a difference with its sign, in points where the number is in percent."""
    factor, digits = (100, 2) if unit == "%" else (1, 4)
    if number.value is None:
        return {"value": "none", "ends": ""}
    has_ends = number.low is not None and number.high is not None
    low, high = (f"{factor * (end or 0.0):+.{digits}f}".replace("-", "−") for end in (number.low, number.high))
    return {"value": f"{factor * number.value:+.{digits}f}".replace("-", "−"), "ends": f"{low} to {high}" if has_ends else ""}


def _figure(name: str, comparison: Comparison, level: str) -> dict[str, Any]:
    from markupsafe import Markup  # comes with jinja2

    caption = (
        f"{DRAWN[name]} of every detector on the same {comparison.n:,} images, with {level} intervals; the first stands out."
    )
    size = (4.8, _HEAD + _ROW * len(comparison.contestants))
    drawing = svg_of(partial(draw, comparison=comparison, name=name), size, prefix=f"versus-{name}", description=caption)
    # The drawing is made here from numbers, and matplotlib escapes the names in it.
    return {"name": name, "svg": Markup(drawing), "caption": caption}  # noqa: S704


def _galleries(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the disagreements by pair and by who is right."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for item in comparison.disagreements:
        found.setdefault((item.own, item.other, item.right), []).append(_picture(item))
    return [
        {"right": right, "wrong": other if right == own else own, "own": own, "other": other, "images": images}
        for (own, other, right), images in found.items()
    ]


def _picture(item: Disagreement) -> dict[str, Any]:
    shown = thumbnail(Mistake(item.path, item.label, item.p_own, item.image))
    other = thumbnail(Mistake(item.path, item.label, item.p_other, item.image))["p_fake"]
    return shown | {"p_own": shown["p_fake"], "p_other": other, "label": item.label}


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
