"""``fauxto check IMAGE...``: a verdict on images, a folder, or what comes in on standard input."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fauxto.cli.terminal import printable
from fauxto.errors import ImageError, UsageError

if TYPE_CHECKING:
    from fauxto.detector import Detector
    from fauxto.vocabulary import Prediction

FOUND_FAKE, FOUND_UNSURE = 10, 11
COLUMNS = ("image", "verdict", "p_fake", "logit", "kind", "reason", "error")


def check(
    images: Annotated[list[str], typer.Argument(help="Images, folders of images, or - for one image on standard input.")],
    detector: Annotated[str | None, typer.Option(help="Detector folder, run folder, or the name of a bundled one.")] = None,
    operating_point: Annotated[
        str, typer.Option(help="Decide at this operating point of the card: fpr1 and fpr5 are 1 % and 5 % false alarms.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Say of each image whether it is a photograph or AI-generated.

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
    from fauxto.detector import Detector
    from fauxto.images import MAX_FILE_BYTES

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: choose one")
    loaded = Detector.load(detector)
    loaded = loaded.at(operating_point) if operating_point else loaded
    names = _names(images)
    sources = (sys.stdin.buffer.read(MAX_FILE_BYTES + 1) if name == "-" else name for name in names)
    rows = [_row(name, answer) for name, answer in zip(names, loaded.predict_each(sources), strict=True)]
    note = str(loaded.card.get("trained_on", {}).get("note", ""))
    if as_json:
        print(json.dumps(_about(loaded) | {"note": note, "images": rows}, indent=2))
    elif as_csv:
        print(_csv(rows), end="")
    else:
        _print_table(rows, printable(_title(loaded)))
    if note and not as_json:
        typer.secho(printable(f"this detector was trained on {note}"), err=True, fg=typer.colors.YELLOW)
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
    rule = detector.rule
    return {
        "detector": detector.card["name"],
        "operating_point": detector.operating_point,
        "threshold": rule.threshold,
        "unsure": {"low": rule.low, "high": rule.high} if rule.low < rule.high else None,
    }


def _title(detector: Detector) -> str:
    from fauxto.verdicts import short

    rule = detector.rule
    title = f"{detector.card['name']}, fake from p_fake {short(rule.high)}"
    if rule.low < rule.high:
        title += f", real below {short(rule.low)}, unsure between"
    return title + (f" (operating point {detector.operating_point})" if detector.operating_point else "")


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


def _row(name: str, answer: Prediction | ImageError) -> dict[str, Any]:
    if isinstance(answer, ImageError):
        return {"image": name, "verdict": None, "p_fake": None, "logit": None, "reason": "", "kind": "", "error": str(answer)}
    return {"image": name, **answer.to_dict(), "error": ""}


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _print_table(rows: list[dict[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"fake": "bold red", "real": "green", "unsure": "yellow", None: "magenta"}
    table = Table(title=Text(title), title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("verdict")
    table.add_column("p_fake", justify="right")
    if any(row["reason"] or row["error"] for row in rows):
        table.add_column("why", overflow="fold")
    for row in rows:
        verdict = Text(row["verdict"] or "unreadable", style=colours[row["verdict"]])
        p_fake = "" if row["p_fake"] is None else f"{row['p_fake']:.4f}"
        cells = [Text(printable(row["image"])), verdict, Text(p_fake), Text(printable(row["reason"] or row["error"]))]
        table.add_row(*cells[: len(table.columns)])
    Console().print(table)
