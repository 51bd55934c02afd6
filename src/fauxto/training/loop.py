"""The plain loop: epochs of BCE on one logit over Lightning Fabric, early stopping, and a state that survives a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel

from fauxto.config import TrainConfig
from fauxto.data.loaders import n_steps, network_input, train_batches
from fauxto.data.splits import Positions, Split
from fauxto.data.store import Store
from fauxto.models import nets
from fauxto.preprocess import PreprocessSpec
from fauxto.training import logs
from fauxto.training.optimizers import learning_rate_share, set_learning_rate
from fauxto.training.processes import n_loader_threads, on_first, share_buffers, summed
from fauxto.training.state import Position, check_finite, check_finite_loss, save_best, save_state
from fauxto.training.teacher import targets

_LOOK_EVERY = 50
_VALIDATION_BATCH = 256


@dataclass
class Loop:
    """Everything that an epoch needs.

    Attributes:
        fabric: Device, precision and processes.
        model: The network as Fabric wrapped it.
        optimizer: Likewise.
        averaged: The moving average of the weights, which then answers in the network's place; None without.
        folder: The run folder.
        on_epoch: Called after each epoch; what it raises ends the run.
        weight: How often each training image is wanted (``data.loaders.train_batches``); None takes each once an epoch.
        parts: What the card will say of each data set where guests joined (``data.joined``); empty without.
        teacher: A teacher's answers for the store's images, (n,), on the device (``training.teacher``); None without one.
        ancestors: What the card says of the detectors that this one comes from (``training.beginning``).
        keeps_weights: Whether the run can be resumed and ends in a detector; a tuning trial does neither and writes no weights.
    """

    fabric: Fabric
    model: Any
    optimizer: Any
    averaged: AveragedModel | None
    store: Store
    split: Split
    spec: PreprocessSpec
    config: TrainConfig
    folder: Path
    bar: logs.EpochBar
    on_epoch: Callable[[Position], None] | None = None
    weight: np.ndarray | None = None
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    teacher: torch.Tensor | None = None
    ancestors: dict[str, Any] = field(default_factory=dict)
    keeps_weights: bool = True

    @property
    def network(self) -> nn.Module:
        """The bare network below Fabric's and DDP's wrappers."""
        module = self.model.module
        return module.module if hasattr(module, "module") else module  # type: ignore[no-any-return]

    @property
    def answering(self) -> nn.Module:
        """The network that validates and is kept: the averaged one where there is one."""
        return self.averaged.module if self.averaged is not None else self.network

    def run(self, position: Position) -> None:
        """Train from ``position`` to the end; ``position`` moves along."""
        while not position.is_done:
            started, n_before = time.monotonic(), position.totals[2]
            self.train_epoch(position)
            row = self._finished_row(position, time.monotonic() - started, n_before)
            is_best = row["validation_loss"] < _best_loss(position)
            position.history.append(row)
            position.epoch, position.step, position.totals = position.epoch + 1, 0, [0.0, 0.0, 0.0]
            if is_best:
                position.best_epoch = position.epoch
            position.is_done = _is_done(position, self.config)
            on_first(self.fabric, partial(self._keep, position, row, is_best))
            if self.on_epoch is not None:
                self.on_epoch(position)

    def train_epoch(self, position: Position) -> None:
        """Do the rest of the epoch that ``position`` stands in."""
        config, fabric = self.config, self.fabric
        total = n_steps(len(self.split.train), batch_size=config.batch_size, world_size=fabric.world_size)
        batches = train_batches(
            self.store, self.split.train, self.spec, config, epoch=position.epoch, weight=self.weight, first_step=position.step,
            rank=fabric.global_rank, world_size=fabric.world_size, n_workers=n_loader_threads(fabric),
        )  # fmt: skip
        self.model.train()
        totals = torch.tensor(position.totals, dtype=_sum_type(fabric.device), device=fabric.device)
        saved_at = time.monotonic()
        with self.bar.epoch(f"epoch {position.epoch + 1}/{config.max_epochs}", total=total, first=position.step):
            for images, labels, positions in batches:
                set_learning_rate(
                    self.optimizer, learning_rate_share(position.epoch * total + position.step, total * config.max_epochs, config)
                )
                labels = labels.to(fabric.device, non_blocking=True)
                totals += self.step(self._placed(images), labels, targets(labels, self._taught(positions), config))
                position.step += 1
                is_due = self._is_due(saved_at)
                if is_due or position.step % _LOOK_EVERY == 0 or position.step == total:
                    position.totals = totals.tolist()
                    self._look(position)
                if is_due:
                    save_state(self.folder, self.kept(), self.optimizer.optimizer, position)
                    saved_at = time.monotonic()

    def step(self, images: torch.Tensor, labels: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Do one optimizer step; return the sum of losses, the right answers and the images, (3,), on the device.

        Args:
            images: What the network sees.
            labels: What is true of them.
            wanted: What the network is pulled towards, in [0, 1].
        """
        logits = self.model(images)
        loss = binary_cross_entropy_with_logits(logits.float(), wanted)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        n_right = ((logits.detach() >= 0) == (labels >= 0.5)).sum()
        # Nothing here asks for a value: on a GPU each question would wait for all work before it.
        return torch.stack([loss.detach() * len(labels), n_right, torch.full_like(n_right, len(labels))]).to(
            _sum_type(labels.device)
        )

    def validate(self) -> tuple[float, float]:
        """Return mean loss and accuracy on the validation part."""
        logits = torch.from_numpy(self.logits(self.split.validation))
        labels = torch.from_numpy(self.store.is_fake[self.split.validation].astype(np.float32))
        loss = binary_cross_entropy_with_logits(logits.double(), labels.double())
        return float(loss), float(((logits >= 0) == (labels >= 0.5)).double().mean())

    @torch.no_grad()
    def logits(self, positions: np.ndarray, *, exact: bool = False) -> np.ndarray:
        """Return the network's answers: float32, shape (n,); processes share the work.

        With ``exact`` they are computed in float32, as by the exported model, whatever the training's precision. The bare
        network answers: DDP's wrapper would talk to the other processes in each batch, and they may have fewer.
        """
        fabric, network = self.fabric, self.answering.eval()
        share_buffers(fabric, network)
        answers = torch.zeros(len(positions), device=fabric.device)
        for start in range(fabric.global_rank * _VALIDATION_BATCH, len(positions), fabric.world_size * _VALIDATION_BATCH):
            part = positions[start : start + _VALIDATION_BATCH]
            images = self._placed(torch.from_numpy(network_input(self.store, part, self.spec)))
            with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False) if exact else fabric.autocast():
                answers[start : start + len(part)] = nets.answers(network, images, mirrored=self.spec.mirrored).float()
        return fabric.all_reduce(answers, reduce_op="sum").cpu().numpy()  # type: ignore[union-attr]

    def _placed(self, images: torch.Tensor) -> torch.Tensor:
        """Return images on the device, their memory laid out as the network's."""
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        return images.to(self.fabric.device, memory_format=layout, non_blocking=True)

    def _taught(self, positions: Positions) -> torch.Tensor | None:
        return None if self.teacher is None else self.teacher[torch.from_numpy(positions).to(self.fabric.device)]

    def kept(self) -> dict[str, nn.Module]:
        """Return everything with weights that a resumed run needs, by its name in the state."""
        return {"model": self.network} | ({"averaged": self.averaged} if self.averaged is not None else {})

    def _is_due(self, saved_at: float) -> bool:
        """Several processes would have to agree on the moment and gather their sums: they save after each epoch only."""
        is_late = time.monotonic() - saved_at >= self.config.checkpoint_every_s
        return is_late and self.keeps_weights and self.fabric.world_size == 1

    def _look(self, position: Position) -> None:
        """Move the bar, and stop a run that has diverged."""
        loss_sum, _, n_images = position.totals
        per_step = self.config.batch_size * self.fabric.world_size
        self.bar.update(position.step, n_images_per_step=per_step, loss=loss_sum / n_images)
        check_finite(self.network, position, self.folder)

    def _finished_row(self, position: Position, seconds: float, n_before: float) -> dict[str, float]:
        """Return the epoch's line of history.csv; ``n_before`` images of it were done before this run was resumed."""
        loss_sum, n_right, n_images = summed(self.fabric, position.totals)
        validation_loss, validation_accuracy = self.validate()
        check_finite_loss(validation_loss, position, self.folder)
        return {
            "epoch": position.epoch + 1,
            "train_loss": loss_sum / n_images,
            "train_accuracy": n_right / n_images,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "seconds": seconds,
            "images_per_s": (n_images - n_before) / max(seconds, 1e-9),
        }

    def _keep(self, position: Position, row: dict[str, float], is_best: bool) -> None:
        """Write the state after all that it stands for: a kill in between repeats work, and nothing is missing later."""
        check_finite(self.network, position, self.folder)
        logs.write_history(self.folder, position.history)
        if not self.keeps_weights:
            return
        if is_best:
            save_best(self.folder, self.answering)
        logs.log_tensorboard(self.folder, row)
        logs.draw_curves(self.folder, position.history, best_epoch=position.best_epoch)
        save_state(self.folder, self.kept(), self.optimizer.optimizer, position)
        self.bar.say(logs.epoch_line(row, max_epochs=self.config.max_epochs, is_best=is_best))


def _sum_type(device: torch.device) -> torch.dtype:
    """Apple's GPUs know no float64; float32 counts single images up to 16 million."""
    return torch.float32 if device.type == "mps" else torch.float64


def _best_loss(position: Position) -> float:
    return min((row["validation_loss"] for row in position.history), default=float("inf"))


def _is_done(position: Position, config: TrainConfig) -> bool:
    waited = position.epoch - position.best_epoch
    return position.epoch >= config.max_epochs or waited >= config.patience
