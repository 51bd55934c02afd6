"""The end of a run: calibration on validation answers, ONNX with proof of parity, and the sealed detector folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxto import config as configs
from fauxto.calibration import fit_temperature, to_p_fake
from fauxto.checkpoint import MODEL, WEIGHTS, save_tensors, write_card
from fauxto.data.splits import fingerprint
from fauxto.export import export_onnx
from fauxto.runs import environment_record, sweep_parts
from fauxto.training.processes import device_name

if TYPE_CHECKING:
    from fauxto.training.loop import Loop
    from fauxto.training.state import Position

THRESHOLD = 0.5


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
    network = loop.network.cpu().eval()
    tensors = {key: value.detach().numpy() for key, value in network.state_dict().items()}
    save_tensors(folder / WEIGHTS, tensors)
    export_onnx(network, loop.spec, folder / MODEL)
    write_card(folder, _card(loop, position, logits, name=name, note=note))


def _card(loop: Loop, position: Position, logits: np.ndarray, *, name: str, note: str) -> dict[str, Any]:
    is_fake = loop.store.is_fake[loop.split.validation]
    temperature = fit_temperature(is_fake, logits)
    p_fake = to_p_fake(logits, temperature=temperature)
    n_train, n_validation = len(loop.split.train), len(loop.split.validation)
    generators = sorted({loop.store.records[at].generator for at in loop.split.train} - {""})
    return {
        "name": name,
        "model": {"name": loop.config.model, "stem": loop.config.stem},
        "trained_on": {
            "store": loop.store.folder.name,
            "note": note,
            "n_train": n_train,
            "n_validation": n_validation,
            "pixels": fingerprint(loop.store, np.arange(len(loop.store))),
            "test_part": fingerprint(loop.store, loop.split.test),
            "generators": generators,
            "best_epoch": position.best_epoch,
            "config": configs.to_dict(loop.config),
        },
        "preprocessing": loop.spec.to_dict(),
        "calibration": {"method": "temperature", "temperature": temperature, "fitted_on": f"{n_validation} validation images"},
        "threshold": THRESHOLD,
        "scope": _scope(loop),
        "metrics": {"validation_accuracy": float(np.mean((p_fake >= THRESHOLD) == is_fake))},
        "environment": environment_record() | {"device": device_name(loop.fabric)},
    }


def _scope(loop: Loop) -> dict[str, Any]:
    """An image far from the training images' size is out of scope: the answer is then "unsure"."""
    sides = np.concatenate([loop.store.height[loop.split.train], loop.store.width[loop.split.train]])
    return {"min_side": int(sides.min()) // 2, "max_side": int(sides.max()) * 2}
