"""The folder that a forge fills: one whole folder of images per member, and what is written of all of them together."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fauxto.data.layouts import MANIFEST
from fauxto.errors import DataError, UsageError
from fauxto.forge.operations import draw_operations, operated
from fauxto.forge.reals import Reals
from fauxto.forge.recipes import Member
from fauxto.forge.settings import ForgeSettings, codec_of
from fauxto.runs import environment_record, new_folder, whole_folder, write_json, write_text

RECORD, SUMMARY, REAL = "member.json", "forge.json", "real"
COLUMNS = ("path", "label", "generator", "family", "config", "seed", "group", "operation", "split")
_STALE_AFTER_S = 3600


def begin(out: Path, reals: Reals, settings: ForgeSettings, *, resume: bool) -> None:
    """Make the folder, or make sure that it is the one of this very forge.

    Raises:
        UsageError: The folder is taken, or was begun with other settings or other photographs.
    """
    asked = {"settings": dataclasses.asdict(settings), "reals": about_reals(reals)}
    if not resume or not (out / SUMMARY).is_file():
        new_folder(out, overwrite_hint="choose another --out, or pass --resume to go on with a forge")
        write_json(out / SUMMARY, {**asked, "members": [], "environment": environment_record()})
        return
    begun = _read(out / SUMMARY)
    missing = {"settings": {"align": "none"}}  # from forges of versions that did not ask
    for part, now in asked.items():
        before = begun.get(part)
        before = missing.get(part, {}) | before if isinstance(before, dict) else None
        changed = [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]
        if changed:
            raise UsageError(f"{out} was begun with another {', '.join(changed)}: go on with the same, or choose another --out")
    _sweep(out)


def about_reals(reals: Reals) -> dict[str, Any]:
    """Return what identifies the real images."""
    return {"source": reals.name, "n_images": len(reals.images), "fingerprint": reals.fingerprint}


def home_of(out: Path, member: Member) -> Path:
    """Return the folder of a member's images."""
    return out / "fake" / member.name


def about_member(member: Member) -> dict[str, Any]:
    """Return a member as plain values."""
    named: dict[str, Any] = json.loads(json.dumps({**vars(member), "config": {**member.config}, "sampling": {**member.sampling}}))
    return named


def is_finished(out: Path, member: Member) -> bool:
    """Tell whether a member's images lie there, whole.

    Raises:
        UsageError: They are those of a member of the same name with other settings.
    """
    record = home_of(out, member) / RECORD
    if not record.is_file():
        return False
    if _read(record).get("member") != about_member(member):
        raise UsageError(f"{record.parent} was made with other settings of this member: choose another --out, or remove it")
    return True


def write_images(
    folder: Path,
    name: str,
    images: np.ndarray,
    *,
    source: np.ndarray,
    group: tuple[str, ...],
    settings: ForgeSettings,
    about: dict[str, Any],
) -> None:
    """Write a set of images after their operations, each with the settings' encoder; whole or not at all.

    Args:
        folder: New folder.
        name: Of the set, from which its operations are drawn.
        images: uint8, shape (n, s, s, 3).
        source: Shape (n,): the real image behind each, -1 for none.
        group: Of all real images.
        settings: Encoder and seed are used.
        about: What else is recorded.
    """
    operations = draw_operations(len(images), seed=settings.seed, name=name)
    suffix, file_format, options = codec_of(settings.encode)
    lines = []
    with whole_folder(folder) as private:
        for number, image in enumerate(operated(images, operations, seed=settings.seed)):
            file, at = f"{number:05d}{suffix}", int(source[number])
            Image.fromarray(image).save(private / file, file_format, **options)
            lines.append({"file": file, "source": at, "group": group[at] if at >= 0 else "", "operation": operations[number]})
        write_json(private / RECORD, {**about, "images": lines})


def finished(out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and record of every member that is whole, in the order of their names."""
    for record in sorted(out.glob(f"fake/*/*/{RECORD}")):
        yield record.parent, _read(record)


def write_summary(out: Path) -> None:
    """Write manifest.csv and forge.json from what is whole by now."""
    rows = [_row(f"{REAL}/{one['file']}", "real", one) for one in _read(out / REAL / RECORD)["images"]]
    members = []
    for folder, record in finished(out):
        member = record["member"]
        config = json.dumps({**member["config"], **member["sampling"]}, sort_keys=True)
        known = {"generator": member["name"], "family": member["family"], "config": config, "seed": member["seed"]}
        prefix = folder.relative_to(out).as_posix()
        rows += [_row(f"{prefix}/{one['file']}", "fake", one | known) for one in record["images"]]
        members.append({key: value for key, value in record.items() if key != "images"})
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / MANIFEST, text.getvalue())
    begun = _read(out / SUMMARY)
    write_json(out / SUMMARY, {**begun, "members": members, "environment": environment_record()})


def _row(path: str, label: str, known: dict[str, Any]) -> dict[str, Any]:
    return {key: known.get(key, "") for key in COLUMNS} | {"path": path, "label": label}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): remove its folder and forge again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no record of a forge: remove its folder and forge again")
    return found


def _sweep(out: Path) -> None:
    """Remove what a killed forge was writing; a younger folder may be another process's."""
    for left in (*out.glob(".real.*"), *out.glob("fake/*/.*")):
        if left.is_dir() and time.time() - left.stat().st_mtime > _STALE_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)
