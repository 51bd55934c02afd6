"""From a configuration and data to a run folder that holds a detector: ``fauxto train --preset notebook --data DIR``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fauxto.errors import DataError, UsageError, missing_extra

try:
    import torch
    from lightning_fabric import Fabric
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

from fauxto.config import TrainConfig
from fauxto.data.joined import Joined, Share, joined
from fauxto.data.loaders import n_steps
from fauxto.data.splits import Split, make_split
from fauxto.data.store import Store
from fauxto.models import factory
from fauxto.models.general import GeneralNet, check_enough
from fauxto.models.routing import is_on_grid
from fauxto.training.beginning import ancestor, first_network
from fauxto.training.finish import validation_photographs, write_detector
from fauxto.training.folder import open_run
from fauxto.training.logs import EpochBar
from fauxto.training.loop import Loop
from fauxto.training.optimizers import averaged_copy, build_optimizer
from fauxto.training.processes import keep_large_blocks, leave_processes, on_first, open_fabric
from fauxto.training.state import Position, load_best, load_state
from fauxto.training.teacher import teacher_answers

__all__ = ["fit", "keep_large_blocks", "leave_processes", "train"]


def train(
    store: Store,
    config: TrainConfig,
    folder: Path,
    *,
    init: str | Path | None = None,
    teacher: str | Path | None = None,
    guests: Mapping[str, Store] | None = None,
    resume: bool = False,
    shown: bool = True,
    name: str = "",
    note: str = "",
) -> Path:
    """Train a detector.

    Args:
        store: Decoded images.
        config: What to do.
        folder: Run folder; new, or with ``resume`` the one of an interrupted run.
        init: Detector whose weights training begins with, as ``Detector.load`` takes it; None begins with random ones.
        teacher: Detector whose answers are mixed into the labels, as ``Detector.load`` takes it.
        guests: More data for training and validation, by name (``data.joined``).
        resume: Go on where an interrupted run was; on the CPU the result is bit-identical to an uninterrupted run.
        shown: Show progress on stderr.
        name: The detector's name on its card; the folder's name by default.
        note: A sentence about the data for the card, such as that they are simulated.

    Returns:
        The detector folder, ``folder / "detector"``.

    Raises:
        UsageError: The folder is taken, the interrupted run had another configuration or other data, ``init`` has another
            network, or it or ``teacher`` knows this run's validation or test images, or a head on a backbone was given one of
            them; families are left out without guests.
        DetectorError: ``init`` or ``teacher`` is no detector, or a damaged one.
        DivergedError: The loss became NaN; the last good checkpoint stays.
        TrainingError: The device is not there, or the interrupted run's state is damaged.
        DataError: The split cannot be made, or there are too few images.
        DiskFullError: There was no room; the last good checkpoint stays.
    """
    if config.model == "frozen" and (init is not None or teacher is not None):
        raise UsageError("a head on a frozen backbone learns from labels alone: leave --init and --teacher out")
    if config.left_out and not guests:
        raise UsageError(f"{', '.join(config.left_out)}: only families of guests are left out: name them (--forge, --generators)")
    data = joined(store, guests, config) if guests else None
    if data is not None:
        store = data.store
    split = make_split(store, replace(config, split="official") if data else config)  # the guests' parts follow the main data's
    if config.model == "frozen":
        from fauxto.training.frozen import train_head

        return train_head(store, split, config, folder, data=data, resume=resume, shown=shown, name=name, note=note)
    return _train_network(
        store, split, config, folder, data=data, init=init, teacher=teacher, resume=resume, shown=shown, name=name, note=note
    )


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
    fabric = open_fabric(config)
    _check_enough(split, config, fabric)
    on_first(fabric, lambda: open_run(fabric, folder, store, split, config, resume=False))
    loop = _loop(fabric, first_network(config, None), store, split, config, folder, shown=False)
    loop.on_epoch, loop.keeps_weights = on_epoch, False
    position = Position()
    loop.run(position)
    return position.history


def _train_network(
    store: Store,
    split: Split,
    config: TrainConfig,
    folder: Path,
    *,
    data: Joined | None,
    init: str | Path | None,
    teacher: str | Path | None,
    resume: bool,
    shown: bool,
    name: str,
    note: str,
) -> Path:
    """Train one of our own networks on divided data; the arguments are those of ``train``, and what guests brought."""
    shares = data.shares(split) if data else [Share(store, split, {})]
    found = {"begun_from": ancestor(init, *shares), "taught_by": ancestor(teacher, *shares)}
    ancestors = {line: about for line, about in found.items() if about}
    weight = data.wanted(split) if data else None
    fabric = open_fabric(config)
    _check_enough(split, config, fabric)
    network = first_network(config, init)
    loop = _loop(fabric, network, store, split, config, folder, shown=shown)
    if isinstance(loop.answering, GeneralNet):
        check_enough(is_on_grid(validation_photographs(loop)[0]))  # now, and not when hours have passed
    on_first(fabric, lambda: open_run(fabric, folder, store, split, config, ancestors=ancestors, resume=resume))
    loop.ancestors = ancestors
    if data is not None:
        loop.weight, loop.parts = weight, data.parts
    position = load_state(folder, loop.kept(), loop.optimizer.optimizer) if resume else Position()
    if teacher is not None and not position.is_done:
        loop.teacher = teacher_answers(teacher, store, split.train, loop.bar).to(fabric.device)
    loop.run(position)
    load_best(folder, loop.answering)
    return _finish(loop, position, name=name or folder.resolve().name, note=note)


def _finish(loop: Loop, position: Position, *, name: str, note: str) -> Path:
    """Calibrate on the validation part and write the detector, on the first process."""
    if isinstance(loop.answering, GeneralNet):
        loop.answering.eval().level(*(some.to(loop.fabric.device) for some in validation_photographs(loop)))
    logits = loop.logits(loop.split.validation, exact=True)
    folder = loop.folder / "detector"
    on_first(loop.fabric, lambda: write_detector(loop, position, logits, folder, name=name, note=note))
    loop.bar.say(f"detector written to {folder}")
    return folder


def _loop(
    fabric: Fabric, network: nn.Module, store: Store, split: Split, config: TrainConfig, folder: Path, *, shown: bool
) -> Loop:
    network = network.to(memory_format=torch.channels_last if config.channels_last else torch.contiguous_format)
    optimizer = build_optimizer(network, config)
    averaged = averaged_copy(network, decay=config.ema_decay).to(fabric.device) if config.ema_decay else None
    model, optimizer = fabric.setup(network, optimizer)
    spec = factory.preprocess_spec(config)
    bar = EpochBar(shown=shown and fabric.is_global_zero)
    return Loop(fabric, model, optimizer, averaged, store, split, spec, config, folder, bar)


def _check_enough(split: Split, config: TrainConfig, fabric: Fabric) -> None:
    if not n_steps(len(split.train), batch_size=config.batch_size, world_size=fabric.world_size):
        raise DataError(
            f"{len(split.train)} training images are too few for one step of {fabric.world_size} processes "
            "with two images each: give more images or fewer processes"
        )
