"""What the page says of changed images and of generators: sentences, tables as text, figures with captions."""

from __future__ import annotations

from typing import Any

from fauxto.metrics import Interval
from fauxto.report.curves import drawings_of_generators, drawings_of_robustness, signed
from fauxto.report.generators import AS_IS, MIN_FAKES, AcrossGenerators, Against, Row
from fauxto.report.plots import Draw, svg_of
from fauxto.report.robustness import CLEAN, Changed, Condition, Robustness
from fauxto.report.tables import text

KINDS = {
    "jpeg": "JPEG quality (4:2:0)", "jpeg444": "JPEG quality (4:4:4)", "webp": "WebP quality", "webp_fast": "WebP quality",
    "blur": "blur: sigma in pixels", "noise": "noise: standard deviation, white is 1", "resize": "shrunk or enlarged, and back",
    "resize_any": "shrunk or enlarged, and back", "crop": "share of each side kept, then enlarged",
    "crop_any": "share of each side kept, then enlarged", "brightness": "brightness", "contrast": "contrast",
    "saturation": "saturation",
}  # fmt: skip
_TABLE = (
    ("accuracy", "%"), ("roc_auc", ""), ("recall", "%"), ("false_alarm_rate", "%"), ("expected_calibration_error", "%"),
    ("unsure", "%"),
)  # fmt: skip
_MOVED = (("real", "fake"), ("fake", "real"), ("real", "unsure"), ("fake", "unsure"), ("unsure", "real"), ("unsure", "fake"))


def robustness_context(robustness: Robustness | None) -> dict[str, Any] | None:
    """Return what the template of changed images needs; None where there are none."""
    if robustness is None:
        return None
    changed = robustness.columns[0]
    figures = _figures_of_robustness(robustness)
    return {
        "heat_map": figures[0],
        "curves": figures[1:],
        "summary": _summary(changed),
        "n": len(changed.conditions),
        "level": f"{100 * robustness.level:g} %",
        "rows": [_row(item) for item in (changed.clean, *changed.conditions)],
        "moves": [f"{before} → {after}" for before, after in _MOVED],
        "verdict_rows": [_moves(item) for item in changed.conditions],
        "seed": robustness.seed,
    }


def across_context(across: AcrossGenerators | None) -> dict[str, Any] | None:
    """Return what the template of generators needs; None where there is nothing."""
    if across is None:
        return None
    head = across.rows[0]
    how = "as their files have them" if across.encode == AS_IS else f"both saved by the same encoder first ({across.encode})"
    against = f"against the same {across.n_real:,} photographs of {across.reals}, {how}"
    figures = _figures_of_generators(across, against)
    return {
        "forest": figures[0],
        "matrices": figures[1:],
        "against": against,
        "level": f"{100 * across.level:g} %",
        "min_fakes": MIN_FAKES,
        "real_files": across.real_files,
        "alarms": text(head.generators[0].metrics["false_alarm_rate"], "%"),
        "rows": [_generator(item) for item in head.generators],
        "overall": _overall(head),
        "n_counted": head.n_counted,
        "detectors": [_detector(row) for row in across.rows] if len(across.rows) > 1 else [],
        "caveats": across.caveats,
    }


_MARKS = f"*: a generator of its training. †: fewer than {MIN_FAKES} images."


def _figures_of_robustness(robustness: Robustness) -> list[dict[str, Any]]:
    changed = robustness.columns[0]
    n = changed.n_real + changed.n_fake
    images = f"{n:,} images ({changed.n_real:,} real, {changed.n_fake:,} fake; {changed.name})"
    captions = {
        "robustness": f"What each change costs on {images}: the first line as they came, in %; below it the change in points, "
        "redder the more is lost. The last column is the share of all images whose answer at the threshold turned. Threshold and "
        f"calibration are the card's; seed {robustness.seed}."
    }
    drawings = drawings_of_robustness(robustness)
    for name in drawings:
        what = KINDS.get(name.removeprefix("robustness_"), name)
        captions.setdefault(name, f"{what[:1].upper()}{what[1:]}. {images}.")
    return [_figure(name, *drawn, captions[name]) for name, drawn in drawings.items()]


def _figures_of_generators(across: AcrossGenerators, against: str) -> list[dict[str, Any]]:
    level = f"{100 * across.level:g} %"
    captions = {
        "generators": f"Every generator's images {against}, with {level} intervals (DeLong; Wilson and MOVER). Hollow: fewer "
        f"than {MIN_FAKES} images.",
        "generators_roc_auc": f"ROC AUC in % of every detector on every generator's images, {against}. {_MARKS}",
        "generators_balanced_accuracy": "Balanced accuracy in % of every detector, each at its own card's threshold, on every "
        f"generator's images, {against}. {_MARKS}",
    }
    return [_figure(name, *drawn, captions[name]) for name, drawn in drawings_of_generators(across).items()]


def _figure(name: str, draw: Draw, size: tuple[float, float], caption: str) -> dict[str, Any]:
    from markupsafe import Markup  # comes with jinja2

    # The drawing is made here from numbers, and matplotlib escapes the names in it.
    return {"name": name, "svg": Markup(svg_of(draw, size, prefix=name, description=caption)), "caption": caption}  # noqa: S704


def _summary(changed: Changed) -> list[str]:
    """Return what a reader should know first: the worst of it."""
    worst = min(changed.conditions, key=lambda item: item.metrics["accuracy"].value or 0)
    before = _short(changed.clean.metrics["accuracy"])
    found = [f"Accuracy is {before} as they came, and at worst {_short(worst.metrics['accuracy'])}, under {worst.perturbation}."]
    ranked = [item for item in changed.conditions if item.metrics["roc_auc"].value is not None]
    if ranked:
        least = min(ranked, key=lambda item: item.metrics["roc_auc"].value or 0)
        found.append(f"The AUC falls to {least.metrics['roc_auc'].value:.4f} at worst, under {least.perturbation}.")
    n = sum((item.change.value or 0) < -0.05 for item in changed.conditions)
    found.append(f"{n} of {len(changed.conditions)} changes cost more than 5 points of accuracy.")
    alarms = [item for item in changed.conditions if item.metrics["false_alarm_rate"].value is not None]
    if alarms:
        most = max(alarms, key=lambda item: item.metrics["false_alarm_rate"].value or 0)
        found.append(
            f"At worst {_short(most.metrics['false_alarm_rate'])} of photographs are called fake, under {most.perturbation}."
        )
    return found


def _short(number: Interval) -> str:
    return f"{100 * (number.value or 0):.1f} %"


def _row(item: Condition) -> dict[str, Any]:
    cells = [text(item.metrics[name], unit) for name, unit in _TABLE]
    is_clean = item.perturbation == CLEAN
    flips = [text(item.flips[name], "%") for name in ("to_fake", "to_real")]
    change = "" if is_clean else signed(100 * (item.change.value or 0))
    ends = "" if is_clean else f"{signed(100 * (item.change.low or 0))} to {signed(100 * (item.change.high or 0))}"
    blank = {"value": "", "ends": "", "reason": ""}
    moved = {"value": change, "ends": ends, "reason": ""}
    return {"name": item.perturbation, "cells": [cells[0], moved, *cells[1:], *([blank] * 2 if is_clean else flips)]}


def _moves(item: Condition) -> dict[str, Any]:
    by_pair = {(one.before, one.after): one.share for one in item.transitions}
    return {"name": item.perturbation, "cells": [text(by_pair[pair], "%") for pair in _MOVED]}


def _generator(item: Against) -> dict[str, Any]:
    numbers = (("roc_auc", ""), ("recall", "%"), ("balanced_accuracy", "%"), ("unsure", "%"))
    return {
        "name": item.generator,
        "n": item.n,
        "is_small": item.is_small,
        "is_known": item.is_known,
        "is_unlike": item.is_unlike,
        "files": item.files,
        "cells": [text(item.metrics[name], unit) for name, unit in numbers],
    }


def _overall(row: Row) -> list[dict[str, Any]]:
    """Return the lines of mean and minimum; none where no generator has enough images."""
    found = [row.overall(name) for name in ("roc_auc", "recall", "balanced_accuracy")]
    if not row.n_counted:
        return []
    units = ("", "%", "%")
    means = [text(Interval(mean), unit)["value"] for (mean, _, _), unit in zip(found, units, strict=True)]
    least = [text(Interval(low), unit)["value"] for (_, low, _), unit in zip(found, units, strict=True)]
    whose = [name for _, _, name in found]
    return [
        {"label": "mean", "cells": [{"value": value, "ends": ""} for value in means]},
        {"label": "minimum", "cells": [{"value": v, "ends": name} for v, name in zip(least, whose, strict=True)]},
    ]


def _detector(row: Row) -> dict[str, Any]:
    cells = []
    for name, unit in (("roc_auc", ""), ("balanced_accuracy", "%")):
        mean, least, whose = row.overall(name)
        cells += [{"value": text(Interval(mean), unit)["value"], "ends": ""}]
        cells += [{"value": text(Interval(least), unit)["value"], "ends": whose}]
    alarms = text(row.generators[0].metrics["false_alarm_rate"], "%")
    trained_on = ", ".join(row.trained_on) or "not named on its card"
    return {"name": row.detector, "trained_on": trained_on, "threshold": f"{row.threshold:.4g}", "cells": [alarms, *cells]}
