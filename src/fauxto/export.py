"""Networks to ONNX, with proof that both give the same answers."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fauxto.errors import DetectorError
from fauxto.preprocess import PreprocessSpec
from fauxto.runs import write_whole

MAX_LOGIT_DIFFERENCE = 1e-3
OPSET = 18


class _LogitAndEvidence(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        evidence = self.network.evidence(images)  # type: ignore[operator]
        return evidence.mean(dim=(1, 2)), evidence


def export_onnx(network: nn.Module, spec: PreprocessSpec, path: Path) -> float:
    """Write ``images -> (logit, evidence)`` as ONNX for any batch size.

    Args:
        network: On the CPU, in evaluation mode.
        spec: Its input's size.
        path: Where the model goes; whole or not at all.

    Returns:
        The largest difference of the two logits on random images.

    Raises:
        DetectorError: The exported model does not give the network's answers.
        DiskFullError: There was no room.
    """
    example = torch.randn(4, 3, spec.size, spec.size, generator=torch.Generator().manual_seed(0))
    program = _trace(_LogitAndEvidence(network).eval(), example)
    payload = program.model_proto.SerializeToString()
    with torch.no_grad():
        expected = network(example).numpy()
    difference = float(np.abs(_answers(payload, example.numpy()) - expected).max())
    if not difference <= MAX_LOGIT_DIFFERENCE * max(1.0, float(np.abs(expected).max())):
        raise DetectorError(f"the exported model's logits differ by {difference:.2g} from the network's: it is not written")
    write_whole(path, lambda part: part.write_bytes(payload))
    return difference


def _trace(model: nn.Module, example: torch.Tensor) -> torch.onnx.ONNXProgram:
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model, (example,), input_names=["images"], output_names=["logit", "evidence"],
            dynamic_shapes={"images": {0: batch}}, opset_version=OPSET, dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None  # dynamo=True always returns one
    return program


def _answers(payload: bytes, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logit"], {"images": images})[0])
