"""From a configuration and data to a run folder that holds a detector: ``fauxto train --preset notebook --data DIR``."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from lightning_fabric import Fabric

from fauxto import config as configs
from fauxto.config import TrainConfig
from fauxto.data.splits import Split, make_split
from fauxto.data.store import Store
from fauxto.errors import TrainingError, UsageError
from fauxto.models import factory
from fauxto.runs import environment_record, new_folder, seed_everything, write_json, write_text
from fauxto.training.finish import write_detector
from fauxto.training.logs import EpochBar
from fauxto.training.loop import Loop
from fauxto.training.state import Position, load_best, load_state

__all__ = ["fit", "keep_large_blocks", "train"]


def train(
    store: Store, config: TrainConfig, folder: Path, *, resume: bool = False, shown: bool = True, name: str = "", note: str = ""
) -> Path:
    """Train a detector.

    Args:
        store: Decoded images.
        config: What to do.
        folder: Run folder; new, or with ``resume`` the one of an interrupted run.
        resume: Go on where an interrupted run was; on the CPU the result is bit-identical to an uninterrupted run.
        shown: Show progress on stderr.
        name: The detector's name on its card; the folder's name by default.
        note: A sentence about the data for the card, such as that they are simulated.

    Returns:
        The detector folder, ``folder / "detector"``.

    Raises:
        UsageError: The folder is taken, or the interrupted run had another configuration.
        TrainingError: The loss became NaN or the device is not there.
        DataError: The split cannot be made.
        DiskFullError: There was no room; the last good checkpoint stays.
    """
    split = make_split(store, config)
    fabric = _fabric(config)
    if fabric.is_global_zero:
        _open_run(folder, store, split, config, resume=resume)
    fabric.barrier()
    loop = _loop(fabric, store, split, config, folder, shown=shown)
    position = load_state(folder, loop.network, loop.optimizer.optimizer) if resume else Position()
    loop.run(position)
    if fabric.is_global_zero:
        load_best(folder, loop.network)
    return _finish(loop, position, name=name or folder.name, note=note)


def fit(
    store: Store, config: TrainConfig, folder: Path, *, on_epoch: Callable[[Position], None] | None = None
) -> list[dict[str, float]]:
    """Train silently without keeping weights or writing a detector: what a trial of a study needs.

    Args:
        store: Decoded images.
        config: What to do; one device.
        folder: New folder for config.toml, run.json and history.csv.
        on_epoch: Called after each epoch; what it raises ends the run.

    Returns:
        One row per epoch, as in history.csv.

    Raises:
        UsageError: The folder is taken.
        DivergedError: The loss became NaN.
        TrainingError: The device is not there.
        DataError: The split cannot be made.
        DiskFullError: There was no room.
    """
    split = make_split(store, config)
    fabric = _fabric(config)
    _open_run(folder, store, split, config, resume=False)
    loop = _loop(fabric, store, split, config, folder, shown=False)
    loop.on_epoch, loop.keeps_weights = on_epoch, False
    position = Position()
    loop.run(position)
    return position.history


def _finish(loop: Loop, position: Position, *, name: str, note: str) -> Path:
    """Calibrate on the validation part and write the detector, on the first process."""
    if loop.fabric.world_size > 1:
        loop.fabric.barrier()
        if not loop.fabric.is_global_zero:
            load_best(loop.folder, loop.network)
    logits = loop.logits(loop.split.validation)
    folder = loop.folder / "detector"
    if loop.fabric.is_global_zero:
        write_detector(loop, position, logits, folder, name=name, note=note)
        loop.bar.say(f"detector written to {folder}")
    loop.fabric.barrier()
    return folder


def _fabric(config: TrainConfig) -> Fabric:
    if config.n_threads:
        torch.set_num_threads(config.n_threads)
    keep_large_blocks()
    try:
        fabric = Fabric(accelerator=config.device, devices=config.n_devices, precision=config.precision)
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"device {config.device!r} x {config.n_devices} cannot be used ({error}): try --device cpu") from error
    seed_everything(config.seed)
    torch.manual_seed(config.seed)
    return fabric


def _loop(fabric: Fabric, store: Store, split: Split, config: TrainConfig, folder: Path, *, shown: bool) -> Loop:
    network = factory.build(config.model, stem=config.stem)
    # The fused step does Adam's arithmetic in one pass over memory: 1.5-2x faster where the step dominates.
    adam = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    model, optimizer = fabric.setup(network, adam)
    spec = factory.blueprint(config.model).preprocess
    return Loop(fabric, model, optimizer, store, split, spec, config, folder, EpochBar(shown=shown and fabric.is_global_zero))


def _open_run(folder: Path, store: Store, split: Split, config: TrainConfig, *, resume: bool) -> None:
    text = configs.to_toml(config)
    if resume:
        _check_same_run(folder, store, text)
        return
    new_folder(folder, overwrite_hint="choose another --out, or pass --resume to go on with that run")
    counts = {part: len(getattr(split, part)) for part in ("train", "validation", "test", "test_unseen")}
    about = {"store": store.folder.name, "n_images": counts | {"left_out_of_train": split.n_left_out}}
    write_json(folder / "run.json", about | {"environment": environment_record()})
    write_text(folder / "config.toml", text)


def _check_same_run(folder: Path, store: Store, text: str) -> None:
    try:
        before = (folder / "config.toml").read_text(encoding="utf-8")
        stored = json.loads((folder / "run.json").read_text(encoding="utf-8"))["store"]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"there is no run to resume in {folder} ({error}): start it without --resume") from error
    changed = [new for old, new in zip(before.splitlines(), text.splitlines(), strict=False) if old != new]
    if before != text:
        raise UsageError(f"{folder} was started with another configuration (now {'; '.join(changed)}): give the same, or a new --out")
    if stored != store.folder.name:
        raise UsageError(f"{folder} was started with other data: give the same --data, or a new --out")


def keep_large_blocks() -> None:
    """Let glibc keep large freed blocks instead of giving them back to the system at every step.

    ResNet-18's gradients (45 MB) are otherwise mapped, zeroed and unmapped at each step: a fifth of the time at batch 16.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            m_trim_threshold, m_mmap_threshold = -1, -3
            mallopt(m_mmap_threshold, 1 << 30)
            mallopt(m_trim_threshold, (1 << 31) - 1)
