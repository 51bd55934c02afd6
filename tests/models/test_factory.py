"""models.factory: names to networks, and what is known of each."""

from __future__ import annotations

import typing

import pytest
import torch

from fauxto.config import TrainConfig
from fauxto.errors import ConfigError
from fauxto.models import nets
from fauxto.models.factory import MODELS, blueprint, build

HINTS = typing.get_type_hints(TrainConfig)


def test_the_configuration_knows_the_same_names():
    assert set(typing.get_args(HINTS["model"])) == {*MODELS, "frozen"}  # which is a head on a backbone
    assert typing.get_args(HINTS["stem"]) == nets.STEMS


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_each_model_answers_with_one_logit_on_its_own_input(name):
    size = blueprint(name).preprocess.size
    network = build(name).eval()
    logit, evidence = network(torch.zeros(2, 3, size, size)), network.evidence(torch.zeros(2, 3, size, size))
    assert logit.shape == (2,)
    torch.testing.assert_close(evidence.mean(dim=(1, 2)), logit)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_layers_for_maps_exist_deepest_first(name):
    network = build(name, **({"stem": "cifar"} if name == "resnet18" else {})).eval()
    sides = []
    for layer in blueprint(name).map_layers:
        network.get_submodule(layer).register_forward_hook(lambda module, given, out: sides.append(out.shape[-1]))
    network(torch.zeros(1, 3, 32, 32))
    expected = {"resnet18": [4, 8, 16, 32], "evidence": [8, 16, 32], "routed": [8, 16, 32], "general": [8, 16, 32]}[name]
    assert sides[::-1] == expected, "the forward pass meets the deepest last"
    deepest = {"resnet18": "backbone.layer4", "evidence": "stage2", "routed": "stage2", "general": "known.stage2"}[name]
    assert blueprint(name).map_layers[0] == deepest


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no model is called 'resnet-18'; did you mean 'resnet18'\?"):
        build("resnet-18")
    with pytest.raises(ConfigError, match="known: resnet18"):
        blueprint("vit")


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="does not take these options"):
        build("resnet18", depth=50)
    with pytest.raises(ConfigError, match="no stem is called 'vgg'"):
        build("resnet18", stem="vgg")
