"""Write the tables of docs/generalisation.md from benchmarks/results/: ``python benchmarks/generalisation_page.py``.

Reads trace_probe.csv, shapes_probe.csv, clip_probe.csv, forged_sets, generalisation, leave_source_out, leave_family_out,
tile_model, frozen_features, frozen_forge and frozen_reconstructions (.json, .csv); measures nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import record

from fauxto.runs import write_text

PAGE = record.DOCS / "generalisation.md"
PROBES = (  # rows of trace_probe.csv that tell the story, by KEYS
    ("5 GANs", "EvidenceNet", "pixels", "0.0", "0.0"),
    ("9 GANs of one foreign source", "EvidenceNet", "pixels", "0.0", "0.0"),
    ("9 GANs of one foreign source", "4 convolutions", "pixels", "0.0", "0.0"),
    ("9 GANs of one foreign source", "4 convolutions", "second differences, normalised", "0.0", "0.0"),
    ("5 GANs", "4 convolutions", "second differences, normalised", "0.0", "0.0"),
    ("5 GANs, 12 autoencoders", "4 convolutions", "second differences, normalised", "0.0", "0.0"),
    ("5 GANs, 12 autoencoders, diffusion, flow", "4 convolutions", "second differences, normalised", "0.0", "0.0"),
    ("5 GANs, 12 autoencoders, diffusion, flow", "4 convolutions", "second differences, normalised", "0.0", "0.2"),
)
KEYS = ("fakes_in_training", "network", "input", "jpeg_share", "perturbed_share")
ONLY, JOINED = "forge-only", "general"
BARS_HEAD = ("| | asked | reached | to hope for | |", "|---|---|---|---|---|")


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        page = record.filled(page, name, table())
    write_text(PAGE, page)


def probe() -> str:
    """Return what each part of the recipe bought."""
    found = {tuple(row[key] for key in KEYS): row for row in rows_of("trace_probe")}
    lines = ["| fakes in training | network | sees | perturbed | AUC | lowest |", "|---|---|---|---|---|---|"]
    for key in PROBES:
        row = found[key]
        lines.append(f"| {key[0]} | {key[1]} | {key[2]} | {key[4]} | {row['lossless_mean']} | {row['lossless_min']} |")
    return "\n".join(lines)


def shapes() -> str:
    """Return what whole images and patient generators bought after JPEG."""
    head = "| network | sees | fakes in training | steps | JPEG: AUC | lowest | lossless | lowest |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for row in rows_of("shapes_probe"):
        steps = f"{row['n_steps']} of {row['of_planned']}"
        about = f"{row['network']} | {row['input']} | {row['fakes_in_training']} | {steps}"
        numbers = (row[f"{codec}_{key}"] for codec in ("jpeg", "lossless") for key in ("mean", "min"))
        lines.append(f"| {about} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def sets() -> str:
    """Return what the forges hold that taught the bundled detector, by family."""
    lines = ["| forge | photographs | family | members | images | steps | images a step |", "|---|---|---|---|---|---|---|"]
    for folder, found in json_of("forged_sets").items():
        if not isinstance(found, dict) or "members" not in found:
            continue
        by_family: dict[str, list[dict[str, Any]]] = {}
        for name, member in found["members"].items():
            by_family.setdefault(name.partition("/")[0], []).append(member)
        for family, members in by_family.items():
            n_images = sum(one["n_images"] for one in members)
            about = f"{folder} | {found['reals']['n_images']:,} | {family} | {len(members)} | {n_images:,}"
            lines.append(f"| {about} | {between(members, 'n_steps')} | {between(members, 'batch_size')} |")
    return "\n".join(lines)


def between(members: list[dict[str, Any]], key: str) -> str:
    """Return the range of a number.

    Example:
        >>> between([{"n": 1200}, {"n": 5}], "n"), between([{"n": 5}], "n")
        ('5 to 1,200', '5')
    """
    low, high = (of(one[key] for one in members) for of in (min, max))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def families() -> str:
    """Return how a family fares that no training held."""
    head = "| family left out | its own images: lossless | JPEG | generators32: lossless | lowest | JPEG | lowest |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for family, found in json_of("leave_family_out")["families"].items():
        own, foreign = found["own_images"], found["generators32"]
        of_own = (own.get(codec) for codec in ("lossless", "jpeg"))
        cells = [f"{one['mean']:.2f} ({one['n_members']} members)" if one else "" for one in of_own]
        cells += [f"{foreign[codec][key]['value']:.2f}" for codec in ("lossless", "jpeg") for key in ("mean", "min")]
        lines.append(f"| {family} | {' | '.join(cells)} |")
    return "\n".join(lines)


def bars() -> str:
    """Return what was asked beside what is reached."""
    measured, left_out = json_of("generalisation")["detectors"], json_of("leave_source_out")
    lines = [*BARS_HEAD, *bar_lines("forge only", measured[ONLY]), *bar_lines("source left out", left_out)]
    for name, who in ((ONLY, "forge only"), (JOINED, "bundled")):
        lines += controls(measured[name], who)
    return "\n".join(lines)


def bar_lines(what: str, found: dict[str, Any]) -> list[str]:
    """Return the lines of both codecs' mean and minimum over the generators."""
    lines = []
    for codec, words in (("lossless", "lossless"), ("jpeg", "JPEG as CIFAKE")):
        for name, words_of_name in (("mean", "mean"), ("min", f"minimum ({found[codec]['lowest']})")):
            lines.append(bar_line(f"{words}, {what}: {words_of_name}", found[codec][name]))
    return lines


def bar_line(what: str, number: dict[str, Any]) -> str:
    """Return a line of the table of bars."""
    said = "reached" if number["reached"] else "**missed**"
    return f"| {what} | {number['bar']:.2f} | {number['value']:.3f} | {number['reach_for']:.2f} | {said} |"


def controls(found: dict[str, Any], who: str) -> list[str]:
    """Return the lines about what must not be a sign of anything, and about CIFAKE."""
    told, accuracy = found["was_jpeg_auc"], found["cifake_test_accuracy"]
    said = "reached" if 0.45 <= told["value"] <= 0.60 else "**missed**"
    lines = [
        f"| photographs that were JPEG, told from others by the score, {who} | .45-.60 | {told['value']:.3f} | .48-.55 | {said} |"
    ]
    lines.append(
        f"| CIFAKE's test part, {who} | 0.975 | {accuracy['value']:.4f} | 0.985 | "
        f"{'reached' if accuracy['value'] >= 0.975 else '**missed**'} |"
    )
    for codec in ("lossless", "jpeg"):
        rate = found[f"false_alarms_at_fpr5_{codec}"]
        between = f"{rate['value']:.3f} ({rate['low']:.3f} to {rate['high']:.3f})"
        said = "reached" if rate["value"] <= 0.07 else "**missed**"
        lines.append(f"| false alarms at the 5 % threshold, {codec}, {who} | 0.07 | {between} | 0.05 | {said} |")
    return lines


def generators() -> str:
    """Return each generator's AUC with the several trainings."""
    tables = {(row["detector"], row["codec"], row["generator"]): row for row in rows_of("generalisation")}
    tables |= {("left out", row["codec"], row["generator"]): row for row in rows_of("leave_source_out")}
    columns = [(who, codec) for codec in ("lossless", "jpeg") for who in ("cifake", ONLY, "left out", JOINED)]
    names = sorted({key[2] for key in tables})
    head = " | ".join(f"{who}, {codec}" for who, codec in columns)
    lines = [f"| generator | {head} |", "|---|" + "---|" * len(columns)]
    for name in names:
        cells = [f"{float(tables[(who, codec, name)]['auc']):.2f}" for who, codec in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`{JOINED}` was trained on images of these generators: its columns tell what it remembers."])


def large() -> str:
    """Return how far large images of sources that were left out can be told."""
    studies = ("frozen_features", "frozen_forge", "frozen_reconstructions")
    on_frozen = {name: number for study in studies for name, number in json_of(study)["mean_auc"].items()}
    lines = ["| | asked | AUC, mean over pairs of sources | to hope for | |", "|---|---|---|---|---|"]
    lines += [bar_line(name, number) for name, number in json_of("tile_model")["mean_auc"].items()]
    lines += [bar_line(f"frozen CLIP features, {name}", number) for name, number in on_frozen.items()]
    return "\n".join(lines)


def frozen() -> str:
    """Return what a head on frozen features learns from the forge alone, at 32x32 pixels."""
    return "\n".join([*BARS_HEAD, *bar_lines("forge only", json_of("frozen_forge")["generators32"])])


def clip() -> str:
    """Return what frozen features know of small images saved as JPEG, and what a small network can learn of them."""
    keys = ("features", "learned_from", "head", "jpeg_mean", "jpeg_min")
    lines = [f"| {' | '.join(row[key] for key in keys)} |" for row in rows_of("clip_probe")]
    return "\n".join(["| sees | learned from | head | JPEG: AUC | lowest |", "|---|---|---|---|---|", *lines])


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows of a table of results."""
    with (record.RESULTS / f"{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def json_of(name: str) -> dict[str, Any]:
    """Return a result."""
    found: dict[str, Any] = json.loads((record.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


TABLES: dict[str, Callable[[], str]] = {
    "probe": probe, "shapes": shapes, "sets": sets, "bars": bars, "generators": generators, "families": families, "clip": clip,
    "frozen": frozen, "large": large,
}  # fmt: skip


if __name__ == "__main__":
    main()
