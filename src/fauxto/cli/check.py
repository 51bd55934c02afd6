"""``fauxto check IMAGE...``: a verdict on images, a folder, or what comes in on standard input."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fauxto.cli.terminal import printable
from fauxto.errors import ImageError, UsageError

if TYPE_CHECKING:
    from fauxto.detector import Detector
    from fauxto.vocabulary import Prediction

FOUND_FAKE, FOUND_UNSURE = 10, 11
COLUMNS = ("image", "verdict", "p_fake", "logit", "kind", "reason", "error", "detector")


def check(
    images: Annotated[list[str], typer.Argument(help="Images, folders of images, or - for one image on standard input.")],
    detector: Annotated[
        str | None,
        typer.Option(help="Detector folder, run folder, or the name of a bundled one: it answers images of every size."),
    ] = None,
    operating_point: Annotated[
        str, typer.Option(help="Decide at this operating point of the card: fpr1 and fpr5 are 1 % and 5 % false alarms.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Say of each image whether it is a photograph or AI-generated.

    Without --detector the bundled detector answers; where two are bundled, the one that is for an image's size.

    Examples:
      fauxto check photo.jpg
      fauxto check folder --csv > verdicts.csv
      fauxto check folder --operating-point fpr1
      cat photo.jpg | fauxto check - --json

    Exit codes:
       0  every image is real
      10  at least one is fake
      11  none is fake, at least one is unsure
       4  at least one could not be read (the others were answered)
       2  wrong call, or an operating point that the card does not have
       6  no usable detector
    """
    from fauxto.choosing import load_by_size, predict_by_size
    from fauxto.images import MAX_FILE_BYTES

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: choose one")
    loaded = load_by_size(detector, operating_point)
    names = _names(images)
    sources = (sys.stdin.buffer.read(MAX_FILE_BYTES + 1) if name == "-" else name for name in names)
    rows = [_row(name, *answered) for name, answered in zip(names, predict_by_size(sources, loaded), strict=True)]
    abouts = [_about(one) for one in loaded.values()]
    if as_json:
        print(json.dumps((abouts[0] if len(abouts) == 1 else {"detectors": abouts}) | {"images": rows}, indent=2))
    elif as_csv:
        print(_csv(rows), end="")
    else:
        _print_table(rows, [printable(_title(one)) for one in loaded.values()])
    for about in abouts:
        if about["note"] and not as_json:
            which = "this detector" if len(abouts) == 1 else f"the detector {about['detector']}"
            typer.secho(printable(f"{which} was trained on {about['note']}"), err=True, fg=typer.colors.YELLOW)
    raise typer.Exit(exit_code(rows))


def exit_code(rows: Iterable[dict[str, Any]]) -> int:
    """Return what a script can act on; an unreadable image outweighs all else, since the answer is then incomplete.

    Example:
        >>> exit_code([{"verdict": "fake", "error": ""}, {"verdict": "unsure", "error": ""}])
        10
    """
    verdicts = {"error" if row["error"] else row["verdict"] for row in rows}
    for found, code in (("error", ImageError.exit_code), ("fake", FOUND_FAKE), ("unsure", FOUND_UNSURE)):
        if found in verdicts:
            return code
    return 0


def _about(detector: Detector) -> dict[str, Any]:
    about = {"detector": detector.card["name"], "operating_point": detector.operating_point, **_rule(detector)}
    if detector.tiles:
        about["tiles"] = {**asdict(detector.tiles), **_rule(detector.over_tiles)}
    return about | {"note": str(detector.card.get("trained_on", {}).get("note", ""))}


def _rule(detector: Detector) -> dict[str, Any]:
    rule = detector.rule
    unsure = {"low": rule.low, "high": rule.high} if rule.low < rule.high else None
    return {"threshold": rule.threshold, "unsure": unsure}


def _title(detector: Detector) -> str:
    title = f"{detector.card['name']}, {_rule_in_words(detector)}"
    if detector.tiles and detector.over_tiles.rule != detector.rule:
        title += f"; over tiles {_rule_in_words(detector.over_tiles)}"
    return title + (f" (operating point {detector.operating_point})" if detector.operating_point else "")


def _rule_in_words(detector: Detector) -> str:
    from fauxto.verdicts import short

    rule = detector.rule
    words = f"fake from p_fake {short(rule.high)}"
    return words + (f", real below {short(rule.low)}, unsure between" if rule.low < rule.high else "")


def _names(images: list[str]) -> list[str]:
    """Return the images behind the arguments; folders are searched in depth, in order of their names."""
    names: list[str] = []
    for image in images:
        names += _images_below(Path(image)) if image != "-" and os.path.isdir(image) else [image]
    return names


def _images_below(folder: Path) -> list[str]:
    from fauxto.images import SUFFIXES

    found = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise UsageError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}): name a folder with images")
    return found


def _row(name: str, detector: Detector, answer: Prediction | ImageError) -> dict[str, Any]:
    if isinstance(answer, ImageError):
        nothing = dict.fromkeys(("verdict", "p_fake", "logit"))
        return {"image": name, **nothing, "reason": "", "kind": "", "error": str(answer), "detector": ""}
    return {"image": name, **answer.to_dict(), "error": "", "detector": detector.card["name"]}


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _print_table(rows: list[dict[str, Any]], titles: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"fake": "bold red", "real": "green", "unsure": "yellow", None: "magenta"}
    table = Table(title=Text("\n".join(titles)), title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("verdict")
    table.add_column("p_fake", justify="right")
    if len(titles) > 1:
        table.add_column("detector", overflow="fold")
    if any(row["reason"] or row["error"] for row in rows):
        table.add_column("why", overflow="fold")
    for row in rows:
        verdict = Text(row["verdict"] or "unreadable", style=colours[row["verdict"]])
        p_fake = "" if row["p_fake"] is None else f"{row['p_fake']:.4f}"
        by = [Text(printable(row["detector"]))] if len(titles) > 1 else []
        cells = [Text(printable(row["image"])), verdict, Text(p_fake), *by, Text(printable(row["reason"] or row["error"]))]
        table.add_row(*cells[: len(table.columns)])
    Console().print(table)
