"""The end of a run: calibration on validation answers, ONNX with proof of parity, and the sealed detector folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fauxto.checkpoint import MODEL, WEIGHTS, save_tensors, write_card
from fauxto.data.loaders import squares
from fauxto.export import export_onnx
from fauxto.models import factory
from fauxto.perturb import training_perturbed
from fauxto.preprocess import PreprocessSpec, normalised, recoded
from fauxto.runs import sweep_parts
from fauxto.training.card import make_card, sampled

if TYPE_CHECKING:
    from fauxto.data.splits import Positions
    from fauxto.training.loop import Loop
    from fauxto.training.state import Position

_AT_ONCE = 512  # images


def validation_photographs(loop: Loop) -> tuple[torch.Tensor, torch.Tensor]:
    """Return validation photographs as they are, and as JPEG of the configured quality; and damaged ones: float32, (n, 3, s, s).

    Those that saving would not change and the others are drawn apart, or the many would leave few of the few. Every fourth of the
    others comes once more, perturbed as training images are: people's photographs are seldom as clean as those of a data set.
    """
    reals = loop.split.validation[~loop.store.is_fake[loop.split.validation]]
    chunks = np.split(reals, range(_AT_ONCE, len(reals), _AT_ONCE))
    is_other = np.concatenate([_changed(chunk, loop) for chunk in chunks])
    drawn = (sampled(some, loop.config.seed, size=loop.spec.size) for some in (reals[~is_other], reals[is_other]))
    was_saved, others = (squares(loop.store, some, loop.spec) for some in drawn)
    damaged = training_perturbed(others[::4], np.random.default_rng(loop.config.seed), share=1.0)
    clean = np.concatenate([was_saved, others, _saved(others, loop)])
    return torch.from_numpy(normalised(clean, loop.spec)), torch.from_numpy(normalised(damaged, loop.spec))


def _changed(positions: Positions, loop: Loop) -> np.ndarray:
    """Return which photographs would look otherwise as JPEG of the configured quality: bool, (n,)."""
    images = squares(loop.store, positions, loop.spec)
    is_changed: np.ndarray = (_saved(images, loop) != images).any(axis=(1, 2, 3))
    return is_changed


def _saved(images: np.ndarray, loop: Loop) -> np.ndarray:
    return recoded(images, PreprocessSpec(recode=loop.config.recode, recode_from=loop.config.recode_from))


def write_detector(loop: Loop, position: Position, logits: np.ndarray, folder: Path, *, name: str, note: str) -> None:
    """Write ``model.onnx``, ``weights.safetensors`` and, last, ``card.json``.

    Args:
        loop: The finished loop, with the best epoch's weights in place.
        position: Where it ended.
        logits: The network's answers on the validation part.
        folder: The detector folder; one that lies there from before is overwritten.
        name: The detector's name on its card.
        note: A sentence about the data.

    Raises:
        DetectorError: The exported model does not give the network's answers.
        DiskFullError: There was no room; without a card that fits, nothing there passes for a detector.
    """
    sweep_parts(folder)
    network = loop.answering.cpu().to(memory_format=torch.contiguous_format).eval()
    tensors = {key: value.detach().numpy() for key, value in network.state_dict().items()}
    save_tensors(folder / WEIGHTS, tensors)
    export_onnx(network, loop.spec, folder / MODEL)
    model = {"name": loop.config.model, **factory.options(loop.config)}
    write_card(folder, make_card(loop, position, logits, name=name, note=note, model=model))
