"""explain.cam: maps by hand, beside gradients taken by hand and beside the library's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import BinaryClassifierOutputTarget

from fauxto.calibration import to_p_fake
from fauxto.detector import Detector
from fauxto.explain import cam
from fauxto.explain.cam import Explainer, explain_image
from fauxto.explain.explanation import NO_EVIDENCE, scaled
from fauxto.models import factory
from fauxto.preprocess import PreprocessSpec, to_network_input

from .conftest import by_hand, card, random_images, red_left_green_right


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


def test_scaled_map_is_positive_part_over_its_maximum():
    found, peak = scaled(np.array([[-3.0, 1.0], [4.0, 0.0]], np.float32))
    assert (found.tolist(), peak) == ([[0, 0.25], [1, 0]], 4.0)
    constant, _ = scaled(np.full((4, 4), 1e-30, np.float32))
    np.testing.assert_array_equal(constant, np.ones((4, 4)))


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
