"""Networks to ONNX, with proof that both give the same answers."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fauxto.errors import DetectorError, missing_extra
from fauxto.models.grafting import Extractor, Layers, answers
from fauxto.perturb import perturbed
from fauxto.preprocess import PreprocessSpec, normalised
from fauxto.runs import write_whole

try:
    import torch
    from torch import nn
except ImportError as error:
    raise missing_extra("train", "torch") from error

MAX_LOGIT_DIFFERENCE = 1e-3
OPSET = 18
MIN_SIDE = 16


class _LogitAndEvidence(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        evidence = self.network.evidence(images)  # type: ignore[operator]
        return evidence.mean(dim=(1, 2)), evidence


def export_onnx(network: nn.Module, spec: PreprocessSpec, path: Path) -> float:
    """Write ``images -> (logit, evidence)`` as ONNX for any batch size and, where the network takes any image size, for that too.

    Args:
        network: On the CPU, in evaluation mode; with ``evidence``, the map whose mean is the logit. Where its ``any_size`` is
            true, so are height and width of the exported model's input, from 16 pixels on.
        spec: Its input's size.
        path: Where the model goes; whole or not at all.

    Returns:
        The largest difference of the two logits on random images, one by one and as a batch, of another size too where any is
        taken; some were saved as JPEG, which ``models.routing`` treats otherwise.

    Raises:
        DetectorError: The exported model does not give the network's answers.
        DiskFullError: There was no room.
        MissingExtraError: The exporter's packages are not installed.
    """
    any_size, example = bool(getattr(network, "any_size", False)), _examples(spec)
    program = _trace(_LogitAndEvidence(network).eval(), example, any_size=any_size)
    payload = without_notes(program.model_proto.SerializeToString())
    others = [_examples(spec, height=spec.size + 12, width=2 * spec.size + 5)] if any_size else []
    pairs = []
    for images in (example, example[:1], *others):
        with torch.no_grad():
            pairs.append((images.numpy(), network(images).numpy()))
    return _write_proven(payload, path, pairs)


def export_grafted(extractor: Extractor, layers: Layers, spec: PreprocessSpec, path: Path) -> float:
    """Write an ONNX feature extractor with a head, as ``export_onnx`` writes a network.

    Args:
        extractor: The network that came as ONNX.
        layers: The head.
        spec: Its input's size.
        path: Where the model goes; whole or not at all.

    Raises:
        DetectorError: The model does not give the head's answers on the extractor's features.
        DiskFullError: There was no room.
    """
    example = _examples(spec).numpy()
    expected = answers(layers, extractor.features(example))
    step = extractor.at_once or len(example)
    pairs = [(example[at : at + step], expected[at : at + step]) for at in (0, len(example) - 1)]
    return _write_proven(without_notes(extractor.with_head(layers)), path, pairs)


def _write_proven(payload: bytes, path: Path, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Write a model that gives, for each batch of images, the logits that are expected; return the largest difference."""
    difference = 0.0
    for images, expected in pairs:
        found = float(np.abs(_answers(payload, images) - expected).max())
        if not found <= MAX_LOGIT_DIFFERENCE * max(1.0, float(np.abs(expected).max())):
            raise DetectorError(f"the exported model's logits differ by {found:.2g} from the network's: it is not written")
        difference = max(difference, found)
    write_whole(path, lambda part: part.write_bytes(payload))
    return difference


def _examples(spec: PreprocessSpec, *, height: int = 0, width: int = 0) -> torch.Tensor:
    """Return two images of noise and two of noise that was saved as JPEG of quality 75: (4, 3, h, w), squares by default."""
    size = height or spec.size, width or spec.size
    levels = np.random.default_rng(0).integers(64, 192, (4, *size, 3), dtype=np.uint8)
    levels[2:] = perturbed(levels[2:], "jpeg-75")
    return torch.from_numpy(normalised(levels, spec))


def _trace(model: nn.Module, example: torch.Tensor, *, any_size: bool) -> torch.onnx.ONNXProgram:
    free = {0: torch.export.Dim("batch", min=1)}
    if any_size:
        free |= {axis: torch.export.Dim(name, min=MIN_SIDE) for axis, name in ((2, "height"), (3, "width"))}
    try:
        with _exporter_is_quiet():
            program = torch.onnx.export(
                model, (example,), input_names=["images"], output_names=["logit", "evidence"],
                dynamic_shapes={"images": free}, opset_version=OPSET, dynamo=True, verbose=False,
            )  # fmt: skip
    except ImportError as error:
        raise missing_extra("train", error.name or "onnxscript") from error
    assert program is not None  # dynamo=True always returns one
    return program


def without_notes(payload: bytes) -> bytes:
    """Return an ONNX model without what the exporter notes of each step: lines and paths of the code on this machine.

    Args:
        payload: The model as a file holds it.
    """
    import onnx

    model = onnx.ModelProto.FromString(payload)
    for part in (model.graph, *model.functions):
        del part.metadata_props[:]
        for node in part.node:
            del node.metadata_props[:]
        for value in part.value_info:
            del value.metadata_props[:]
    return bytes(model.SerializeToString())


@contextlib.contextmanager
def _exporter_is_quiet() -> Iterator[None]:
    """The exporter warns of its own internals, prints and logs; none of it is for our user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _answers(payload: bytes, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(payload, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logit"], {"images": images})[0])
