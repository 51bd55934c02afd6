"""The run folder: what a run is, written down when it begins and compared when it goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from fauxto import config as configs
from fauxto.checkpoint import LINES
from fauxto.config import TrainConfig
from fauxto.data.splits import Split
from fauxto.data.store import Store
from fauxto.errors import UsageError
from fauxto.runs import environment_record, new_folder, sweep_parts, write_json, write_text
from fauxto.training.processes import device_name, precision_of

RUN, CONFIG = "run.json", "config.toml"


def open_run(
    fabric: Fabric,
    folder: Path,
    store: Store,
    split: Split,
    config: TrainConfig,
    *,
    ancestors: dict[str, Any] | None = None,
    resume: bool,
) -> None:
    """Make the run folder, or check that it is this run's; config.toml comes last and says that a run has begun.

    Raises:
        UsageError: The folder is taken, or with ``resume`` not that of a run with this configuration, data and split.
        DiskFullError: There was no room.
    """
    about = _about(fabric, store, split) | {"precision": precision_of(config), **dict.fromkeys(LINES), **(ancestors or {})}
    if resume and (folder / CONFIG).is_file():
        _check_same_config(folder, config)
        _check_same_run(folder, about)
        sweep_parts(folder)
        return
    if resume:
        _clear_stillborn(folder)
    new_folder(folder, overwrite_hint="choose another --out, or pass --resume to go on with that run")
    here = {"device": device_name(fabric), "environment": environment_record()}
    write_json(folder / RUN, about | here)
    write_text(folder / CONFIG, configs.to_toml(config))


def _about(fabric: Fabric, store: Store, split: Split) -> dict[str, Any]:
    counts = {part: len(getattr(split, part)) for part in ("train", "validation", "test", "test_unseen")}
    digest = hashlib.sha256(b"|".join(getattr(split, part).astype("<i8").tobytes() for part in ("train", "validation", "test")))
    return {
        "store": store.folder.name,
        "n_images": counts | {"left_out_of_train": split.n_left_out},
        "split": digest.hexdigest(),
        "n_processes": fabric.world_size,
    }


def _clear_stillborn(folder: Path) -> None:
    """Empty the folder of a run that was killed before it had begun; any other is none that can be resumed."""
    if folder.is_dir():
        sweep_parts(folder)
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - {RUN}:
        raise UsageError(f"there is no run to resume in {folder}: start it without --resume")
    (folder / RUN).unlink(missing_ok=True)


def _check_same_config(folder: Path, config: TrainConfig) -> None:
    before = configs.to_dict(configs.from_mapping(TrainConfig, configs.read_toml(folder / CONFIG)))
    now = configs.to_dict(config)
    changed = [f"{key} was {before[key]!r} and is now {now[key]!r}" for key in now if before[key] != now[key]]
    if changed:
        raise UsageError(f"{folder} was started with another configuration ({'; '.join(changed)}): give the same, or a new --out")


def _check_same_run(folder: Path, about: dict[str, Any]) -> None:
    try:
        before = dict(json.loads((folder / RUN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{folder / RUN} cannot be read ({error}): start anew with another --out") from error
    if before.get("store") != about["store"]:
        raise UsageError(f"{folder} was started with other data: give the same --data, or a new --out")
    for line, option in LINES.items():
        if before.get(line) != about[line]:
            name = (before.get(line) or {}).get("name")
            with_it = f"with {option} {name}" if name else f"without {option}"
            raise UsageError(f"{folder} was started {with_it}: do the same, or take a new --out")
    n_before, n_now = before.get("n_processes", 1), about["n_processes"]
    if n_before != n_now:
        raise UsageError(f"{folder} was started with {n_before} processes, now there are {n_now}: take as many as before")
    if before.get("precision", about["precision"]) != about["precision"]:
        raise UsageError(
            f"{folder} was started in {before['precision']}, this machine would go on in {about['precision']}: "
            "go on where it began"
        )
    # Else images that picked the epoch, or that are kept for the test, would now be trained on.
    if any(before.get(key, about[key]) != about[key] for key in ("n_images", "split")):
        raise UsageError(f"{folder} was started by a fauxto that splits these data otherwise: go on with that version")
