"""A report's files: report.json, scores.csv and other tables, pictures and, last, report.html."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np

from fauxto.report.contents import Report
from fauxto.report.curves import pictures_of
from fauxto.report.model_card import model_card
from fauxto.report.numbers import numbers_of
from fauxto.report.page import to_html
from fauxto.report.plots import PLOTS, to_png
from fauxto.report.prevalence import picture_of
from fauxto.runs import write_text, write_whole


def write_report(report: Report, folder: Path) -> Path:
    """Write a report; every file is whole, and files of an older report in the same folder are replaced.

    Returns:
        The page, ``folder / "report.html"``; it needs no other file and no network.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed; nothing was written.
        DiskFullError: There was no room; the page, which is written last, is then missing or the older one.
    """
    page = to_html(report)
    pictures = {name: to_png(name, report) for name in PLOTS} | picture_of(report) | pictures_of(report.robustness, report.across)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.json", json.dumps(numbers_of(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / "scores.csv", scores_csv(report))
    write_text(folder / "model-card.md", model_card(report))
    for name, part in (("robustness", report.robustness), ("generators", report.across)):
        if part:
            write_text(folder / f"{name}.csv", part.to_csv())
    for name, payload in pictures.items():
        _write_bytes(folder / f"{name}.png", payload)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def scores_csv(report: Report) -> str:
    """Return path, label, generator, columns, logit, p_fake, threshold, called_fake, verdict, kind and reason of every image.

    One field per column of the report says with 1 or 0 whether the image is in it; so does ``called_fake`` of the answer at the
    threshold, which the metrics count. The verdict may be "unsure", and then there is a reason and the kind of it.
    """
    scores = report.scores
    inside = np.zeros((len(report.columns), len(scores.path)), int)
    for row, column in zip(inside, report.columns, strict=True):
        row[column.members] = 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"in: {column.name}" for column in report.columns]
    writer.writerow(
        ["path", "label", "generator", *names, "logit", "p_fake", "threshold", "called_fake", "verdict", "kind", "reason"]
    )
    labels = np.where(scores.is_fake, "fake", "real").tolist()
    threshold = [report.threshold] * len(scores.path)
    numbers = (scores.logit.tolist(), scores.p_fake.tolist(), threshold, scores.called_fake.astype(int).tolist())
    said = (scores.verdict.tolist(), scores.kind, scores.reason)
    writer.writerows(zip(scores.path, labels, scores.generator, *inside.tolist(), *numbers, *said, strict=True))
    return text.getvalue()


def _write_bytes(path: Path, payload: bytes) -> None:
    write_whole(path, lambda part: part.write_bytes(payload))
