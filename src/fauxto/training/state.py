"""What a run needs to go on after a kill -9: weights, optimizer, position and history in one file without pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fauxto.checkpoint import load_tensors, save_tensors
from fauxto.errors import DetectorError, TrainingError

STATE = "state.safetensors"
BEST = "best.safetensors"


class DivergedError(TrainingError):
    """The loss or a weight is no finite number any more; a study takes note and goes on with its next trial."""


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        epoch: Epochs that are finished.
        step: Steps done in the epoch under way.
        totals: Sum of losses, right answers and images of the epoch under way.
        history: One row per finished epoch.
        best_epoch: The epoch (counted from 1) with the lowest validation loss; 0 before the first.
        is_done: Whether early stopping or the last epoch has ended the run.
    """

    epoch: int = 0
    step: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    is_done: bool = False


def save_state(folder: Path, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, position: Position) -> None:
    """Write the resumable state, whole or not at all.

    Args:
        folder: The run folder.
        networks: Everything with weights, by name; "model" is what the optimizer moves.
        optimizer: What moves it.
        position: How far the run has come.

    Raises:
        DivergedError: A weight is not a finite number; the state before stays.
        DiskFullError: There was no room; the state before stays.
    """
    check_finite(networks["model"], position, folder)
    tensors = {f"{key}.{name}": value for key, network in networks.items() for name, value in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    save_tensors(folder / STATE, _to_numpy(tensors), about=asdict(position))


def load_state(folder: Path, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> Position:
    """Put networks and optimizer where ``save_state`` left them; a run that was killed before its first state starts anew.

    Raises:
        TrainingError: The state is damaged or is not this model's.
    """
    path = folder / STATE
    if not path.exists():
        return Position()
    try:
        tensors, about = load_tensors(path)
        for key, network in networks.items():
            network.load_state_dict(_part(tensors, f"{key}."))
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            states.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        _lay_out_as_weights(optimizer)
        return Position(**about)
    except (DetectorError, RuntimeError, ValueError, TypeError) as error:
        raise TrainingError(f"{path} cannot be used ({_one_line(error)}): start anew with another --out") from error


def _lay_out_as_weights(optimizer: torch.optim.Optimizer) -> None:
    """Give each moment its weight's memory layout; the fused step goes through both by place in memory."""
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == weight.shape:
                values[name] = torch.empty_like(weight).copy_(value)


def save_best(folder: Path, model: nn.Module) -> None:
    """Keep the weights of the best epoch so far."""
    save_tensors(folder / BEST, _to_numpy(model.state_dict()))


def load_best(folder: Path, model: nn.Module) -> None:
    """Restore the weights of the best epoch.

    Raises:
        TrainingError: They are missing, damaged or not this model's.
    """
    try:
        tensors, _ = load_tensors(folder / BEST)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    except (DetectorError, RuntimeError) as error:
        raise TrainingError(f"{folder / BEST} cannot be used ({_one_line(error)}): start anew with another --out") from error


def check_finite(model: nn.Module, position: Position, folder: Path) -> None:
    """Stop a run whose loss or weights are no numbers any more, before anything good is overwritten.

    Raises:
        DivergedError: They are not.
    """
    weights = torch.stack([p.detach().float().sum() for p in model.parameters()]).sum()
    check_finite_loss(position.totals[0] + float(weights), position, folder)


def check_finite_loss(loss: float, position: Position, folder: Path) -> None:
    """Stop a run whose loss, or whatever stands for it, is no number any more.

    Raises:
        DivergedError: It is not.
    """
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss is not a finite number any more (epoch {position.epoch + 1}, step {position.step}): "
            f"lower learning_rate; the last good checkpoint stays in {folder}"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _part(tensors: dict[str, Any], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: torch.from_numpy(value) for name, value in tensors.items() if name.startswith(prefix)}


def _to_numpy(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}
