"""A model card in Markdown (Mitchell et al. 2019, arXiv 1810.03993), from a report and the detector's card, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fauxto.metrics import Interval
from fauxto.report.contents import Column, Report
from fauxto.report.generators import AS_IS, MIN_FAKES, AcrossGenerators, Row
from fauxto.report.prevalence import percent, prevalence_of, source_of, why_none
from fauxto.report.tables import METRICS, text
from fauxto.verdicts import MEASURED_ON, short

MISSING = "not measured"
UNSAID = "not stated on the detector's card"
# Heading -> key on the detector's card: lists of sentences.
PURPOSES = {"What it is for": "intended_use", "What it is not for": "not_for"}
_ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|!~&$"})


def model_card(report: Report) -> str:
    """Return the card as Markdown; what neither report nor card says is "not measured" or "not stated"."""
    parts = {
        "Model details": _details(report),
        "Intended use": _intended(report),
        "Factors": _factors(report),
        "Metrics": _metrics(report),
        "Evaluation data": _evaluation(report),
        "Training data": _training(report),
        "Calibration and unsure": _calibration(report),
        "Operating points": _points(report),
        "Where fakes are rare": _prevalence(report),
        "Ethical considerations": list(_ETHICS),
        "Caveats": [f"- {plain(caveat)}" for caveat in report.caveats] + list(_CAVEATS),
    }
    head = [f"# Model card: {plain(report.detector)}", ""]
    if report.note:
        head += [f"> **{plain(report.note[:1].upper() + report.note[1:])}**", ""]
    body = [line for name, lines in parts.items() for line in (f"## {name}", "", *lines, "")]
    return "\n".join(head + body).rstrip() + "\n"


def plain(value: object) -> str:
    r"""Return text that Markdown takes for text, on one line.

    Example:
        >>> plain("a_b <script>\n# x")
        'a\\_b \\<script\\> \\# x'
    """
    return " ".join(str(value).split()).translate(_ESCAPED)


def said_of(card: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of sentences on a card; none where it has no such list.

    Example:
        >>> said_of({"not_for": ["Accusing anybody."]}, "not_for"), said_of({"not_for": 7}, "not_for")
        (('Accusing anybody.',), ())
    """
    said = card.get(key)
    return tuple(map(str, said)) if isinstance(said, list) else ()


_ETHICS = (
    "- A verdict is a probability about pixels. It is no proof, and no ground by itself to accuse a person.",
    "- False alarms hit people who made a photograph. How many there are at your share of fakes stands above.",
    "- Groups of people, places and cameras were not told apart: whether some bear more errors is not measured.",
    "- Publishing a detector helps those who want to pass it.",
)
# Where the detector's card says nothing of its own.
_USUALLY = {
    "intended_use": ("Telling photographs from AI-generated images of the kind it was trained on, as one sign among others.",),
    "not_for": (
        "Other sizes; other generators, unless measured below; edited photographs.",
        "Decisions about people by itself.",
    ),
}
_CAVEATS = (
    "- Images by generators that are not named above can pass unnoticed.",
    "- The intervals speak of other images of the same kind, not of another training run.",
)


def _details(report: Report) -> list[str]:
    card, model = report.card, _mapping(report.card.get("model"))
    environment = _mapping(card.get("environment"))
    packages = _mapping(environment.get("packages"))
    sums = _mapping(card.get("sha256"))
    return _facts(
        {
            "Name": report.detector,
            "Network": ", ".join(str(value) for value in model.values()) or UNSAID,
            "Input": _input(card),
            "Made with fauxto": packages.get("fauxto", UNSAID),
            "Commit": environment.get("commit") or UNSAID,
            "SHA-256 of the model": sums.get("model.onnx", UNSAID),
            "This card was written": report.date or UNSAID,
        }
    )


def _input(card: Mapping[str, Any]) -> str:
    spec, tiles = _mapping(card.get("preprocessing")), _mapping(card.get("tiles"))
    larger = f"; larger images over at most {tiles['most']} tiles of {tiles['side']}" if {"most", "side"} <= set(tiles) else ""
    return f"RGB, {spec['size']} x {spec['size']} pixels{larger}" if "size" in spec else UNSAID


def _intended(report: Report) -> list[str]:
    scope = _mapping(report.card.get("scope"))
    sides = f"{float(scope['min_side']):g} to {float(scope['max_side']):g} pixels a side" if "max_side" in scope else UNSAID
    lines = []
    for title, key in PURPOSES.items():
        lines += [f"{title}:", "", *(f"- {plain(line)}" for line in said_of(report.card, key) or _USUALLY[key]), ""]
    return [*lines, *_facts({"Sizes": sides, "Unsure outside of": ", ".join(_rules(scope)) or UNSAID})]


def _rules(scope: Mapping[str, Any]) -> list[str]:
    rules = ["these sizes"] if "max_side" in scope else []
    rules += ["the training images' statistics"] if scope.get("statistics") else []
    return rules + [f"a verdict that survives {name}" for name in scope.get("stable_under", ())]


def _factors(report: Report) -> list[str]:
    head = report.columns[0]
    generators = "; ".join(f"{row.generator} ({row.n:,} images): {_number(row.found, '%')} found" for row in head.generators)
    facts = {
        "Generators, at the threshold": generators or MISSING,
        "Changes on the way (JPEG, resizing, blur and others)": _changes(report),
        "Cameras, subjects, people": MISSING,
    }
    if report.across is None:
        return _facts(facts)
    return [*_facts({**facts, "Generators, at the threshold": "in the table below"}), "", *_across(report.across)]


def _across(across: AcrossGenerators) -> list[str]:
    """Return the table of generators against the same photographs, for the report's own detector."""
    own = across.rows[0]
    how = "as their files have them" if across.encode == AS_IS else f"all saved as {across.encode} first"
    alarms = own.generators[0].metrics["false_alarm_rate"]
    lines = [
        f"Every generator's images against the same {across.n_real:,} photographs of {plain(across.reals)}, {plain(how)}; of the "
        f"photographs {_number(alarms, '%')} are called fake:",
        "",
        f"| generator | images | {' | '.join(label for _, label, _ in _ACROSS)} |",
        f"|---|---{'|---' * len(_ACROSS)}|",
    ]
    for item in own.generators:
        marks = "\\*" * item.is_known + "†" * item.is_small + "‡" * item.is_unlike
        cells = [_number(item.metrics[name], unit) for name, _, unit in _ACROSS]
        lines.append(f"| {plain(item.generator)}{marks} | {item.n:,} | {' | '.join(cells)} |")
    return [*lines, *_overall(own), "", _MARKS]


def _overall(own: Row) -> list[str]:
    """Return the lines of mean and minimum; none where no generator has enough images."""
    if not own.n_counted:
        return []
    found = [(own.overall(name), unit) for name, _, unit in _ACROSS]
    means = [_number(Interval(mean), unit) for (mean, _, _), unit in found]
    least = [f"{_number(Interval(low), unit)} ({plain(whose)})" for (_, low, whose), unit in found]
    names = f"over {own.n_counted} generators"
    return [f"| **mean** {names} | | {' | '.join(means)} |", f"| **minimum** {names} | | {' | '.join(least)} |"]


_ACROSS = (("roc_auc", "ROC AUC", ""), ("recall", "fakes found", "%"), ("balanced_accuracy", "balanced accuracy", "%"))
_MARKS = (
    f"\\* the card names it among the generators of the training. † fewer than {MIN_FAKES} images: left out of mean and minimum. "
    "‡ its files were saved otherwise than the photographs'. Mean and minimum have no interval."
)


def _changes(report: Report) -> str:
    if report.robustness is None:
        return MISSING
    worst = min(report.robustness.columns[0].conditions, key=lambda item: item.metrics["accuracy"].value or 0.0, default=None)
    if worst is None:
        return MISSING
    return f"{len(report.robustness.columns[0].conditions)} measured; accuracy lowest under {worst.perturbation}, " + _number(
        worst.metrics["accuracy"], "%"
    )


def _metrics(report: Report) -> list[str]:
    point = f"operating point {report.operating_point}, " if report.operating_point else ""
    lines = [
        f"Positive is fake: {plain(point)}p\\_fake ≥ {report.threshold:g}. In brackets: {100 * report.level:g} % intervals.",
        "",
        f"| | {' | '.join(plain(column.name) for column in report.columns)} |",
        f"|---{'|---' * len(report.columns)}|",
    ]
    for name, (label, _, unit) in METRICS.items():
        lines.append(f"| {label} | {' | '.join(_number(column.metrics.get(name), unit) for column in report.columns)} |")
    for label, of in (("Unsure", "abstained"), ("Right among the answered", "selective_accuracy")):
        lines.append(f"| {label} | {' | '.join(_number(getattr(column.verdicts, of), '%') for column in report.columns)} |")
    return [*lines, "", "Made by:", "", *_code(report.command or UNSAID)]


def _evaluation(report: Report) -> list[str]:
    return _facts({"Data": report.data or UNSAID} | {column.name: _counts(column) for column in report.columns})


def _counts(column: Column) -> str:
    return f"{column.n_real:,} photographs, {column.n_fake:,} fakes"


def _training(report: Report) -> list[str]:
    about = _mapping(report.card.get("trained_on"))
    config = _mapping(about.get("config"))
    named = about.get("generators")
    facts = {
        "Training images": _count(about.get("n_train")),
        "Validation images": _count(about.get("n_validation")),
        "Generators of the fakes": (", ".join(map(str, named)) if isinstance(named, list) else "") or UNSAID,
        "Split": config.get("split", UNSAID),
        "Note": about.get("note") or "none",
        "Fingerprint of the pixels": about.get("pixels", UNSAID),
    }
    return _facts(facts)


def _calibration(report: Report) -> list[str]:
    card, made = report.card, _mapping(report.card.get("calibration"))
    band = _mapping(card.get("unsure"))
    unsure = f"p_fake from {short(float(band['low']))} to {short(float(band['high']))}" if "low" in band else "no range of p_fake"
    facts = {
        "Method": made.get("method", UNSAID),
        "Fitted on": made.get("fitted_on", UNSAID),
        "Images measured here that calibrated it": "not known" if report.n_calibrating is None else report.n_calibrating,
        "Share of fakes that p_fake stands for": percent(float(made["prevalence"])) if "prevalence" in made else UNSAID,
        "Calibration error here": _number(report.columns[0].metrics.get("expected_calibration_error"), "%"),
        "Unsure": unsure,
        "Promise": band.get("guarantee") or "none",
    }
    return _facts(facts)


def _points(report: Report) -> list[str]:
    head = report.columns[0]
    if not head.operating_points:
        return ["None on the detector's card."]
    said = _mapping(report.card.get("operating_points")).get(MEASURED_ON, "validation images")
    lines = [
        "| | threshold | false alarms, card | false alarms, here | fakes found, card | fakes found, here |",
        "|---|---|---|---|---|---|",
    ]
    for row in head.operating_points:
        cells = [_number(rate, "%") for rate in (row.card_fpr, row.fpr, row.card_tpr, row.tpr)]
        lines.append(f"| {plain(row.name)} | {row.threshold:.4g} | {' | '.join(cells)} |")
    return [*lines, "", f"The card's were measured on: {plain(said)}."]


def _prevalence(report: Report) -> list[str]:
    points = prevalence_of(report)
    if not points:
        return [f"{MISSING.capitalize()}. {plain(why_none(report))}"]
    lines = [f"From the error rates on {plain(source_of(report))}.", ""]
    for point in points:
        lines += [
            f"At {plain(point.name or 'the threshold')}, p\\_fake ≥ {point.threshold:.4g}:",
            "",
            "| share of fakes | of those called fake, fake | of those called real, real | false accusations in 10,000 "
            "| fakes missed in 10,000 |",
            "|---|---|---|---|---|",
        ]
        for row in point.shares:
            cells = [_number(row.ppv, "%"), _number(row.npv, "%"), _number(row.false_alarms, "n"), _number(row.missed, "n")]
            lines.append(f"| {percent(row.share)} | {' | '.join(cells)} |")
        lines.append("")
    return lines[:-1]


def _number(number: Interval | None, unit: str) -> str:
    """Return a number with its interval, or why there is none."""
    if number is None or number.value is None:
        return MISSING if number is None else f"{MISSING}: {plain(number.reason)}"
    if unit == "n":
        return f"{number.value:,.1f} ({number.low or 0.0:,.1f}–{number.high or 0.0:,.1f})"
    found = text(number, unit)
    return f"{found['value']} ({found['ends']})" if found["ends"] else found["value"]


def _facts(facts: Mapping[str, object]) -> list[str]:
    return [f"- {plain(name)}: {plain(value)}" for name, value in facts.items()]


def _code(command: str) -> list[str]:
    """A command in a block that it cannot leave, whatever a file is called."""
    return ["    " + " ".join(command.split())]


def _count(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) else UNSAID


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
