"""A report as one page that needs nothing else: no network, no script, light and dark, on a phone and on paper."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from fauxto.metrics import Interval
from fauxto.report.contents import Column, Mistake, Report
from fauxto.report.model_card import PURPOSES, said_of
from fauxto.report.parts import across_context, robustness_context
from fauxto.report.plots import PLOTS, to_svg
from fauxto.report.prevalence import prevalence_context
from fauxto.report.rendering import rendered
from fauxto.report.tables import metric_rows, point_tables, text, verdict_rows
from fauxto.verdicts import MEASURED_ON

THUMBNAIL_SIDE = 192
_DOT = "the dot is the card's threshold {threshold}."
_CAPTIONS = {
    "verdicts": "What the detector says of {images} when it may also say unsure.",
    "confusion": "How often each answer was given to {images}, called fake from p_fake {threshold} on; "
    "the small numbers are {level} intervals.",
    "histogram": "What was said of photographs and of fakes: p_fake of {images} in 40 bins, the count on a logarithmic scale.",
    "roc": "Fakes found against false alarms at every threshold, drawn from {images}; " + _DOT,
    "precision_recall": "Precision against recall at every threshold, drawn from {images}; " + _DOT,
    "reliability": "Can p_fake be taken at its word? {images} in 15 equal bins of p_fake, with Wilson's {level} intervals; "
    "on the dotted line it can.",
}


def to_html(report: Report) -> str:
    """Return the page; every text that comes from data is escaped.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    return rendered("report.html", **_context(report))


def _context(report: Report) -> dict[str, Any]:
    head = report.columns[0]
    trained_on = report.card.get("trained_on", {})
    rows = metric_rows(report)
    return {
        "report": report,
        "head": head,
        "is_simulated": "simulat" in report.note.lower(),
        "headline": _headline(head.metrics["accuracy"], report.level),
        "guessing": f"{100 * max(head.n_real, head.n_fake) / head.n:.1f} %",
        "waffles": _waffles(head),
        "level": _level(report),
        "rows": rows,
        "reasons": list(dict.fromkeys(cell["reason"] for row in rows for cell in row["cells"] if cell["reason"])),
        "figures": {name: _figure(name, report) for name in PLOTS},
        "verdict_rows": verdict_rows(report),
        "guarantee": head.verdicts.guarantee,
        "points": point_tables(report),
        "measured_on": report.card.get("operating_points", {}).get(MEASURED_ON, "validation images"),
        "mistakes": [_gallery(label, report) for label in ("real", "fake")],
        "trained_on": trained_on,
        "generators": ", ".join(map(str, trained_on["generators"])) if isinstance(trained_on.get("generators"), list) else "",
        "scope": report.card.get("scope", {}),
        "found": [(column.name, [(row, text(row.found, "%")) for row in column.generators]) for column in report.columns],
        "packages": report.environment.get("packages", {}),
        "had_a_say": _had_a_say(report.n_calibrating),
        "purposes": {title: said_of(report.card, key) for title, key in PURPOSES.items()},
        "prevalence": prevalence_context(report),
        "robust": robustness_context(report.robustness),
        "across": across_context(report.across),
    }


def _had_a_say(n_calibrating: int | None) -> str:
    """Say what the images of the report had to do with its threshold."""
    if n_calibrating is None:
        return "images of this report may have had a say in it, since more calibrated the detector than its card lists"
    if n_calibrating:
        return f"{n_calibrating:,} of the images of this report had a say in it, since they also calibrated the detector"
    return "no image of this report had a say in it, as far as its card tells"


def _headline(accuracy: Interval, level: float) -> dict[str, str]:
    value, low, high = accuracy.value, accuracy.low, accuracy.high
    assert value is not None  # there is at least one image
    assert low is not None  # and then accuracy is defined in every resample
    assert high is not None
    return {"value": f"{100 * value:.1f} %", "interval": f"{100 * level:g} % interval {100 * low:.1f}–{100 * high:.1f}"}


def _waffles(column: Column) -> list[dict[str, Any]]:
    """Return both kinds of error as so many of a hundred."""
    recall, alarms = column.metrics["recall"].value, column.metrics["false_alarm_rate"].value
    waffles = []
    if alarms is not None:
        waffles.append(_waffle(alarms, "photographs", ("is taken for AI", "are taken for AI")))
    if recall is not None:
        waffles.append(_waffle(1 - recall, "AI-generated images", ("slips through", "slip through")))
    return waffles


def _waffle(rate: float, of: str, verbs: tuple[str, str]) -> dict[str, Any]:
    n = round(100 * rate)
    words = "none" if rate == 0 else "fewer than 1" if n == 0 else "all" if rate == 1 else f"about {n}"
    return {"of": of, "n_wrong": n, "words": words, "verb": verbs[n > 1]}


def _figure(name: str, report: Report) -> dict[str, Any]:
    from markupsafe import Markup  # comes with jinja2

    column = report.columns[0]
    images = f"{column.n:,} images ({column.n_real:,} real, {column.n_fake:,} fake; {column.name})"
    caption = _CAPTIONS[name].format(images=images, threshold=f"{report.threshold:g}", level=_level(report))
    # The drawing is made here from numbers, and matplotlib escapes the names in it.
    return {"name": name, "svg": Markup(to_svg(name, report, description=caption)), "caption": caption}  # noqa: S704


def _level(report: Report) -> str:
    return f"{100 * report.level:g} %"


def _gallery(label: str, report: Report) -> dict[str, Any]:
    titles = {"real": "Photographs that it took for AI", "fake": "AI-generated images that it took for photographs"}
    shown = [thumbnail(mistake) for mistake in report.mistakes if mistake.label == label]
    return {"label": label, "title": titles[label], "images": shown}


def thumbnail(mistake: Mistake) -> dict[str, Any]:
    """Return an image as a small picture for inside of a page, with its path and what was said of it."""
    image = Image.fromarray(np.ascontiguousarray(mistake.image))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    source = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    alternative = f"{mistake.path}, {mistake.image.shape[1]} × {mistake.image.shape[0]} pixels"
    return {"source": source, "path": mistake.path, "p_fake": _certainty(mistake.p_fake), "alternative": alternative}


def _certainty(p_fake: float) -> str:
    """Return p_fake so that neither 0 nor 1 is claimed by rounding.

    Example:
        >>> _certainty(0.99996), _certainty(0.25), _certainty(0.00001)
        ('> 0.999', '0.250', '< 0.001')
    """
    if p_fake > 0.9995:
        return "> 0.999"
    return "< 0.001" if p_fake < 0.0005 else f"{p_fake:.3f}"
