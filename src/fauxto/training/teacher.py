"""What a finished detector teaches a new one: its answers beside the labels (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fauxto.config import TrainConfig
from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.training.logs import EpochBar


def teacher_answers(where: str | Path, store: Store, positions: Positions, bar: EpochBar) -> torch.Tensor:
    """Return a detector's probabilities for some of a store's images; it is asked once, about each image as it lies there.

    Args:
        where: The teacher, as ``Detector.load`` takes it.
        store: Decoded images.
        positions: Which of them to ask about.
        bar: Shows how far it has come.

    Returns:
        float32, shape (n,), one for every image of the store; those that were not asked about are NaN.

    Raises:
        DetectorError: There is no such detector, or it is damaged.
    """
    detector = Detector.load(where)
    answers = np.full(len(store), np.nan, np.float32)
    with bar.epoch("the teacher's answers", total=len(positions), first=0):
        logits = detector.logits((store.image(at) for at in positions), progress=bar.move)
    answers[positions] = detector.p_fake(logits)
    return torch.from_numpy(answers)


def targets(labels: torch.Tensor, taught: torch.Tensor | None, config: TrainConfig) -> torch.Tensor:
    """Return what the network is pulled towards: labels, mixed with a teacher's answers where there are any, then smoothed.

    Args:
        labels: Float, shape (n,), 1 = fake.
        taught: A teacher's probabilities, same shape; None without one.
        config: ``teacher_weight`` and ``label_smoothing``.

    Example:
        >>> config = TrainConfig(teacher_weight=0.5, label_smoothing=0.1)
        >>> targets(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0]), config).tolist()
        [0.7000000476837158, 0.10000000149011612]
    """
    mixed = labels if taught is None else labels.lerp(taught, config.teacher_weight)
    return mixed * (1 - 2 * config.label_smoothing) + config.label_smoothing
