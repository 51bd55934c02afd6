"""explain.cam: what is loaded, written and refused, and that nothing is left behind."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM

from fauxto.checkpoint import WEIGHTS, save_tensors, write_card
from fauxto.errors import DetectorError, ImageError, MissingExtraError, UsageError
from fauxto.explain import cam
from fauxto.explain.cam import Explainer, explain_image, load_network
from fauxto.models import factory

from .conftest import RedMinusGreen, by_hand, card, random_images, red_left_green_right


def test_map_under_4x4_is_refused_with_reason_and_layer_to_take(explainer: Explainer):
    with pytest.raises(UsageError, match=r"backbone.layer4 is 1x1.* under 4x4 .*take --layer backbone.layer2") as refused:
        explainer.explain([random_images(1)[0]], layer="backbone.layer4")
    assert refused.value.exit_code == 2
    with pytest.raises(UsageError, match="layer small is 2x2"):
        by_hand().choose_layer("small")


def test_network_without_a_large_enough_map_is_refused():
    with pytest.raises(UsageError, match="no layer of this network has a map of 4x4 for 8x8 pixels"):
        Explainer(by_hand().detector, RedMinusGreen(), ("small",)).choose_layer()


def test_unknown_layer_and_target_are_refused_with_what_exists(explainer: Explainer):
    with pytest.raises(UsageError, match=r"'backbone.layr2'; did you mean 'backbone.layer2'"):
        explainer.explain([random_images(1)[0]], layer="backbone.layr2")
    with pytest.raises(UsageError, match="one of fake, real, got 'FAKE'"):
        explainer.explain([random_images(1)[0]], target="FAKE")


def test_hooks_and_gradients_are_gone_afterwards_also_after_an_error(explainer: Explainer, monkeypatch: pytest.MonkeyPatch):
    def traces() -> tuple[int, int]:
        hooks = sum(len(module._forward_hooks) for module in explainer.network.modules())
        return hooks, sum(parameter.grad is not None for parameter in explainer.network.parameters())

    with torch.inference_mode():
        explainer.explain(list(random_images(2)))
    assert traces() == (0, 0)
    monkeypatch.setattr(GradCAM, "get_cam_image", lambda *_: [][0])
    with pytest.raises(IndexError):
        explainer.explain(list(random_images(2)))
    assert traces() == (0, 0)
    assert not explainer.network.training


def test_picture_of_any_kind_and_size_is_fitted_and_out_of_scope_is_unsure(explainer: Explainer, tmp_path: Path):
    large = np.kron(random_images(1)[0], np.ones((3, 2, 1), np.uint8))
    path = tmp_path / "large.png"
    Image.fromarray(large).save(path)
    from_path, from_bytes, from_image = explainer.explain([path, path.read_bytes(), Image.fromarray(large)])
    assert from_path.image.shape == (32, 32, 3)
    assert from_path.verdict == "unsure"
    assert (from_path.source, from_bytes.source) == (str(path), "")
    np.testing.assert_array_equal(from_path.map, from_image.map)
    with pytest.raises(ImageError, match="expected a uint8 array"):
        explainer.explain([large.astype(np.float32)])


def test_one_pixel_image(explainer: Explainer):
    found = explain_image(explainer, np.full((1, 1, 3), 7, np.uint8))
    assert found.image.shape == (32, 32, 3)
    assert np.isfinite(found.map).all()


def test_save_writes_array_picture_and_manifest(explainer: Explainer, tmp_path: Path):
    found = explain_image(explainer, random_images(1)[0], target="real")
    folder = found.save(tmp_path / "deep" / "one")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "map.npy", "overlay.png"]
    np.testing.assert_array_equal(np.load(folder / "map.npy"), found.map)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["map_size"] == [4, 4]
    assert (manifest["target"], manifest["is_predicted_target"], manifest["layer"]) == ("real", False, "backbone.layer2")
    assert manifest["detector"] == explainer.name
    assert manifest["p_fake"] == found.p_fake
    with Image.open(folder / "overlay.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(found.overlay()))
    with pytest.raises(UsageError, match="already exists"):
        found.save(folder)
    assert len(list(folder.iterdir())) == 3


def test_half_written_explanation_is_removed(explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = explain_image(explainer, random_images(1)[0])

    def fails(*_args: object, **_options: object) -> None:
        raise RuntimeError("a colour was missing")

    monkeypatch.setattr("fauxto.explain.pictures.picture", fails)
    with pytest.raises(RuntimeError):
        found.save(tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def test_load_network_gives_the_saved_weights_and_the_card(folder: Path):
    network, about = load_network(folder)
    assert about["name"] == "tiny"
    assert not network.training
    torch.manual_seed(0)
    expected = factory.build("resnet18", stem="imagenet").state_dict()
    assert torch.equal(network.state_dict()["backbone.fc.weight"], expected["backbone.fc.weight"])
    found = explain_image(str(folder), random_images(1)[0])
    assert found.detector.startswith("tiny ")


def test_load_network_refuses_what_does_not_fit(tmp_path: Path):
    with pytest.raises(DetectorError, match="there is no detector"):
        load_network(tmp_path)
    save_tensors(tmp_path / WEIGHTS, {"weight": np.zeros(3, np.float32)})
    for model in (
        {"name": "resnet18", "stem": "cifar"},
        {"name": "resnet19"},
        {"stem": "cifar"},
        {"name": "resnet18", "tail": 1},
    ):
        write_card(tmp_path, card(model=model))
        with pytest.raises(DetectorError, match="do not fit together") as caught:
            load_network(tmp_path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700
    (tmp_path / WEIGHTS).write_bytes(b"changed")
    with pytest.raises(DetectorError, match="another checksum"):
        load_network(tmp_path)


def test_network_that_answers_nan_is_refused():
    broken = by_hand()
    with torch.no_grad():
        broken.network.planes.weight[0, 0] = float("nan")
    with pytest.raises(DetectorError, match="NaN or infinity"):
        explain_image(broken, red_left_green_right())


@pytest.mark.parametrize("package", ["pytorch_grad_cam", "torch"])
def test_missing_package_is_answered_with_a_sentence(monkeypatch: pytest.MonkeyPatch, package: str):
    monkeypatch.setitem(sys.modules, package, None)
    again = importlib.util.spec_from_file_location("cam_again", cam.__file__)
    assert again is not None
    assert again.loader is not None
    with pytest.raises(MissingExtraError, match=rf"needs the package {package}.*fauxto\[train\]"):
        again.loader.exec_module(importlib.util.module_from_spec(again))
