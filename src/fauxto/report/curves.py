"""Pictures of changed images and of generators: curves over severity, heat maps, a line for each generator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxto.metrics import Interval
from fauxto.perturb import steps
from fauxto.perturb.suites import NEUTRAL
from fauxto.report.generators import AcrossGenerators, Row
from fauxto.report.plots import Draw, Palette, png_of
from fauxto.report.robustness import CHAINED, CLEAN, Changed, Condition, Robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_SIZE = (3.3, 2.6)  # in inches
_ROW, _HEAD, _WIDTH = 0.28, 0.75, 6.9  # inches of a heat map
FULL = 30.0  # points of loss at which a heat map's colour is full
# What a curve shows: number, whether 1 less it is shown, colour in the palette.
LINES = (("accuracy", False, "ink"), ("recall", False, "fake"), ("false_alarm_rate", True, "real"))
# What a heat map shows: heading, number, its sign where more is better.
_COLUMNS = (
    ("accuracy", "accuracy", 1),
    ("fakes\nfound", "recall", 1),
    ("photographs\nspared", "false_alarm_rate", -1),
    ("ROC\nAUC", "roc_auc", 1),
    ("calibration\nerror", "expected_calibration_error", -1),
    ("unsure", "unsure", -1),
)
_FALLING = ("jpeg", "jpeg444", "webp", "webp_fast", "crop", "crop_any")  # the smaller the severity, the more is lost
_BY_FACTOR = ("resize", "resize_any", "brightness", "contrast", "saturation")


def families(changed: Changed) -> dict[str, list[tuple[float, Condition]]]:
    """Return the perturbations of one step by kind, by rising severity, and the images as they came where one is neutral."""
    found: dict[str, list[tuple[float, Condition]]] = {}
    for item in changed.conditions:
        if CHAINED not in item.perturbation:
            ((kind, severity),) = steps(item.perturbation)
            found.setdefault(kind, []).append((severity, item))
    for kind, items in found.items():
        if kind in NEUTRAL and NEUTRAL[kind] not in dict(items):
            items.append((NEUTRAL[kind], changed.clean))
        items.sort(key=lambda pair: pair[0])
    return found


def curve(axes: Axes, palette: Palette, *, kind: str, changed: Changed, floor: float) -> None:
    """Draw accuracy, fakes found and photographs spared over the severity of one kind; dotted: accuracy as they came."""
    items = families(changed)[kind]
    at = [severity for severity, _ in items]
    for name, is_turned, colour in LINES:
        drawn = [(x, _percent(item.metrics[name], is_turned)) for x, item in items if item.metrics[name].value is not None]
        if drawn:
            x, numbers = [each for each, _ in drawn], np.array([each for _, each in drawn])
            shade = getattr(palette, colour)
            axes.plot(x, numbers[:, 0], color=shade, marker="o", markersize=3.5, linewidth=1.7)
            axes.fill_between(x, numbers[:, 1], numbers[:, 2], color=shade, alpha=0.16, linewidth=0)
    axes.axhline(100 * (changed.clean.metrics["accuracy"].value or 0), color=palette.ink, linewidth=0.8, linestyle=":")
    if kind in _BY_FACTOR:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(at)
    axes.set_xticklabels([f"{each:g}" for each in at])
    if kind in _FALLING:
        axes.invert_xaxis()
    axes.set(ylim=(floor, 100.6), xlabel=kind, ylabel="%")


def floor_of(changed: Changed) -> float:
    """Return where the axis of all curves begins, so that they compare: a whole ten, in percent."""
    ends = [
        _percent(item.metrics[name], is_turned)[1]
        for name, is_turned, _ in LINES
        for item in (changed.clean, *changed.conditions)
        if CHAINED not in item.perturbation and item.metrics[name].value is not None
    ]
    return max(0.0, min(90.0, float(np.floor(min(ends) / 10)) * 10))


def heat_map(axes: Axes, palette: Palette, *, changed: Changed) -> None:
    """Draw by how many points each number changes; a cell is the stronger coloured the more is lost."""
    rows = (changed.clean, *changed.conditions)
    for y, item in enumerate(rows):
        for x, (_, name, sign) in enumerate(_COLUMNS):
            _change_cell(axes, palette, x, y, item, name, sign, changed.clean)
        turned = sum(100 * (item.flips[flip].value or 0) for flip in ("to_fake", "to_real"))
        if item is not changed.clean:
            _cell(axes, palette, len(_COLUMNS), y, f"{turned:.1f}", turned)
    heads = [head for head, _, _ in _COLUMNS] + ["answers\nturned"]
    _frame(axes, heads, [broken(item.perturbation) for item in rows])


def matrix(axes: Axes, palette: Palette, *, across: AcrossGenerators, name: str) -> None:
    """Draw a number of every detector on every generator; a cell is the stronger coloured the further it lies below 100 %."""
    generators = [item.generator for item in across.rows[0].generators]
    for x, row in enumerate(across.rows):
        for y, item in enumerate(row.generators):
            value = item.metrics[name].value
            if value is not None:
                marks = ("*" if item.is_known else "") + ("†" if item.is_small else "")
                _cell(axes, palette, x, y, f"{100 * value:.1f}{marks}", 200 * (1 - value) * FULL / 100)
    _frame(axes, [broken(row.detector, 14) for row in across.rows], generators)


def forest(axes: Axes, palette: Palette, *, row: Row) -> None:
    """Draw AUC and balanced accuracy of every generator with their intervals, the highest AUC first; hollow: too few images."""
    items = sorted(row.generators, key=lambda item: -(item.metrics["roc_auc"].value or 0))
    for name, label, colour, shift in (("roc_auc", "ROC AUC", palette.fake, -0.14), ("balanced_accuracy", "balanced accuracy", palette.ink, 0.14)):  # fmt: skip  # noqa: E501
        for y, item in enumerate(items):
            value, low, high = _percent(item.metrics[name], False)
            axes.plot([low, high], [y + shift] * 2, color=colour, linewidth=1.3)
            face = palette.paper if item.is_small else colour
            axes.plot([value], [y + shift], "o", color=colour, markerfacecolor=face, markersize=5)
        axes.plot([], [], "o-", color=colour, markersize=5, linewidth=1.3, label=label)
    axes.axvline(50, color=palette.ink, linewidth=0.8, linestyle=":", label="guessing")
    axes.set(yticks=range(len(items)), ylim=(len(items) - 0.4, -0.6), xlabel="%")
    axes.set_xlim(right=100.6)
    axes.set_yticklabels([broken(item.generator, 24) for item in items])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, labelcolor=palette.ink, columnspacing=1, handlelength=1.3)


def drawings_of_robustness(robustness: Robustness) -> dict[str, tuple[Draw, tuple[float, float]]]:
    """Return the drawings of the headline column by name, each with its size in inches: the heat map, then the curves."""
    changed = robustness.columns[0]
    height = _HEAD + _ROW * (len(changed.conditions) + 1)
    found: dict[str, tuple[Draw, tuple[float, float]]] = {"robustness": (partial(heat_map, changed=changed), (_WIDTH, height))}
    floor = floor_of(changed)
    for kind in families(changed):
        found[f"robustness_{kind}"] = (partial(curve, kind=kind, changed=changed, floor=floor), CURVE_SIZE)
    return found


def drawings_of_generators(across: AcrossGenerators) -> dict[str, tuple[Draw, tuple[float, float]]]:
    """Return the drawings by name, each with its size in inches: one line per generator, then what several detectors reach."""
    n, n_rows = len(across.rows[0].generators), len(across.rows)
    found: dict[str, tuple[Draw, tuple[float, float]]] = {
        "generators": (partial(forest, row=across.rows[0]), (7.6, 1.0 + 0.27 * n))
    }
    if n_rows > 1:
        for name in ("roc_auc", "balanced_accuracy"):
            draw = partial(matrix, across=across, name=name)
            found[f"generators_{name}"] = draw, (2.2 + 1.0 * n_rows, _HEAD + _ROW * n)
    return found


def pictures_of(robustness: Robustness | None, across: AcrossGenerators | None) -> dict[str, bytes]:
    """Return every drawing as PNG by its name."""
    drawings = drawings_of_robustness(robustness) if robustness else {}
    drawings |= drawings_of_generators(across) if across else {}
    return {name: png_of(draw, size) for name, (draw, size) in drawings.items()}


def broken(name: str, width: int = 26) -> str:
    r"""Return a long name on two lines, broken at a plus, a hyphen or a low line near its middle.

    Example:
        >>> broken("resize-0.75+jpeg-75+resize-0.75+jpeg-70")
        'resize-0.75+jpeg-75\n+resize-0.75+jpeg-70'
    """
    if len(name) <= width:
        return name
    places = [at for at in range(1, len(name)) if name[at] in CHAINED] or [at for at in range(1, len(name)) if name[at] in "-_ "]
    at = min(places, key=lambda place: abs(place - len(name) / 2), default=len(name) // 2)
    return f"{name[:at]}\n{name[at:]}"


def signed(points: float) -> str:
    """Return a change in points with its sign.

    Example:
        >>> signed(-3.14), signed(0.04), signed(2)
        ('−3.1', '0.0', '+2.0')
    """
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _change_cell(
    axes: Axes, palette: Palette, x: int, y: int, item: Condition, name: str, sign: int, clean: Condition
) -> None:  # fmt: skip
    """Write the number as it came into the first row, and below it by how many points it changes."""
    value, before = item.metrics[name].value, clean.metrics[name].value
    if value is None or before is None:
        return
    is_turned = name == "false_alarm_rate"
    if item.perturbation == CLEAN:
        _cell(axes, palette, x, y, f"{100 * (1 - value if is_turned else value):.1f}", 0)
        return
    change = 100 * (value - before)
    _cell(axes, palette, x, y, signed(-change if is_turned else change), -sign * change)


def _cell(axes: Axes, palette: Palette, x: int, y: int, text: str, loss: float) -> None:
    from matplotlib.patches import Rectangle

    colour = palette.fake if loss > 0 else palette.real
    strength = min(abs(loss) / FULL, 1.0)
    # Never so strong that the ink on it is hard to read, in light or dark.
    box = Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, alpha=0.5 * strength**0.7, linewidth=0)
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=palette.ink)


def _frame(axes: Axes, heads: Sequence[str], names: Sequence[str]) -> None:
    axes.set(xlim=(-0.5, len(heads) - 0.5), ylim=(len(names) - 0.5, -0.5), xticks=range(len(heads)), yticks=range(len(names)))
    axes.set_xticklabels(heads, fontsize=8.5)
    axes.set_yticklabels(names, fontsize=8.5, linespacing=0.95)
    for label in axes.get_yticklabels():
        if "\n" in label.get_text():
            label.set_fontsize(7)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _percent(number: Interval, is_turned: bool) -> tuple[float, float, float]:
    """Return value and ends in percent, of 1 less the number where it is turned; an end that is missing is the value."""
    value = number.value or 0.0
    ends: tuple[Any, Any] = (number.low, number.high) if number.low is not None and number.high is not None else (value, value)
    if is_turned:
        return 100 * (1 - value), 100 * (1 - ends[1]), 100 * (1 - ends[0])
    return 100 * value, 100 * ends[0], 100 * ends[1]
