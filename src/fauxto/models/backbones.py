"""Frozen backbones by name: networks that others trained, which turn images into features and are not moved any more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fauxto.config import TrainConfig, nearest
from fauxto.errors import ConfigError, NetworkError, missing_extra
from fauxto.models.grafting import Extractor, Layers, read_extractor
from fauxto.preprocess import PreprocessSpec

try:
    import torch
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

UNTRAINED = "random"  # timm:MODEL@random: for tests
MAX_BYTES = 2**31 - 2**20  # one ONNX file holds no more
NORMALISATIONS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


class FrozenNet(nn.Module):
    """A backbone and a head: one logit per image.

    Args:
        backbone: Images (n, 3, h, w) to features (n, d).
        layers: The head.
        has_map: Whether the features are the mean of the map that ``backbone.forward_features`` gives; with a linear head the
            logit is then the mean of a map of evidence.

    Example:
        >>> layers = ((np.ones((1, 3), np.float32), np.zeros(1, np.float32)),)
        >>> FrozenNet(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), layers)(torch.ones(2, 3, 4, 4)).tolist()
        [3.0, 3.0]
    """

    def __init__(self, backbone: nn.Module, layers: Layers, *, has_map: bool = False) -> None:
        super().__init__()
        self.backbone, self.has_map = backbone, has_map and len(layers) == 1
        parts: list[nn.Module] = []
        for weight, bias in layers:
            linear = nn.Linear(*weight.shape[::-1])
            linear.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
            parts += [nn.ReLU(), linear] if parts else [linear]
        self.head = nn.Sequential(*parts)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n,) for images (n, 3, h, w)."""
        return self.evidence(images).mean(dim=(1, 2))

    def evidence(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map (n, h', w') whose mean is the logit; (n, 1, 1) where there is none."""
        if self.has_map:
            features = self.backbone.forward_features(images).permute(0, 2, 3, 1)  # type: ignore[operator]
        else:
            features = self.backbone(images)[:, None, None]
        return self.head(features).squeeze(-1)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Backbone:
    """Images to features.

    Attributes:
        name: As on the card; of a file its name alone.
        weights: Where they come from, for the card.
        spec: What its input must be, but for what the training decides.
        fingerprint: SHA-256 of the file or of all weights.
        n_features: How many numbers an image becomes.
        network: In torch, or as an ONNX graph.
        has_map: As for ``FrozenNet``.
    """

    name: str
    weights: str
    spec: PreprocessSpec
    fingerprint: str
    n_features: int
    network: nn.Module | Extractor
    has_map: bool = False

    def features(self, images: np.ndarray, *, device: torch.device | str = "cpu") -> np.ndarray:
        """Return the features, float32 (n, d), of images as ``preprocess`` makes them: float32, (n, 3, size, size)."""
        if isinstance(self.network, Extractor):
            return self.network.features(images)
        with torch.no_grad():
            found: np.ndarray = self.network.to(device)(torch.from_numpy(images).to(device)).float().cpu().numpy()
        return found

    def about(self) -> dict[str, Any]:
        """Return what the card says of it."""
        at_once = self.network.at_once if isinstance(self.network, Extractor) else 0
        about = {"backbone": self.name, "weights": self.weights, "fingerprint": self.fingerprint, "n_features": self.n_features}
        return about | ({"at_once": at_once} if at_once else {})


def open_backbone(config: TrainConfig) -> Backbone:
    """Open the backbone that a configuration names.

    Raises:
        ConfigError: There is no such model, or a file holds none that can be used.
        MissingExtraError: timm or open_clip is not installed.
        NetworkError: The weights cannot be fetched.
    """
    kind, _, rest = config.backbone.partition(":")
    if kind in _KINDS and rest:
        name, _, tag = rest.partition("@")
        if tag not in ("", UNTRAINED):
            raise ConfigError(f"a backbone's name may end in @{UNTRAINED}, not in @{tag}: leave it out")
        return _KINDS[kind](name, bool(tag))
    path, _, output = config.backbone.partition("@")
    if not Path(path).is_file():
        raise ConfigError(
            f"there is no backbone {config.backbone!r}: give timm:MODEL, open_clip:MODEL/PRETRAINED or the path of an ONNX file"
        )
    payload = Path(path).read_bytes()
    extractor = read_extractor(payload, output=output, pool=config.pool, input_size=config.input_size)
    spec = PreprocessSpec(extractor.size, *NORMALISATIONS[config.normalisation])
    fingerprint = hashlib.sha256(payload).hexdigest()
    name = config.backbone[len(path) - len(Path(path).name) :]
    return Backbone(name, "an ONNX file", spec, fingerprint, extractor.n_features, extractor)


def _timm(name: str, is_untrained: bool) -> Backbone:
    try:
        import timm
    except ImportError as error:
        raise missing_extra("backbones", "timm") from error
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    network = _made(lambda: timm.create_model(name, pretrained=not is_untrained, num_classes=0), f"timm:{name}")
    about = timm.data.resolve_model_data_config(network)  # type: ignore[attr-defined, no-untyped-call, unused-ignore]
    return _in_torch(network, f"timm:{name}", is_untrained, about["input_size"][-1], about["mean"], about["std"])


def _open_clip(name: str, is_untrained: bool) -> Backbone:
    try:
        import open_clip
    except ImportError as error:
        raise missing_extra("backbones", "open_clip_torch") from error
    model, _, weights = name.partition("/")
    if model not in open_clip.list_models():
        raise ConfigError(f"open_clip has no model {model!r}{nearest(model, open_clip.list_models())}")
    if not is_untrained and weights not in (known := open_clip.list_pretrained_tags_by_model(model)):
        raise ConfigError(f"open_clip has no weights {weights!r} for {model}{nearest(weights, known)}")
    whole = _made(lambda: open_clip.create_model(model, pretrained=None if is_untrained else weights), f"open_clip:{name}")
    about = open_clip.get_model_preprocess_cfg(whole)
    size = about["size"] if isinstance(about["size"], int) else about["size"][-1]
    visual: Any = whole.visual
    return _in_torch(visual, f"open_clip:{name}", is_untrained, size, about["mean"], about["std"])


_KINDS: dict[str, Callable[[str, bool], Backbone]] = {"timm": _timm, "open_clip": _open_clip}


def _made(make: Callable[[], nn.Module], name: str) -> nn.Module:
    """Untrained weights are the same each time; trained ones come from the network or from where it left them."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make()
    except Exception as error:  # each hub raises its own classes
        reason = " ".join(str(error).split())[:200]
        raise NetworkError(f"the weights of {name} cannot be had ({reason}): check the name and the network") from error


def _in_torch(network: nn.Module, name: str, is_untrained: bool, size: int, mean: Any, std: Any) -> Backbone:
    tensors = network.eval().requires_grad_(False).state_dict()
    n_bytes = sum(value.numel() * 4 for value in tensors.values())
    if n_bytes > MAX_BYTES:
        raise ConfigError(f"{name} has {n_bytes / 2**30:.1f} GiB of weights, one ONNX file holds 2: take a smaller one")
    digest = hashlib.sha256()
    for key, value in tensors.items():
        digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    weights = "random, untrained" if is_untrained else "pretrained"
    spec = PreprocessSpec(size, tuple(mean), tuple(std))
    n_features, has_map = _shape_of(network, size)
    return Backbone(name, weights, spec, digest.hexdigest(), n_features, network, has_map)


def _shape_of(network: nn.Module, size: int) -> tuple[int, bool]:
    """Return the number of features, and whether they are the plain mean of a map, as in most convolutional networks."""
    image = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    with torch.no_grad():
        features = network(image)
        if not isinstance(features, torch.Tensor) or features.ndim != 2:
            raise ConfigError("this backbone does not answer with one row of features per image: take another")
        forward_features: Any = getattr(network, "forward_features", None)
        if forward_features is None:
            return features.shape[1], False
        maps = forward_features(image)
    is_map = maps.ndim == 4 and maps.shape[:2] == features.shape
    return features.shape[1], is_map and torch.allclose(maps.mean(dim=(2, 3)), features, atol=1e-5, rtol=1e-4)
