"""What the tests of the measurements share."""

from __future__ import annotations

import csv
import importlib
import io
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def module(name: str) -> ModuleType:
    """Import a file of benchmarks/ as it imports its neighbours when it is run."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


def tower() -> bytes:
    """A tower with two blocks and 3 tokens of 4 numbers, named as in the package."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    nodes.append(helper.make_node("MatMul", ["flat", "wide"], ["image_embeds"]))
    stored = [numpy_helper.from_array(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), "wide")]
    stored += [numpy_helper.from_array(np.array([1]), "one")]
    nodes.append(helper.make_node("Unsqueeze", ["image_embeds", "one"], ["token"]))
    for at in range(2):
        stored.append(numpy_helper.from_array(np.arange(at, at + 3, dtype=np.float32).reshape(1, 3, 1), f"times{at}"))
        nodes.append(helper.make_node("Mul", ["token", f"times{at}"], [f"/encoder/layers.{at}/Add_1_output_0"]))
    image = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, 224, 224])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image_embeds", "token")]
    graph = helper.make_graph(nodes, "tower", [image], outputs, stored)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with five images of each of three sources of bluish fakes and three of photographs, and a tower."""
    rng, text = np.random.default_rng(0), io.StringIO()
    manifest = csv.writer(text)
    manifest.writerow(["path", "label", "generator", "source"])
    with tarfile.open(tmp_path / "images.tar", "w") as archive:

        def add(name: str, payload: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(payload)
            archive.addfile(entry, io.BytesIO(payload))

        for at, source in enumerate("abcdef"):
            label, grey = ("fake", "real")[at % 2], 90 + 10 * at
            for number in range(5):
                stream = io.BytesIO()
                pixels = np.clip(rng.normal([grey, grey, grey + 20 * (label == "fake")], 9, (40, 40, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
                add(f"{source}/{number}.png", stream.getvalue())
                manifest.writerow([f"{source}/{number}.png", label, source if label == "fake" else "", source])
        add("manifest.csv", text.getvalue().encode())
    (tmp_path / "tower.onnx").write_bytes(tower())
    return tmp_path
