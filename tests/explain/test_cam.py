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
from pytorch_grad_cam.utils.model_targets import BinaryClassifierOutputTarget
from torch import nn

from fauxto.calibration import to_p_fake
from fauxto.checkpoint import MODEL, WEIGHTS, save_tensors, write_card
from fauxto.detector import Detector
from fauxto.errors import DetectorError, ImageError, MissingExtraError, UsageError
from fauxto.explain import cam
from fauxto.explain.cam import Explainer, explain_image, load_network
from fauxto.explain.explanation import NO_EVIDENCE, scaled
from fauxto.models import factory
from fauxto.preprocess import PreprocessSpec, to_network_input

PLAIN = PreprocessSpec(size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class RedMinusGreen(nn.Module):
    """Logit = mean red - mean green, through one layer whose two maps are the red and the green plane."""

    def __init__(self) -> None:
        super().__init__()
        self.planes = nn.Conv2d(3, 2, 1, bias=False)
        self.small = nn.AvgPool2d(4)
        with torch.no_grad():
            self.planes.weight.copy_(torch.eye(3)[:2, :, None, None])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.small(self.planes(images))
        return (maps[:, 0] - maps[:, 1]).mean(dim=(1, 2))


def card(**changes) -> dict:
    values = {
        "name": "tiny",
        "model": {"name": "resnet18", "stem": "imagenet"},
        "preprocessing": PreprocessSpec(size=32).to_dict(),
        "calibration": {"temperature": 2.0},
        "threshold": 0.5,
        "trained_on": {},
        "scope": {"min_side": 1, "max_side": 64},
    }
    return {**values, **changes}


def by_hand(threshold: float = 0.5) -> Explainer:
    about = card(preprocessing=PLAIN.to_dict(), threshold=threshold)
    return Explainer(Detector(Path("nowhere"), about), RedMinusGreen(), ("small", "planes"))


def red_left_green_right() -> np.ndarray:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :3, 0] = 255
    image[:, 3:6, 1] = 51
    return image


def random_images(n_images: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_images, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector folder with random weights; nothing here runs its ONNX file."""
    where = tmp_path_factory.mktemp("detector")
    torch.manual_seed(0)
    network = factory.build("resnet18", stem="imagenet").eval()
    # Other than the fresh ones, such batch statistics leave both signs in every map.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
    save_tensors(where / WEIGHTS, {name: value.numpy() for name, value in network.state_dict().items()})
    (where / MODEL).write_bytes(b"not used")
    write_card(where, card())
    return where


@pytest.fixture(scope="module")
def explainer(folder: Path) -> Explainer:
    return Explainer.load(folder)


def test_map_of_hand_made_network_for_both_targets():
    image = red_left_green_right()
    fake, real = (explain_image(by_hand(), image, target=target, layer="planes") for target in ("fake", "real"))
    # logit = mean(red) - mean(green) = 3/8 * 1 - 3/8 * 0.2; each map weight is +1/64 or -1/64
    assert fake.logit == pytest.approx(0.3)
    assert fake.p_fake == pytest.approx(1 / (1 + np.exp(-0.15)))
    assert fake.peak == pytest.approx(1 / 64)
    assert real.peak == pytest.approx(0.2 / 64)
    columns = np.arange(8)
    np.testing.assert_allclose(fake.map, np.tile(columns < 3, (8, 1)).astype(float), atol=1e-6)
    np.testing.assert_allclose(real.map, np.tile((columns >= 3) & (columns < 6), (8, 1)).astype(float), atol=1e-6)
    assert fake.map.dtype == np.float32
    assert (fake.verdict, fake.map_size, fake.note) == ("fake", (8, 8), "")


def test_no_target_takes_predicted_class_of_each_image_and_says_so():
    red, green = np.zeros((2, 8, 8, 3), np.uint8)
    red[..., 0], green[..., 1] = 200, 200
    first, second = by_hand().explain([red, green])
    assert (first.target, second.target) == ("fake", "real")
    assert (first.verdict, second.verdict) == ("fake", "real")
    assert first.is_predicted_target
    assert first.caption == "map 8x8, layer planes, target fake (the predicted class)"
    assert second.peak > 0
    asked = explain_image(by_hand(), green, target="fake")
    assert not asked.is_predicted_target
    assert asked.caption == "map 8x8, layer planes, target fake"


def test_predicted_class_and_verdict_follow_the_cards_threshold_where_a_tie_is_fake():
    grey = np.full((8, 8, 3), 90, np.uint8)
    tie = explain_image(by_hand(threshold=0.5), grey)
    assert (tie.p_fake, tie.target, tie.verdict) == (0.5, "fake", "fake")
    above = explain_image(by_hand(threshold=0.501), grey)
    assert (above.target, above.verdict) == ("real", "real")


def test_map_without_positive_evidence_is_zero_and_said(tmp_path: Path):
    green = np.zeros((8, 8, 3), np.uint8)
    green[..., 1] = 200
    none = explain_image(by_hand(), green, target="fake")
    assert none.note == NO_EVIDENCE
    assert none.peak == 0
    assert not none.map.any()
    assert not none.upsampled().any()
    assert json.loads((none.save(tmp_path / "none") / "manifest.json").read_text())["note"] == NO_EVIDENCE
    some = explain_image(by_hand(), green, target="real")
    assert np.asarray(none.overlay()).shape == np.asarray(some.overlay()).shape
    # The note is a light band across the top of the overlay, where a uniform map's overlay has none.
    assert np.asarray(none.overlay())[52, 620].tolist() == [255, 255, 255]
    assert np.asarray(some.overlay())[52, 620].tolist() != [255, 255, 255]


@pytest.mark.parametrize("layer", ["backbone.layer1", "backbone.layer2"])
def test_map_equals_gradients_taken_by_hand(explainer: Explainer, layer: str):
    images = random_images(3)
    net = explainer.network.backbone
    x = torch.from_numpy(to_network_input(images, PreprocessSpec()))
    names = [f"backbone.layer{number}" for number in (1, 2, 3, 4)]
    hidden = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    for name in names[: names.index(layer) + 1]:
        hidden = net.get_submodule(name.removeprefix("backbone."))(hidden)
    hidden = hidden.detach().requires_grad_()
    rest = hidden
    for name in names[names.index(layer) + 1 :]:
        rest = net.get_submodule(name.removeprefix("backbone."))(rest)
    logits = net.fc(rest.mean(dim=(2, 3))).squeeze(1)
    (gradient,) = torch.autograd.grad(logits.sum(), hidden)
    raw = (gradient.mean(dim=(2, 3), keepdim=True) * hidden).sum(1).detach().numpy()
    assert np.abs(raw).max(axis=(1, 2)).min() > 1e-4
    for sign, target in ((1, "fake"), (-1, "real")):
        for at, found in enumerate(explainer.explain(list(images), target=target, layer=layer)):
            positive = np.maximum(sign * raw[at], 0)
            np.testing.assert_allclose(found.map, positive / (positive.max() or 1), atol=1e-5)
            assert found.peak == pytest.approx(positive.max(), rel=1e-4)
            assert found.logit == pytest.approx(logits[at].item(), abs=1e-5)


def test_enlarged_map_equals_the_librarys_own_answer(explainer: Explainer):
    images = random_images(4, seed=1)
    found = explainer.explain(list(images), target="fake")
    x = torch.from_numpy(to_network_input(images, PreprocessSpec())).requires_grad_()
    library = GradCAM(explainer.network, [explainer.network.backbone.layer2])
    expected = library(x, [BinaryClassifierOutputTarget(1)] * 4)
    library.activations_and_grads.release()
    for one, other in zip(found, expected, strict=True):
        # The library stretches the enlarged map from its own minimum to its own maximum; we leave 0 where it is.
        assert np.ptp(other) > 0.9
        np.testing.assert_allclose((one.upsampled() - one.upsampled().min()) / np.ptp(one.upsampled()), other, atol=1e-5)


def test_targets_differ_and_batches_do_not_mix_images(explainer: Explainer, monkeypatch: pytest.MonkeyPatch):
    images = list(random_images(5))
    fake = explainer.explain(images, target="fake")
    real = explainer.explain(images, target="real")
    assert not any(np.allclose(one.map, other.map) for one, other in zip(fake, real, strict=True))
    # One logit: what speaks for one answer speaks against the other, so no place is in both maps.
    assert all(((one.map > 0) & (other.map > 0)).sum() == 0 for one, other in zip(fake, real, strict=True))
    monkeypatch.setattr(cam, "BATCH_SIZE", 2)
    for alone, together in zip(explainer.explain(images, target="fake"), fake, strict=True):
        np.testing.assert_allclose(alone.map, together.map, atol=1e-5)
    assert explainer.explain([]) == []


def test_logits_and_p_fake_are_the_networks_calibrated(explainer: Explainer):
    images = random_images(3)
    with torch.no_grad():
        expected = explainer.network(torch.from_numpy(to_network_input(images, PreprocessSpec()))).numpy()
    np.testing.assert_allclose(explainer.logits(images), expected, atol=1e-6)
    found = explainer.explain(list(images))
    np.testing.assert_allclose([each.p_fake for each in found], to_p_fake(expected, temperature=2.0), atol=1e-6)
    assert explainer.logits([]).shape == (0,)


def test_map_sizes_at_32_pixels_and_deepest_layer_with_4x4(explainer: Explainer):
    sizes = {"backbone.layer4": (1, 1), "backbone.layer3": (2, 2), "backbone.layer2": (4, 4), "backbone.layer1": (8, 8)}
    assert explainer.map_sizes == sizes
    assert explainer.choose_layer() == "backbone.layer2"
    assert explainer.choose_layer("backbone.layer1") == "backbone.layer1"
    found = explain_image(explainer, random_images(1)[0])
    assert (found.layer, found.map_size) == ("backbone.layer2", (4, 4))


def test_cifar_stem_gives_4x4_at_the_last_layer():
    network = factory.build("resnet18", stem="cifar")
    maps = Explainer(Detector(Path("nowhere"), card()), network, factory.blueprint("resnet18").map_layers)
    assert maps.choose_layer() == "backbone.layer4"
    assert maps.map_sizes["backbone.layer4"] == (4, 4)


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


def test_scaled_map_is_positive_part_over_its_maximum():
    found, peak = scaled(np.array([[-3.0, 1.0], [4.0, 0.0]], np.float32))
    assert (found.tolist(), peak) == ([[0, 0.25], [1, 0]], 4.0)
    constant, _ = scaled(np.full((4, 4), 1e-30, np.float32))
    np.testing.assert_array_equal(constant, np.ones((4, 4)))


@pytest.mark.parametrize("package", ["pytorch_grad_cam", "torch"])
def test_missing_package_is_answered_with_a_sentence(monkeypatch: pytest.MonkeyPatch, package: str):
    monkeypatch.setitem(sys.modules, package, None)
    again = importlib.util.spec_from_file_location("cam_again", cam.__file__)
    assert again is not None
    assert again.loader is not None
    with pytest.raises(MissingExtraError, match=rf"needs the package {package}.*fauxto\[train\]"):
        again.loader.exec_module(importlib.util.module_from_spec(again))


def test_a_mirrored_detectors_map_is_the_mean_over_both_mirror_images(explainer: Explainer):
    images = random_images(2)
    about = explainer.detector.card | {"preprocessing": PreprocessSpec(mirrored=True).to_dict()}
    both = Explainer(Detector(explainer.detector.folder, about), explainer.network, explainer.map_layers)
    layer = "backbone.layer1"
    x = torch.from_numpy(to_network_input(images, PreprocessSpec()))
    plain, other = (cam.grad_cam(both.network, one, ["fake", "fake"], layer=layer) for one in (x, x.flip(3)))
    for at, found in enumerate(both.explain(images, target="fake", layer=layer)):
        expected, _ = scaled((plain[at] + other[at][:, ::-1]) / 2)
        np.testing.assert_allclose(found.map, expected, atol=1e-5)
    np.testing.assert_allclose(both.logits(images), both.logits(images[:, :, ::-1]), atol=1e-4)
