"""A detector folder back to its PyTorch network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fauxto.checkpoint import WEIGHTS, load_tensors, read_card, verified
from fauxto.errors import ConfigError, DetectorError, missing_extra

try:
    import torch
    from torch import nn

    from fauxto.models import factory
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error


def load_network(detector_folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return a detector's network, on the CPU and in evaluation mode, and its card.

    Raises:
        DetectorError: The folder is no detector, a checksum is wrong, weights and card do not fit together, or it is a head
            on a frozen backbone, whose network is not kept.
    """
    folder = Path(detector_folder)
    card = read_card(folder)
    if isinstance(card.get("model"), dict) and card["model"].get("name") == "frozen":
        raise DetectorError(
            f"{folder} is a head on a frozen backbone, of which only the ONNX model is kept: it can be asked, evaluated and "
            "calibrated, and Detector.evidence gives its map, but there is no network to take gradients from or go on with"
        )
    tensors, _ = load_tensors(verified(folder, card, WEIGHTS))
    try:
        network = _built(**card["model"])
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()})
    except (ConfigError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DetectorError(
            f"card and weights in {folder} do not fit together, or another version of fauxto made them ({reason}): copy the "
            "detector again, or train it again"
        ) from error
    return network.eval(), card


def _built(name: str, **options: Any) -> nn.Module:
    """A stranger's card may name the options that training writes, and no others, such as widths beyond all memory."""
    if set(options) != set(factory.blueprint(name).options):
        raise ConfigError(f"model {name!r} does not take the options {sorted(options)}")
    return factory.build(name, **options)
