"""Feature extractors in ONNX, made by hand: small enough to be worked out, odd enough to be worth a test."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 8


def extractor(
    *, n: int | str = "n", side: int | str = SIDE, channels: int = 3, kind: int = TensorProto.FLOAT, opset: int = 17,
    tokens: int = 0, name: str = "pixels",
) -> onnx.ModelProto:  # fmt: skip
    """Return a model whose features are each channel's mean; or ``tokens`` times them, token t times t + 1."""
    to = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    nodes = [helper.make_node("GlobalAveragePool", [name], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["features"])]
    outputs = [helper.make_tensor_value_info("features", kind, None)]
    stored = []
    if tokens:
        stored = [numpy_helper.from_array(np.arange(1, tokens + 1, dtype=to).reshape(1, tokens, 1), "times")]
        stored.append(numpy_helper.from_array(np.array([1]), "axis"))
        nodes += [
            helper.make_node("Unsqueeze", ["features", "axis"], ["one"]),
            helper.make_node("Mul", ["one", "times"], ["tokens"]),
        ]
        outputs.insert(0, helper.make_tensor_value_info("tokens", kind, None))
    image = helper.make_tensor_value_info(name, kind, [n, channels, side, side])
    graph = helper.make_graph(nodes, "extractor", [image], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def quantised() -> onnx.ModelProto:
    """Return the same with its pixels in 8 bits, whose range is that of all images in the batch."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["pixels"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["coarse"]),
        helper.make_node("GlobalAveragePool", ["coarse"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    image = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "extractor", [image], [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
