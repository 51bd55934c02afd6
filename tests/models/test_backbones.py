"""backbones: by name, with the pixels that they want; a small untrained one, since no weights can be fetched here."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from fauxto.config import TrainConfig
from fauxto.errors import ConfigError, MissingExtraError, NetworkError
from fauxto.models.backbones import FrozenNet, open_backbone

from .extractors import extractor

timm = pytest.importorskip("timm")

CONVOLUTIONS, TRANSFORMER = "timm:test_resnet@random", "timm:test_vit@random"


def opened(name: str, **changes):
    return open_backbone(TrainConfig(model="frozen", backbone=name, **changes))


@pytest.fixture(scope="module")
def resnet():
    return opened(CONVOLUTIONS)


@pytest.fixture(scope="module")
def vit():
    return opened(TRANSFORMER)


def images(side: int, n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 3, side, side)).astype(np.float32)


@pytest.mark.parametrize("which", ["resnet", "vit"])
def test_a_timm_backbone_is_timms_with_the_pixels_that_timm_says(which, request):
    backbone = request.getfixturevalue(which)
    about = timm.data.resolve_model_data_config(backbone.network)
    assert (backbone.spec.size, backbone.spec.mean, backbone.spec.std) == (about["input_size"][1], about["mean"], about["std"])
    batch = images(backbone.spec.size)
    with torch.no_grad():
        expected = backbone.network(torch.from_numpy(batch)).numpy()
    np.testing.assert_array_equal(backbone.features(batch), expected)
    assert backbone.features(batch).shape == (3, backbone.n_features)
    assert "untrained" in backbone.about()["weights"]


def test_untrained_weights_and_the_fingerprint_are_the_same_each_time(resnet):
    state = torch.random.get_rng_state()
    again = opened(CONVOLUTIONS)
    assert again.fingerprint == resnet.fingerprint != opened(TRANSFORMER).fingerprint
    assert torch.equal(torch.random.get_rng_state(), state)


def test_nothing_of_a_backbone_is_trained(resnet):
    assert not resnet.network.training
    assert not any(weight.requires_grad for weight in resnet.network.parameters())


def layers_for(backbone, *, deep: bool = False):
    rng = np.random.default_rng(1)
    shapes = [(4, backbone.n_features), (1, 4)] if deep else [(1, backbone.n_features)]
    return tuple((rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[0]).astype(np.float32)) for shape in shapes)


@pytest.mark.parametrize(("which", "deep", "is_map"), [("resnet", False, True), ("resnet", True, False), ("vit", False, False)])
def test_the_logit_is_the_heads_and_the_mean_of_the_evidence(which, deep, is_map, request):
    backbone = request.getfixturevalue(which)
    layers = layers_for(backbone, deep=deep)
    network = FrozenNet(backbone.network, layers, has_map=backbone.has_map)
    batch = torch.from_numpy(images(backbone.spec.size))
    with torch.no_grad():
        logit, evidence = network(batch), network.evidence(batch)
    hidden = backbone.features(batch.numpy()).astype(np.float64)
    for at, (weight, bias) in enumerate(layers):
        hidden = (np.maximum(hidden, 0) if at else hidden) @ weight.T + bias
    np.testing.assert_allclose(logit, hidden[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(evidence.mean(dim=(1, 2)), logit, rtol=1e-5, atol=1e-6)
    assert (evidence.shape[1] > 1) == is_map


def test_a_file_says_its_name_alone_and_wants_clips_pixels_unless_told(tmp_path):
    path = tmp_path / "tower.onnx"
    path.write_bytes(extractor(tokens=5).SerializeToString())
    backbone = opened(f"{path}@features")
    assert (backbone.name, backbone.spec.size, backbone.n_features) == ("tower.onnx@features", 8, 3)
    assert backbone.spec.mean[0] == pytest.approx(0.4815, abs=1e-4)
    assert opened(str(path), normalisation="half").spec.mean == (0.5, 0.5, 0.5)
    np.testing.assert_allclose(backbone.features(images(8)), images(8).mean(axis=(2, 3)), atol=1e-6)


def test_pixels_and_pools_are_another_matter_for_the_same_file(tmp_path):
    path = tmp_path / "tower.onnx"
    path.write_bytes(extractor(tokens=5).SerializeToString())
    first, mean = opened(str(path)), opened(str(path), pool="mean")
    assert not np.allclose(first.features(images(8)), mean.features(images(8)))


@pytest.mark.slow
def test_an_open_clip_backbone_is_the_image_tower_with_its_own_pixels():
    pytest.importorskip("open_clip")
    backbone = opened("open_clip:ViT-S-32-alt@random")
    assert (backbone.spec.size, backbone.n_features, backbone.has_map) == (224, 256, False)
    assert backbone.spec.mean[0] == pytest.approx(0.4815, abs=1e-4)
    batch = images(224, n=1)
    with torch.no_grad():
        np.testing.assert_array_equal(backbone.features(batch), backbone.network(torch.from_numpy(batch)).numpy())


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("open_clip:ViT-B-61/openai", "has no model 'ViT-B-61'; did you mean 'ViT-B-16'"),
        ("open_clip:ViT-B-16/openia", "has no weights 'openia' for ViT-B-16; did you mean 'openai'"),
        ("open_clip:ViT-B-16", "has no weights '' for ViT-B-16; known: openai"),
    ],
)
def test_unknown_names_of_open_clip_are_refused_with_what_there_is(name, said):
    pytest.importorskip("open_clip")
    with pytest.raises(ConfigError, match=re.escape(said)):
        opened(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "there is no backbone ''"),
        ("no/such/file.onnx", "there is no backbone 'no/such/file.onnx': give timm:MODEL"),
        ("timm:test_resnt@random", "timm has no model 'test_resnt'; did you mean 'test_resnet"),
        ("timm:test_resnet@trained", "may end in @random, not in @trained"),
        ("tim:test_resnet", "there is no backbone"),
    ],
)
def test_an_unknown_backbone_is_refused_with_what_there_is(name, said):
    with pytest.raises(ConfigError, match=said):
        opened(name)


def test_a_folder_is_no_backbone(tmp_path):
    with pytest.raises(ConfigError, match="there is no backbone"):
        opened(str(tmp_path))


def test_weights_that_cannot_be_fetched_are_said_in_one_line(monkeypatch):
    def broken(*_args, **_kwargs):
        raise OSError("no route\nto host")

    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(NetworkError, match=r"the weights of timm:test_resnet cannot be had \(no route to host\)"):
        opened("timm:test_resnet")


@pytest.mark.parametrize(("name", "package"), [("timm:test_resnet", "timm"), ("open_clip:ViT-B-32/openai", "open_clip_torch")])
def test_a_missing_package_is_named_with_its_extra(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package.removesuffix("_torch"), None)
    with pytest.raises(MissingExtraError, match=rf"needs the package {package}.*fauxto\[backbones\]"):
        opened(name)


def test_a_backbone_that_no_onnx_file_holds_is_refused_before_the_work(monkeypatch):
    monkeypatch.setattr("fauxto.models.backbones.MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match="one ONNX file holds 2"):
        opened(CONVOLUTIONS)


def test_the_configuration_refuses_what_does_not_go_together():
    with pytest.raises(ConfigError, match="belongs to model 'frozen'"):
        TrainConfig(backbone="timm:resnet18")
    with pytest.raises(ConfigError, match="mirrored"):
        TrainConfig(model="frozen", mirrored=True)
    assert replace(TrainConfig(model="frozen"), backbone="timm:resnet18").backbone == "timm:resnet18"
