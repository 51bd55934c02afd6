"""One trial: a training run without a detector, ended early when it is hopeless, noted as failed when it diverges."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from fauxto.data.store import Store
from fauxto.training import fit
from fauxto.training.state import DivergedError
from fauxto.tuning.progress import StudyBar
from fauxto.tuning.study import Claim, Study

if TYPE_CHECKING:
    from fauxto.training.state import Position

History = list[dict[str, float]]


class _HopelessError(Exception):
    """The pruner ends this trial; never leaves this file."""


def run_trial(study: Study, claim: Claim, store: Store, bar: StudyBar) -> None:
    """Train with the claimed values and write into the study how it ended.

    Raises:
        FauxtoError: Something that would befall every trial: the device, the data or the disk.
    """
    started = time.monotonic()
    history: History = []
    bar.trial(claim.slot, claim.values)

    def on_epoch(position: Position) -> None:
        history[:] = position.history
        _look(claim, position)
        bar.epoch(position.epoch, max_epochs=claim.config.max_epochs)

    state, error = "complete", ""
    try:
        fit(store, claim.config, study.trial_folder(claim.slot), on_epoch=on_epoch)
    except _HopelessError:
        state = "pruned"
    except DivergedError as diverged:
        state, error = "failed", str(diverged).split(":")[0]
    except torch.OutOfMemoryError:
        state, error = "failed", f"the device has not enough memory for batch_size {claim.config.batch_size}"
    seconds = time.monotonic() - started
    study.finish(claim, state, error=error, seconds=seconds, n_epochs=len(history), **best_of(history))
    bar.ended(study.rows(), claim.slot)


def best_of(history: History) -> dict[str, Any]:
    """Return the best epoch's validation loss and accuracy and its number; nothing before the first epoch.

    Example:
        >>> row = {"epoch": 1, "validation_loss": 0.5, "validation_accuracy": 0.8}
        >>> best_of([row, {**row, "epoch": 2, "validation_loss": 0.7}])
        {'validation_loss': 0.5, 'validation_accuracy': 0.8, 'best_epoch': 1}
    """
    if not history:
        return {}
    best = min(history, key=lambda row: row["validation_loss"])
    values = {name: float(best[name]) for name in ("validation_loss", "validation_accuracy")}
    return {**values, "best_epoch": int(best["epoch"])}


def _look(claim: Claim, position: Position) -> None:
    loss = position.history[-1]["validation_loss"]
    claim.trial.report(loss, step=position.epoch - 1)
    if not position.is_done and claim.trial.should_prune():
        raise _HopelessError
