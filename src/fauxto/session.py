"""A detector folder's model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fauxto.checkpoint import MODEL, verified
from fauxto.errors import DetectorError

Item = TypeVar("Item")
_N_AXES = {"logit": 1, "evidence": 3}


def open_session(folder: Path, card: Mapping[str, Any], *, name: str = MODEL, n_threads: int = 0) -> Any:
    """Return an ``onnxruntime.InferenceSession`` that takes ``images`` and gives ``logit`` and ``evidence``.

    Args:
        folder: The detector's.
        card: The detector's.
        name: The model's file.
        n_threads: How many cores one answer may use; 0 is all of them.

    Raises:
        DetectorError: The model has another checksum than the card says, cannot be loaded, or has other inputs or outputs.
    """
    import onnxruntime

    path = verified(folder, card, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        outputs = {output.name for output in session.get_outputs()}
    except Exception as error:  # ONNX Runtime raises its own, undocumented classes
        raise DetectorError(f"{path} cannot be loaded ({error}): train or copy the detector again") from error
    if not {"logit", "evidence"} <= outputs or [item.name for item in session.get_inputs()] != ["images"]:
        raise DetectorError(f"{path} is not a fauxto model (images -> logit, evidence): export the detector again")
    return session


def ask(session: Any, images: np.ndarray, outputs: Sequence[str], *, where: Path) -> list[np.ndarray]:
    """Return the named outputs for images, in their order.

    Args:
        session: As ``open_session`` returns it.
        images: float32, shape (n, 3, size, size).
        outputs: "logit", float of shape (n,), or "evidence", float of shape (n, h, w); also the same one twice.
        where: The model's file, for errors.

    Raises:
        DetectorError: The model fails on these images, or answers in another shape.
    """
    wanted = list(dict.fromkeys(outputs))
    try:
        found = dict(zip(wanted, session.run(wanted, {"images": images}), strict=True))
        for name, values in found.items():
            if values.ndim != _N_AXES[name] or len(values) != len(images) or values.dtype.kind != "f":
                raise ValueError(f"{name} has type {values.dtype} and shape {values.shape}")
    except Exception as error:  # ONNX Runtime raises its own, undocumented classes
        raise DetectorError(f"{where} does not fit its card ({error}): export the detector again") from error
    return [np.asarray(found[name]) for name in outputs]


def in_batches(items: Iterable[Item], size: int, *, is_ready: Callable[[Item], bool] | None = None) -> Iterator[list[Item]]:
    """Yield lists of up to so many items, read as they are needed.

    Args:
        items: What is to be put together.
        size: Of a list at most.
        is_ready: Whether an item need not wait for others; where it would be the first of a list, it is the whole list.

    Example:
        >>> list(in_batches("abc", 2)), list(in_batches("AabAc", 3, is_ready=str.isupper))
        ([['a', 'b'], ['c']], [['A'], ['a', 'b', 'A'], ['c']])
    """
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size or (len(batch) == 1 and is_ready and is_ready(item)):
            yield batch
            batch = []
    if batch:
        yield batch
