"""export: ONNX Runtime gives torch's answers for any batch size, or no file is written."""

from __future__ import annotations

import errno
import logging
import os
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fauxto import export, runs
from fauxto.checkpoint import MODEL, WEIGHTS, load_tensors
from fauxto.errors import DetectorError, DiskFullError, MissingExtraError
from fauxto.export import export_onnx
from fauxto.models.factory import build
from fauxto.models.routing import is_on_grid
from fauxto.perturb import perturbed
from fauxto.preprocess import PreprocessSpec, normalised

TOLERANCE = 1e-4
SPEC = PreprocessSpec()


def images(n: int) -> torch.Tensor:
    """Noise, every second image saved as JPEG of quality 75."""
    noise = np.random.default_rng(n).integers(64, 192, (n, 32, 32, 3), dtype=np.uint8)
    noise[::2] = perturbed(noise[::2], "jpeg-75")
    return torch.from_numpy(normalised(noise, SPEC))


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """A network with the CIFAR stem and its export: (network, path, difference)."""
    torch.manual_seed(0)
    network = build("resnet18", stem="cifar")
    with torch.no_grad():
        network.train()(images(64))  # so that the batch statistics are somebody's
    path = tmp_path_factory.mktemp("export") / MODEL
    level = logging.getLogger("torch.onnx").level
    difference = export_onnx(network.eval(), SPEC, path)
    assert logging.getLogger("torch.onnx").level == level
    return network, path, difference


@pytest.fixture(scope="module")
def imagenet(run_folder):
    """A trained network with the ImageNet stem and the model that lies beside its weights: (network, path, tolerated)."""
    network = build("resnet18", stem="imagenet")
    tensors, _ = load_tensors(run_folder / "detector" / WEIGHTS)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    return network.eval(), run_folder / "detector" / MODEL, TOLERANCE


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    """A network that treats images on the codec's grid otherwise, and its export: (network, path, difference)."""
    torch.manual_seed(0)
    network = build("routed")
    with torch.no_grad():
        network.train()(images(64))
    for name, weight in network.named_parameters():
        if "on_grid" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)  # so that the routes differ
    path = tmp_path_factory.mktemp("routed") / MODEL
    return network.eval(), path, export_onnx(network, SPEC, path)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """A network that takes images of any size, and its export: (network, path, difference)."""
    torch.manual_seed(0)
    network = build("evidence")
    with torch.no_grad():
        network.train()(images(64))
    path = tmp_path_factory.mktemp("evidence") / MODEL
    return network.eval(), path, export_onnx(network, SPEC, path)


@pytest.fixture(scope="module", params=["cifar", "imagenet", "evidence", "routed"])
def exported(request):
    return request.getfixturevalue(request.param)


# ---------------------------------------------------------------- parity


@torch.no_grad()
@pytest.mark.parametrize("n", [1, 2, 7])
def test_any_batch_gives_torchs_answers(exported, n):
    network, path, _ = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logit, evidence = session.run(["logit", "evidence"], {"images": images(n).numpy()})
    assert (logit.shape, logit.dtype) == ((n,), np.float32)
    np.testing.assert_allclose(logit, network(images(n)).numpy(), atol=TOLERANCE)
    np.testing.assert_allclose(evidence, network.evidence(images(n)).numpy(), atol=TOLERANCE)
    np.testing.assert_allclose(evidence.mean((1, 2)), logit, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(16, 16), (31, 47), (96, 96), (33, 200)])
def test_any_size_gives_torchs_answers_where_the_network_takes_any(evidence, size):
    network, path, difference = evidence
    assert difference <= TOLERANCE
    noise = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    pixels = torch.from_numpy(normalised(noise, SPEC))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logit, found = session.run(["logit", "evidence"], {"images": pixels.numpy()})
    assert found.shape == (3, -(-size[0] // 4), -(-size[1] // 4))
    np.testing.assert_allclose(logit, network(pixels).numpy(), atol=TOLERANCE)
    np.testing.assert_allclose(found, network.evidence(pixels).numpy(), atol=TOLERANCE)


def test_only_a_network_that_takes_any_size_has_free_sides(cifar, evidence, routed):
    for (_, path, _), sides in ((cifar, [32, 32]), (routed, [32, 32]), (evidence, ["height", "width"])):
        shape = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
        assert [axis.dim_param or axis.dim_value for axis in shape][2:] == sides


def test_a_model_that_is_wrong_at_another_size_is_not_written(evidence, monkeypatch, tmp_path):
    payload, answers = evidence[1].read_bytes(), export._answers
    program = SimpleNamespace(model_proto=SimpleNamespace(SerializeToString=lambda: payload))
    monkeypatch.setattr(export, "_trace", lambda model, example, **more: program)
    monkeypatch.setattr(export, "_answers", lambda payload, batch: answers(payload, batch) + (batch.shape[2] != 32))
    with pytest.raises(DetectorError, match="differ by 1"):
        export_onnx(evidence[0], SPEC, tmp_path / MODEL)
    assert list(tmp_path.iterdir()) == []


def test_the_difference_is_what_it_says(cifar):
    network, path, difference = cifar
    example = export._examples(SPEC)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        found = np.abs(session.run(["logit"], {"images": example.numpy()})[0] - network(example).numpy()).max()
    assert found <= difference <= TOLERANCE


def test_the_file_is_sound_and_whole(exported):
    model = onnx.load(exported[1], load_external_data=False)
    onnx.checker.check_model(model)
    assert [item.name for item in model.graph.input] == ["images"]
    assert [item.name for item in model.graph.output] == ["logit", "evidence"]
    assert {item.domain: item.version for item in model.opset_import}[""] == export.OPSET
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param, "the batch has no fixed size"
    assert not [tensor.name for tensor in model.graph.initializer if tensor.external_data], "no second file is needed"


def test_both_routes_are_in_the_file(routed):
    route = is_on_grid(images(7)).tolist()
    assert route == [True, False] * 3 + [True]
    assert is_on_grid(export._examples(SPEC)).tolist() == [False, False, True, True], "writing compares both"


# ---------------------------------------------------------------- refusals


@pytest.fixture
def traced(cifar, monkeypatch):
    """Spare the tests below the seconds that an export takes."""
    payload = cifar[1].read_bytes()
    program = SimpleNamespace(model_proto=SimpleNamespace(SerializeToString=lambda: payload))
    monkeypatch.setattr(export, "_trace", lambda model, example, **more: program)
    return cifar[0]


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_a_model_with_other_answers_is_not_written(traced, monkeypatch, tmp_path, wrong):
    answers = export._answers
    monkeypatch.setattr(export, "_answers", lambda payload, batch: answers(payload, batch) + wrong)
    with pytest.raises(DetectorError, match=r"logits differ by (1|nan).*not written"):
        export_onnx(traced, SPEC, tmp_path / MODEL)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_wrong_for_single_images_only_is_not_written(traced, monkeypatch, tmp_path):
    answers = export._answers
    monkeypatch.setattr(export, "_answers", lambda payload, batch: answers(payload, batch) + (len(batch) == 1))
    with pytest.raises(DetectorError, match="differ by 1"):
        export_onnx(traced, SPEC, tmp_path / MODEL)


def test_a_full_disk_is_named(traced, monkeypatch, tmp_path):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs.os, "fsync", full)
    with pytest.raises(DiskFullError):
        export_onnx(traced, SPEC, tmp_path / MODEL)
    assert os.listdir(tmp_path) == []


def test_a_missing_exporter_is_named(cifar, monkeypatch, tmp_path):
    def missing(*args, **options):
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(torch.onnx, "export", missing)
    with pytest.raises(MissingExtraError, match=r"onnxscript.*fauxto\[train\]"):
        export_onnx(cifar[0], SPEC, tmp_path / MODEL)


def test_the_model_says_nothing_of_the_machine_that_made_it(imagenet):
    payload = imagenet[1].read_bytes()
    assert not [word for word in (b"site-packages", b"stack_trace", b"nets.py", os.getcwd().encode()) if word in payload]
