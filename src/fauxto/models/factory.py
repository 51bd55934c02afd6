"""A dict literal: name -> how to build a network, its preprocessing, and where its maps come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fauxto.config import TrainConfig, nearest
from fauxto.errors import ConfigError
from fauxto.models import nets
from fauxto.models.general import GeneralNet
from fauxto.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Blueprint:
    """How to build a network.

    Attributes:
        build: Takes the options on the card, returns the untrained network.
        options: The keys of a training configuration that it takes.
        preprocess: What its input must be.
        map_layers: Layers that a gradient map can be taken from, deepest first.
    """

    build: Callable[..., nn.Module]
    options: tuple[str, ...]
    preprocess: PreprocessSpec
    map_layers: tuple[str, ...]


MODELS: dict[str, Blueprint] = {
    "resnet18": Blueprint(
        build=nets.ResNet18,
        options=("stem",),
        preprocess=PreprocessSpec(size=32),
        map_layers=("backbone.layer4", "backbone.layer3", "backbone.layer2", "backbone.layer1"),
    ),
    "evidence": Blueprint(
        build=nets.EvidenceNet,
        options=(),
        preprocess=PreprocessSpec(size=32),
        map_layers=("stage2", "stage1", "stem"),
    ),
}
MODELS["routed"] = replace(MODELS["evidence"], build=nets.RoutedNet)
MODELS["general"] = replace(MODELS["evidence"], build=GeneralNet, map_layers=("known.stage2", "known.stage1", "known.stem"))


def blueprint(name: str) -> Blueprint:
    """Return what is known of a network.

    Raises:
        ConfigError: No network of ours has this name.

    Example:
        >>> blueprint("resnet18").map_layers[0]
        'backbone.layer4'
    """
    if name == "frozen":
        raise ConfigError("model 'frozen' is a head on a backbone: train it with 'fauxto train --backbone NAME'")
    if name not in MODELS:
        raise ConfigError(f"no model is called {name!r}{nearest(name, MODELS)}")
    return MODELS[name]


def options(config: TrainConfig) -> dict[str, Any]:
    """Return the part of a training configuration that a network is built from, as it stands on the card.

    Example:
        >>> options(TrainConfig(model="resnet18", stem="cifar"))
        {'stem': 'cifar'}
    """
    return {key: getattr(config, key) for key in blueprint(config.model).options}


def preprocess_spec(config: TrainConfig, *, base: PreprocessSpec | None = None) -> PreprocessSpec:
    """Return what a configuration's finished detector shows its network of an image.

    Args:
        config: What decides how an image is fitted and recoded.
        base: What a backbone's input must be; None is for our own networks.

    Example:
        >>> preprocess_spec(TrainConfig(recode=75)).recode, preprocess_spec(TrainConfig(recode=75, recode_share=0.5)).recode
        (75, 0)
    """
    keys = ("recode", "recode_from", "mirrored", "fit") if config.recode_share == 1 else ("mirrored", "fit")
    return replace(base or blueprint(config.model).preprocess, **{key: getattr(config, key) for key in keys})


def build(name: str, **options: Any) -> nn.Module:
    """Return an untrained network.

    Raises:
        ConfigError: The name, an option or its value is unknown.

    Example:
        >>> sum(weight.numel() for weight in build("resnet18", stem="imagenet").parameters())
        11177025
    """
    try:
        return blueprint(name).build(**options)
    except TypeError as error:
        raise ConfigError(f"model {name!r} does not take these options ({error})") from error
