"""The report's pictures: each drawn once for a file (PNG) and once for the page (SVG in the page's own colours)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxto.errors import missing_extra
from fauxto.metrics import cumulative_counts
from fauxto.report.contents import Column, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PNG_DPI = 180
_SIZE, _SIZES = (4.8, 3.9), {"verdicts": (7.2, 2.2)}  # in inches
_ROOM_FOR_TEXT = 8.0  # in % of a bar's length
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "none",  # text stays text: it takes the page's font, and can be read aloud and searched
    "svg.hashsalt": "fauxto",
}


@dataclass(frozen=True)
class Palette:
    """Colours of one drawing, as matplotlib takes them."""

    ink: str
    faint: str
    paper: str
    real: str
    fake: str
    unsure: str


Draw = Callable[[Any, Palette], None]  # matplotlib's axes, colours
PNG_PALETTE = Palette(ink="#1c2430", faint="#d5dae1", paper="#ffffff", real="#1f78b4", fake="#d1495b", unsure="#9a958a")
# Stand-ins, which the SVG exchanges for the page's variables, so that one drawing fits light and dark.
_SVG_PALETTE = Palette(ink="#010203", faint="#010204", paper="none", real="#010205", fake="#010206", unsure="#010207")
_VARIABLES = {
    "#010203": "var(--ink)", "#010204": "var(--faint)", "#010205": "var(--real)", "#010206": "var(--fake)",
    "#010207": "var(--unsure)",
}  # fmt: skip


def roc(axes: Axes, report: Report, palette: Palette) -> None:
    """Draw the share of fakes found over the share of false alarms, one curve per column, the card's threshold as a dot."""
    for column, style in zip(report.columns, _styles(), strict=False):
        n_real, n_fake = _curve(report, column)
        if n_real[-1] and n_fake[-1]:
            share = _short(column.metrics["roc_auc"].value)
            line = (np.r_[0, n_real / n_real[-1]], np.r_[0, n_fake / n_fake[-1]])
            colour = palette.fake if column is report.columns[0] else palette.ink
            axes.plot(*line, color=colour, label=f"{column.name}: AUC {share}", clip_on=False, **style)
    axes.plot([0, 1], [0, 1], color=palette.ink, linewidth=0.8, linestyle=":", label="guessing")
    _dot(axes, report, palette, "false_alarm_rate", "recall")
    axes.set(xlabel="photographs called fake (false alarms)", ylabel="fakes found (recall)", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower right", labelcolor=palette.ink)


def precision_recall(axes: Axes, report: Report, palette: Palette) -> None:
    """Draw precision over recall, one curve per column, the card's threshold as a dot."""
    for column, style in zip(report.columns, _styles(), strict=False):
        n_real, n_fake = _curve(report, column)
        if n_real[-1] and n_fake[-1]:
            share = _short(column.metrics["average_precision"].value)
            right = n_fake / (n_fake + n_real)
            line = (np.r_[0, n_fake / n_fake[-1]], np.r_[right[0], right])
            colour = palette.fake if column is report.columns[0] else palette.ink
            axes.plot(*line, color=colour, label=f"{column.name}: AP {share}", drawstyle="steps-pre", **style)
    _dot(axes, report, palette, "recall", "precision")
    axes.set(xlabel="fakes found (recall)", ylabel="right among those called fake (precision)", xlim=(0, 1.02), ylim=(0, 1.02))
    if axes.get_legend_handles_labels()[0]:  # a curve needs both classes
        axes.legend(loc="lower left", labelcolor=palette.ink)


def reliability(axes: Axes, report: Report, palette: Palette) -> None:
    """Draw what was true over what was said, bin by bin, with Wilson intervals."""
    bins = report.columns[0].reliability
    said = np.array([item.mean_p_fake for item in bins])
    true = np.array([item.share_fake.value for item in bins], float)
    ends = np.array([(item.share_fake.low, item.share_fake.high) for item in bins], float).T
    axes.plot([0, 1], [0, 1], color=palette.ink, linewidth=0.8, linestyle=":", label="says what is true")
    axes.errorbar(said, true, yerr=np.abs(ends - true), color=palette.fake, marker="o", markersize=5, label="this detector",
                  elinewidth=1.2, clip_on=False)  # fmt: skip
    axes.set(xlabel="what it said (mean p_fake)", ylabel="what was true (share of fakes)", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper left", labelcolor=palette.ink)


def histogram(axes: Axes, report: Report, palette: Palette) -> None:
    """Draw how often each p_fake was said, by what was true; the counts grow tenfold from line to line."""
    scores, members = report.scores, report.columns[0].members
    p_fake, is_fake = scores.p_fake[members], scores.is_fake[members]
    edges = np.linspace(0, 1, 41)
    for chosen, name, colour in ((~is_fake, "photographs", palette.real), (is_fake, "AI-generated", palette.fake)):
        counts, _ = np.histogram(p_fake[chosen], edges)
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.3, linewidth=0)
        axes.stairs(counts, edges, color=colour, linewidth=1.6, label=name)
    axes.axvline(report.threshold, color=palette.ink, linewidth=1, linestyle="--", label=f"threshold {report.threshold:g}")
    axes.set_yscale("symlog", linthresh=1)
    axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.set(xlabel="p_fake", ylabel="images", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, labelcolor=palette.ink, columnspacing=1.2, handlelength=1.4
    )


def confusion(axes: Axes, report: Report, palette: Palette) -> None:
    """Draw the four counts; a cell is darker the larger its share of its row, which is one class."""
    column = report.columns[0]
    rows = (("photograph", ("tn", "fp"), column.n_real), ("AI-generated", ("fn", "tp"), column.n_fake))
    for y, (_, cells, n) in enumerate(rows):
        for x, cell in enumerate(cells):
            count = column.confusion[cell]
            colour = palette.real if x == y else palette.fake
            axes.add_patch(_cell(x, y, colour, share := (count.value or 0) / max(n, 1)))
            axes.text(x, y - 0.06, f"{count.value or 0:,.0f}", ha="center", va="center", fontsize=17, color=palette.ink)
            axes.text(x, y + 0.16, f"{100 * share:.1f} %", ha="center", va="center", fontsize=9, color=palette.ink)
            ends = f"{count.low or 0:,.0f} to {count.high or 0:,.0f}"
            axes.text(x, y + 0.29, ends, ha="center", va="center", fontsize=8, color=palette.ink)
    axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), xticks=[0, 1], yticks=[0, 1], xlabel="what it said", ylabel="what it is")
    axes.set_xticklabels(["photograph", "AI-generated"])
    axes.set_yticklabels([name for name, _, _ in rows], rotation=90, va="center")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def verdicts(axes: Axes, report: Report, palette: Palette) -> None:
    """Draw what was said of photographs and of fakes as one bar each; the shares of a bar add up to 100 %."""
    rows = [row for row in report.columns[0].verdicts.classes if row.n]
    left = np.zeros(len(rows))
    for said, colour in (("real", palette.real), ("unsure", palette.unsure), ("fake", palette.fake)):
        share = np.array([100 * getattr(row, said) / row.n for row in rows])
        axes.barh(range(len(rows)), share, left=left, height=0.62, color=colour, alpha=0.55, linewidth=0, label=f'said "{said}"')
        for y, (start, width) in enumerate(zip(left, share, strict=True)):
            if width >= _ROOM_FOR_TEXT:
                axes.text(start + width / 2, y, f"{width:.1f} %", ha="center", va="center", color=palette.ink)
        left = left + share
    names = {"real": "photographs", "fake": "AI-generated"}
    axes.set(xlim=(0, 100), xlabel="% of the images of a class", yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticklabels([names[row.label] for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, labelcolor=palette.ink, columnspacing=1.2, handlelength=1)


PLOTS: dict[str, Callable[[Any, Report, Palette], None]] = {
    "verdicts": verdicts,
    "confusion": confusion,
    "histogram": histogram,
    "roc": roc,
    "precision_recall": precision_recall,
    "reliability": reliability,
}


def to_png(name: str, report: Report) -> bytes:
    """Return one picture of ``PLOTS`` as PNG on white."""
    return png_of(lambda axes, palette: PLOTS[name](axes, report, palette), _SIZES.get(name, _SIZE))


def png_of(draw: Draw, size: tuple[float, float]) -> bytes:
    """Return a drawing as PNG on white; the size is in inches."""
    with _figure(size, PNG_PALETTE) as (figure, axes):
        draw(axes, PNG_PALETTE)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=PNG_DPI, metadata={"Software": None})
        return stream.getvalue()


def to_svg(name: str, report: Report, *, description: str) -> str:
    """Return one picture of ``PLOTS`` as an SVG element for inside of a page; colours are the page's variables.

    Args:
        name: A key of ``PLOTS``.
        report: What to draw.
        description: Read aloud instead of the picture.
    """
    size = _SIZES.get(name, _SIZE)
    return svg_of(lambda axes, palette: PLOTS[name](axes, report, palette), size, prefix=name, description=description)


def svg_of(draw: Draw, size: tuple[float, float], *, prefix: str, description: str) -> str:
    """Return a drawing as an SVG element, as ``to_svg`` does.

    Args:
        draw: Called with empty axes and the palette.
        size: In inches.
        prefix: Of the ids inside, which must not stand twice in a page.
        description: Read aloud instead of the picture.
    """
    with _figure(size, _SVG_PALETTE) as (figure, axes):
        draw(axes, _SVG_PALETTE)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _inline(stream.getvalue(), prefix=prefix, description=description)


def _inline(svg: str, *, prefix: str, description: str) -> str:
    """Turn a stand-alone SVG into an element: no XML head, no namespaces, ids of its own, the page's colours."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|width|height|version)="[^"]*"', "", svg[: svg.index(">")]) + svg[svg.index(">") :]
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    label = escape(description, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


@contextmanager
def _figure(size: tuple[float, float], palette: Palette) -> Iterator[tuple[Figure, Axes]]:
    """Give an empty figure without touching pyplot; the style holds only inside, since matplotlib reads it while drawing."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("train", "matplotlib") from error
    style: Any = {**_STYLE, "figure.facecolor": palette.paper, "axes.facecolor": palette.paper, "grid.color": palette.faint}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), palette.ink)
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots()


def _styles() -> list[dict[str, Any]]:
    """The headline column is a full line, the others are thin and broken."""
    return [
        {},
        {"linestyle": "--", "linewidth": 1.2},
        {"linestyle": ":", "linewidth": 1.2},
        {"linestyle": "-.", "linewidth": 1.2},
    ]


def _curve(report: Report, column: Column) -> tuple[np.ndarray, np.ndarray]:
    return cumulative_counts(report.scores.is_fake[column.members], report.scores.p_fake[column.members])


def _dot(axes: Axes, report: Report, palette: Palette, x: str, y: str) -> None:
    at = [report.columns[0].metrics[name].value for name in (x, y)]
    if None not in at:
        label = f"threshold {report.threshold:g}"
        axes.plot(*at, "o", color=palette.ink, markersize=7, label=label, clip_on=False, zorder=5)  # type: ignore[arg-type]


def _cell(x: int, y: int, colour: str, share: float) -> Any:
    from matplotlib.patches import FancyBboxPatch

    box = "round,pad=0,rounding_size=0.06"
    # Never so strong that the ink on it is hard to read, in light or dark.
    return FancyBboxPatch((x - 0.47, y - 0.47), 0.94, 0.94, boxstyle=box, facecolor=colour, alpha=0.08 + 0.4 * share, linewidth=0)


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
