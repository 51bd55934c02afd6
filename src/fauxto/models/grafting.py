"""A feature extractor in an ONNX file, and a head grafted onto it: one graph, in whatever opset and precision it came."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fauxto.errors import ConfigError, missing_extra
from fauxto.preprocess import MAX_SIZE

try:
    import onnx
    from onnx import compose, helper, numpy_helper
except ImportError as error:
    raise missing_extra("train", "onnx") from error

Layers = tuple[
    tuple[np.ndarray, np.ndarray], ...
]  # a weight (n_out, n_in) and a bias (n_out,) each, with ReLU between two layers

FREE_SIZE = 224  # what an extractor of no fixed size sees unless another is asked for
OLDEST_OPSET = 7  # from here on the operators below mean the same
_IMAGES, _FEATURES, _PATCHES = "images", "fauxto/features", "fauxto/patches"


def answers(layers: Layers, features: np.ndarray) -> np.ndarray:
    """Return a head's logits, float32 (n,), for features (n, d).

    Example:
        >>> answers(((np.array([[1.0, -2.0]]), np.array([0.5])),), np.array([[3.0, 1.0]])).tolist()
        [1.5]
    """
    hidden = features
    for at, (weight, bias) in enumerate(layers):
        hidden = (np.maximum(hidden, 0) if at else hidden) @ weight.T + bias
    return np.asarray(hidden[:, 0], np.float32)


@dataclass(frozen=True, eq=False)
class Extractor:
    """Images float32 (n, 3, size, size) to features float32 (n, d), and the graph behind it.

    Attributes:
        graph: An ONNX model with the input "images" whose last nodes make the features, not yet an output.
        size: Side of the square that it sees, in pixels.
        n_features: The features' d.
        at_once: At most so many images together; 0 is any number.
        grid: Side of the map of patches whose mean the features are; 0 where they are no mean of a map.
    """

    graph: Any
    size: int
    n_features: int
    at_once: int
    grid: int

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the features of images (n, 3, size, size): float32, shape (n, d).

        Raises:
            ConfigError: The file's network fails on them.
        """
        step = self.at_once or len(images)
        parts = [_answer(self._session, images[at : at + step]) for at in range(0, len(images), step)]
        return np.concatenate(parts)

    @cached_property
    def _session(self) -> Any:
        model = onnx.ModelProto()
        model.CopyFrom(self.graph)
        model.graph.output.append(helper.make_tensor_value_info(_FEATURES, onnx.TensorProto.FLOAT, [None, self.n_features]))
        return _session_of(model)

    def with_head(self, layers: Layers) -> bytes:
        """Return a model ``images -> (logit, evidence)``: the head on the features; a map where the features are the mean of one.

        Args:
            layers: The head.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.graph)
        graph = _Graph(model)
        is_map = self.grid > 0 and len(layers) == 1
        hidden = _PATCHES if is_map else _FEATURES
        for at, (weight, bias) in enumerate(layers):
            hidden = graph.node("Relu", hidden) if at else hidden
            product = graph.node("MatMul", hidden, graph.constant(weight.T.astype(np.float32)))
            hidden = graph.node("Add", product, graph.constant(bias.astype(np.float32)))
        side = self.grid if is_map else 1
        graph.node("Reshape", hidden, graph.constant(np.array([-1, side, side])), out="evidence")
        flat = graph.node("Reshape", hidden, graph.constant(np.array([-1, side * side])))
        mean = graph.node("MatMul", flat, graph.constant(np.full((side * side, 1), 1 / side**2, np.float32)))
        graph.node("Reshape", mean, graph.constant(np.array([-1])), out="logit")
        for name, shape in (("logit", [None]), ("evidence", [None, side, side])):
            model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        return bytes(model.SerializeToString())


def read_extractor(payload: bytes, *, output: str = "", pool: str = "cls", input_size: int = 0) -> Extractor:
    """Read a feature extractor; nothing of it runs but ONNX operators, and nothing beside its bytes is read.

    Args:
        payload: The ONNX file: one input, images (n, 3, s, s); features (n, d) or tokens (n, t, d).
        output: Which of its outputs; "" is the first.
        pool: Of tokens, "cls" takes the first, "mean" the mean of all but a first one that is no patch.
        input_size: Side of the square where the input leaves it open, in pixels; 0 is 224.

    Raises:
        ConfigError: It is no such model.
    """
    model = _parsed(payload)
    image, output = _image_input(model), output or model.graph.output[0].name
    if output not in (names := [each.name for each in model.graph.output]):
        raise ConfigError(f"the model has no output {output!r}: take one of {', '.join(names)}")
    batch, size = _batch_and_size(image, input_size)
    kind = image.type.tensor_type.elem_type
    model = _prefixed(model)
    # The range of such a model's activations is that of all images that it sees together: one image must not sway another.
    at_once = 1 if batch == 1 or any(node.op_type == "DynamicQuantizeLinear" for node in _nodes(model)) else 0
    _take_images(model, f"backbone/{image.name}", kind, [batch or None, 3, size, size])
    shape = _shape_of(model, f"backbone/{output}", size)
    grid = _pooled(model, f"backbone/{output}", shape, pool)
    return Extractor(model, size, shape[-1], at_once, grid)


class _Graph:
    """Nodes and constants, added at the end of a model's graph under names that nobody else has."""

    def __init__(self, model: Any) -> None:
        self.graph = model.graph

    def node(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"fauxto/{len(self.graph.node)}"
        self.graph.node.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def constant(self, values: np.ndarray) -> str:
        name = f"fauxto/constant/{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name


def _parsed(payload: bytes) -> Any:
    try:
        model = onnx.ModelProto.FromString(payload)
    except Exception as error:  # protobuf's own classes
        raise ConfigError(f"this is no ONNX model that can be read ({_one_line(error)}): give a whole file") from error
    if not model.graph.node or not model.graph.output:
        raise ConfigError("this is no ONNX model, nothing is computed in it: give a whole file")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise ConfigError("the model keeps weights in other files, which are not read: save it as one file")
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST_OPSET:
        raise ConfigError(f"the model speaks opset {opset}, here {OLDEST_OPSET} is the oldest: export it anew")
    return model


def _image_input(model: Any) -> Any:
    stored = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in stored]
    kinds = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type not in kinds:
        found = ", ".join(each.name for each in inputs) or "none"
        raise ConfigError(f"expected a model with one input, images as floats, got {found}: export its image part alone")
    return inputs[0]


def _batch_and_size(image: Any, input_size: int) -> tuple[int, int]:
    """Return the fixed number of images, 0 where it is free, and the square's side."""
    sides = [each.dim_value for each in image.type.tensor_type.shape.dim]  # a free one is 0
    if len(sides) != 4 or sides[1] not in (0, 3) or sides[2] != sides[3] or sides[0] not in (0, 1):
        raise ConfigError(
            f"expected images of shape (n, 3, side, side) with n free or 1, the model wants {sides} (0 = free): export it so"
        )
    if input_size and sides[2] not in (0, input_size):
        raise ConfigError(f"input_size = {input_size}, but the model sees {sides[2]}x{sides[2]} pixels: leave input_size out")
    if sides[2] > MAX_SIZE:
        raise ConfigError(f"the model sees {sides[2]}x{sides[2]} pixels, {MAX_SIZE}x{MAX_SIZE} are the most: take another")
    return sides[0], sides[2] or input_size or FREE_SIZE


def _prefixed(model: Any) -> Any:
    """Return the model with names that are none of ours."""
    try:
        return compose.add_prefix(model, "backbone/")
    except Exception as error:  # onnx's own, undocumented classes
        raise ConfigError(f"the model's graph makes no sense ({_one_line(error)}): export it anew") from error


def _take_images(model: Any, name: str, kind: int, shape: list[int | None]) -> None:
    """Let the graph begin with "images", as float32, whatever its own input is called and counts in."""
    kept = [each for each in model.graph.input if each.name != name]
    del model.graph.input[:]
    model.graph.input.extend([helper.make_tensor_value_info(_IMAGES, onnx.TensorProto.FLOAT, shape), *kept])
    model.graph.node.insert(0, helper.make_node("Cast", [_IMAGES], [name], to=kind))
    del model.graph.output[:]


def _shape_of(model: Any, output: str, size: int) -> tuple[int, ...]:
    """Return the shape of one image's answer without the first axis; it is asked, since what files say of it may be wrong."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    _Graph(asked).node("Cast", output, out=_FEATURES, to=onnx.TensorProto.FLOAT)
    asked.graph.output.append(helper.make_tensor_value_info(_FEATURES, onnx.TensorProto.FLOAT, None))
    found = _answer(_session_of(asked), np.zeros((1, 3, size, size), np.float32))
    if found.ndim not in (2, 3) or len(found) != 1 or not all(found.shape):
        raise ConfigError(
            f"expected features (n, d) or tokens (n, t, d), the output has shape {found.shape}: name another, as FILE@OUTPUT"
        )
    return tuple(found.shape[1:])


def _pooled(model: Any, output: str, shape: tuple[int, ...], pool: str) -> int:
    """Let the graph end with the features; return the side of the map whose mean they are, or 0."""
    graph = _Graph(model)
    if len(shape) == 1:
        graph.node("Cast", output, out=_FEATURES, to=onnx.TensorProto.FLOAT)
        return 0
    tokens = graph.node("Cast", output, to=onnx.TensorProto.FLOAT)
    if pool == "cls":
        graph.node("Gather", tokens, graph.constant(np.array(0)), axis=1, out=_FEATURES)
        return 0
    n_tokens, width = shape
    is_grid, has_first = (round(n**0.5) ** 2 == n for n in (n_tokens, n_tokens - 1))
    n_first = int(has_first and not is_grid and n_tokens > 1)
    n_patches = n_tokens - n_first
    graph.node("Gather", tokens, graph.constant(np.arange(n_first, n_tokens)), axis=1, out=_PATCHES)
    mean = graph.node("MatMul", graph.constant(np.full((1, n_patches), 1 / n_patches, np.float32)), _PATCHES)
    graph.node("Reshape", mean, graph.constant(np.array([-1, width])), out=_FEATURES)
    return round(n_patches**0.5) if is_grid or n_first else 0


def _session_of(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own, undocumented classes
        raise ConfigError(f"the model cannot be loaded ({_one_line(error)}): export it anew") from error


def _answer(session: Any, images: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(session.run([_FEATURES], {_IMAGES: images})[0])
    except Exception as error:  # ONNX Runtime raises its own, undocumented classes
        raise ConfigError(f"the model fails on images of shape {images.shape} ({_one_line(error)}): export it anew") from error


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph or a function, and the graphs inside of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _graphs(inner)


def _all_graphs(model: Any) -> Iterator[Any]:
    for outer in (model.graph, *model.functions):
        yield from _graphs(outer)


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _all_graphs(model):
        yield from graph.node


def _tensors(model: Any) -> Iterable[Any]:
    for graph in _all_graphs(model):
        yield from getattr(graph, "initializer", ())  # a function has none
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error))[:200]
