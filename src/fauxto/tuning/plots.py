"""Two pictures of a study: a heat map over two parameters, and all parameters as parallel coordinates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from fauxto.runs import write_whole
from fauxto.tuning.space import Range, TuneConfig
from fauxto.tuning.study import TrialRow

_COLOURS = "viridis_r"


def heatmap_axes(tune: TuneConfig) -> tuple[str, str]:
    """Return which parameters go down and across: batch size and learning rate where both vary, else the first two.

    With one parameter the first name is empty.
    """
    names = list(tune.search)
    if len(names) == 1:
        return "", names[0]
    if {"batch_size", "learning_rate"} <= set(names):
        return "batch_size", "learning_rate"
    return names[0], names[1]


def draw_heatmap(path: Path, tune: TuneConfig, rows: list[TrialRow]) -> None:
    """Draw validation loss over two parameters; colour and numbers of a cell are its best trial's.

    A parameter with a range has no cells: the trials are then drawn as points, coloured the same way.
    """
    from matplotlib.figure import Figure

    down, across = heatmap_axes(tune)
    wanted = [tune.search[name] for name in (down, across) if name]
    figure = Figure(figsize=(2.5 + 1.4 * _n_cells(wanted[-1]), 2.5 + 0.9 * _n_cells(wanted[0])), layout="constrained")
    axes = figure.subplots()
    has_cells = not any(isinstance(one, Range) for one in wanted)
    draw = _draw_cells if has_cells else _draw_points
    draw(axes, tune, rows, down, across)
    best_over = ", best over the other parameters" if has_cells and len(tune.search) > 2 else ""
    axes.set_title(f"validation loss (best epoch{best_over})\nand validation accuracy")
    write_whole(path, lambda part: figure.savefig(part, dpi=120, format="png"))


def cells(tune: TuneConfig, rows: list[TrialRow]) -> tuple[np.ndarray, np.ndarray]:
    """Return what stands in the heat map.

    Returns:
        Validation losses, float64 (n_down, n_across), NaN where no trial is complete; and the texts, same shape.
    """
    down, across = heatmap_axes(tune)
    downs, acrosses = _values(tune, down), _values(tune, across)
    losses = np.full((len(downs), len(acrosses)), np.nan)
    texts = np.full(losses.shape, "", dtype=object)
    order = {"complete": 0, "pruned": 1, "failed": 2, "running": 3}
    # The best trial of a cell is written last, over the others.
    for row in sorted(rows, key=lambda row: (order[row.state], row.validation_loss or 0.0), reverse=True):
        if row.values[across] is None:
            continue  # another process has only just begun it
        at = (downs.index(row.values[down]) if down else 0, acrosses.index(row.values[across]))
        texts[at] = _cell_text(row)
        losses[at] = row.validation_loss if row.state == "complete" else np.nan
    return losses, texts


def draw_parallel(path: Path, tune: TuneConfig, rows: list[TrialRow]) -> None:
    """Draw each trial as a line through its parameters to its validation loss; pruned trials are grey and dashed."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    shown = [(row, row.validation_loss) for row in rows if row.validation_loss is not None]
    complete = [loss for row, loss in shown if row.state == "complete"]
    low, high = min(complete), max(complete)
    figure = Figure(figsize=(3 + 2 * len(tune.search), 5), layout="constrained")
    axes = figure.subplots()
    for row, loss in shown:
        heights = [_height(tune.search[key], value) for key, value in row.values.items()]
        is_complete = row.state == "complete"
        share = _share(loss, low, high)
        colour = colormaps[_COLOURS](share) if is_complete else "grey"
        # A pruned trial ends above the scale when it was worse than every complete one.
        axes.plot([*heights, min(share, 1.08)], color=colour, linestyle="-" if is_complete else ":", alpha=0.8)
    _label_parallel(axes, tune, low, high)
    write_whole(path, lambda part: figure.savefig(part, dpi=120, format="png"))


def _draw_cells(axes: Any, tune: TuneConfig, rows: list[TrialRow], down: str, across: str) -> None:
    import seaborn

    losses, texts = cells(tune, rows)
    labels = {"xticklabels": _names(_values(tune, across)), "yticklabels": _names(_values(tune, down)) if down else False}
    axes.set_facecolor("lightgrey")  # cells without a complete trial
    seaborn.heatmap(losses, ax=axes, cmap=_COLOURS, linewidths=1, cbar_kws={"label": "validation loss"}, **labels)
    for (y, x), text in np.ndenumerate(texts):
        dark = not math.isnan(losses[y, x]) and _share(losses[y, x], np.nanmin(losses), np.nanmax(losses)) > 0.5
        axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    axes.set(xlabel=across, ylabel=down)


def _draw_points(axes: Any, tune: TuneConfig, rows: list[TrialRow], down: str, across: str) -> None:
    complete = [row for row in rows if row.state == "complete"]
    others = [row for row in rows if row.state != "complete" and row.values[across] is not None]
    axes.margins(0.15)
    if others:
        axes.scatter(*_positions(tune, others, down, across), marker="x", color="grey", label="pruned or failed")
        axes.legend()
    losses = [row.validation_loss for row in complete]
    points = axes.scatter(*_positions(tune, complete, down, across), c=losses, cmap=_COLOURS, s=60)
    for row, x, y in zip(complete, *_positions(tune, complete, down, across), strict=True):
        axes.annotate(_cell_text(row), (x, y), textcoords="offset points", xytext=(6, 4), fontsize=7)
    for side, key in (("y", down), ("x", across)):
        _scale(axes, side, tune.search.get(key), _names(_values(tune, key)))
    axes.figure.colorbar(points, ax=axes, label="validation loss")
    axes.set(xlabel=across, ylabel=down)


def _scale(axes: Any, side: str, wanted: Any, names: list[str]) -> None:
    if isinstance(wanted, Range):
        axes.set(**{f"{side}scale": "log" if wanted.log else "linear", f"{side}lim": (wanted.low, wanted.high)})
    else:
        axes.set(**{f"{side}ticks": range(len(names)), f"{side}ticklabels": names})


def _positions(tune: TuneConfig, rows: list[TrialRow], down: str, across: str) -> tuple[list[float], list[float]]:
    def place(row: TrialRow, key: str) -> float:
        if not key:
            return 0.0
        is_range = isinstance(tune.search[key], Range)
        return float(row.values[key] if is_range else _values(tune, key).index(row.values[key]))

    return [place(row, across) for row in rows], [place(row, down) for row in rows]


def _cell_text(row: TrialRow) -> str:
    if row.validation_loss is None or row.state == "failed":
        return row.state
    numbers = f"{row.validation_loss:.4f}\n{row.validation_accuracy:.2%}"
    return numbers if row.state == "complete" else f"{row.state}, epoch {row.n_epochs}\n{numbers}"


def _label_parallel(axes: Any, tune: TuneConfig, low: float, high: float) -> None:
    for x, wanted in enumerate(tune.search.values()):
        axes.axvline(x, color="black", linewidth=0.8)
        values = _range_ticks(wanted) if isinstance(wanted, Range) else list(wanted)
        for value, name in zip(values, _names(values), strict=True):
            box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
            axes.text(x - 0.03, _height(wanted, value), name, ha="right", va="center", fontsize=9, bbox=box)
    last = len(tune.search)
    axes.axvline(last, color="black", linewidth=0.8)
    for share in (0.0, 0.5, 1.0):
        axes.text(last + 0.03, share, f"{low + share * (high - low):.4f}", ha="left", va="center", fontsize=9)
    axes.set_xticks(range(last + 1), [*tune.search, "validation loss"])
    axes.set(yticks=[], xlim=(-0.5, last + 0.5), ylim=(-0.05, 1.12), title="low and bright is good, dotted was ended early")
    axes.spines[:].set_visible(False)


def _range_ticks(wanted: Range) -> list[float]:
    middle = math.sqrt(wanted.low * wanted.high) if wanted.log else (wanted.low + wanted.high) / 2
    return [wanted.low, middle, wanted.high]


def _height(wanted: Any, value: Any) -> float:
    """Return where a value stands on its axis, in [0, 1]."""
    if not isinstance(wanted, Range):
        return (list(wanted).index(value) + 0.5) / len(wanted)
    if wanted.log:
        return _share(math.log(value), math.log(wanted.low), math.log(wanted.high))
    return _share(value, wanted.low, wanted.high)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.0


def _n_cells(wanted: Any) -> int:
    return 5 if isinstance(wanted, Range) else len(wanted)


def _values(tune: TuneConfig, key: str) -> list[Any]:
    """Return a listed parameter's values, numbers in rising order; of a range both ends and the middle."""
    wanted = tune.search.get(key, ("",))
    if isinstance(wanted, Range):
        return _range_ticks(wanted)
    return sorted(wanted) if all(isinstance(value, (int, float)) for value in wanted) else list(wanted)


def _names(values: list[Any]) -> list[str]:
    return [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
