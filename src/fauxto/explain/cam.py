"""Grad-CAM for a named target, fake or real: ``fauxto explain DETECTOR IMAGE... --target fake --out FOLDER``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fauxto.checkpoint import WEIGHTS
from fauxto.config import nearest
from fauxto.detector import Detector
from fauxto.errors import DetectorError, UsageError, missing_extra
from fauxto.explain.explanation import TARGETS, Explanation, scaled
from fauxto.explain.over_tiles import explain_over_tiles
from fauxto.images import ImageLike, to_pixels
from fauxto.networks import load_network
from fauxto.preprocess import fit_square, to_network_input
from fauxto.session import in_batches

try:
    import torch
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import BinaryClassifierOutputTarget
    from torch import nn

    from fauxto.models import factory, nets
except ImportError as error:
    raise missing_extra("train", error.name or "grad-cam") from error

MIN_MAP_SIDE = 4
BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class Explainer:
    """A detector with its network loaded, ready to explain; not for two threads at once.

    Attributes:
        detector: Gives preprocessing, calibration, threshold and scope.
        network: Answers with one logit per image, positive = fake. It is put into evaluation mode and its parameters are
            frozen, so that no gradient is ever left on them.
        map_layers: Layers that a map can be taken from, deepest first.
    """

    detector: Detector
    network: nn.Module
    map_layers: tuple[str, ...]

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)

    @staticmethod
    def load(where: str | Path | None = None) -> Explainer:
        """Load a detector's network; ``where`` as for ``Detector.load``.

        Raises:
            DetectorError: The detector is missing or damaged.
        """
        detector = Detector.load(where)
        network, card = load_network(detector.folder)
        return Explainer(detector, network, factory.blueprint(card["model"]["name"]).map_layers)

    @property
    def name(self) -> str:
        """The detector's name and the first characters of its weights' checksum."""
        card = self.detector.card
        return f"{card.get('name', '')} {card.get('sha256', {}).get(WEIGHTS, '')[:12]}".strip()

    @cached_property
    def map_sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of each layer's map for this detector's input."""
        sizes: dict[str, tuple[int, int]] = {}
        handles = [
            self.network.get_submodule(name).register_forward_hook(
                lambda _layer, _inputs, output, name=name: sizes.update({name: tuple(output.shape[2:])})
            )
            for name in self.map_layers
        ]
        try:
            self.logits([np.zeros((1, 1, 3), np.uint8)])
        finally:
            for handle in handles:
                handle.remove()
        return sizes

    def choose_layer(self, layer: str | None = None) -> str:
        """Return the layer to take the map from: the named one, or the deepest with a map of at least 4x4.

        Raises:
            UsageError: The layer is unknown, or its map is too small to say anything about where.
        """
        if layer is not None and layer not in self.map_layers:
            raise UsageError(f"no map can be taken from a layer {layer!r}{nearest(layer, self.map_layers)}")
        large = [name for name in self.map_layers if min(self.map_sizes[name]) >= MIN_MAP_SIDE]
        side, least = self.detector.spec.size, f"{MIN_MAP_SIDE}x{MIN_MAP_SIDE}"
        if not large:
            raise UsageError(f"no layer of this network has a map of {least} for {side}x{side} pixels: train on larger images")
        if layer is None or layer in large:
            return layer or large[0]
        size = "x".join(map(str, self.map_sizes[layer]))
        reason = (
            f"for {side}x{side} pixels the map of layer {layer} is {size}, and under {least} it cannot say where in the image"
        )
        raise UsageError(f"{reason} the evidence lies: take --layer {large[0]}")

    def logits(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Return the network's raw answers, float32 (n,), for uint8 images (h, w, 3)."""
        spec = self.detector.spec
        batches = in_batches((fit_square(image, size=spec.size, fit=spec.fit) for image in images), BATCH_SIZE)
        return np.concatenate([np.zeros(0, np.float32), *(self._logits(np.stack(batch)) for batch in batches)])

    def explain(self, images: Iterable[ImageLike], *, target: str | None = None, layer: str | None = None) -> list[Explanation]:
        """Return one map per image.

        Args:
            images: Paths, file contents, Pillow images or uint8 arrays (h, w, 3) in RGB.
            target: "fake" or "real"; None takes each image's predicted class.
            layer: One of ``map_layers``; None takes the deepest with a map of at least 4x4.
                The map of an image that is answered over tiles holds the tiles' own answers, whatever the layer.

        Raises:
            UsageError: Unknown target or layer, or a map under 4x4.
            ImageError: An image cannot be read.
            DetectorError: The network's answer is not a number.
        """
        if target is not None and target not in TARGETS:
            raise UsageError(f"the target must be one of {', '.join(TARGETS)}, got {target!r}")
        chosen = self.choose_layer(layer)
        ready = (self._ready(image, target) for image in images)
        return [each for batch in in_batches(ready, BATCH_SIZE) for each in self._explain_batch(batch, target, chosen)]

    def _ready(self, image: ImageLike, target: str | None) -> _Small | Explanation:
        """Return what waits for its batch, or at once the map of an image that is answered over tiles."""
        pixels = to_pixels(image)
        source = str(image).encode(errors="backslashreplace").decode() if isinstance(image, (str, Path)) else ""
        if self.detector.is_tiled(*pixels.shape[:2]):
            return explain_over_tiles(self.detector, pixels, target, name=self.name, source=source)
        return _Small(pixels, source)

    def _explain_batch(self, batch: Sequence[_Small | Explanation], target: str | None, layer: str) -> list[Explanation]:
        small = [item for item in batch if isinstance(item, _Small)]
        explained = iter(self._explain_small(small, target, layer) if small else [])
        return [next(explained) if isinstance(item, _Small) else item for item in batch]

    def _explain_small(self, images: Sequence[_Small], target: str | None, layer: str) -> list[Explanation]:
        detector = self.detector
        pixels = [image.pixels for image in images]
        squares = np.stack([fit_square(each, size=detector.spec.size, fit=detector.spec.fit) for each in pixels])
        logits = self._logits(squares)
        is_fake = detector.p_fake(logits) >= detector.threshold
        targets = [target or ("fake" if each else "real") for each in is_fake]
        inputs = self._input(squares)
        maps = grad_cam(self.network, inputs, targets, layer=layer)
        if detector.spec.mirrored:  # as the answer is
            maps = (maps + grad_cam(self.network, inputs.flip(3), targets, layer=layer)[..., ::-1]) / 2
        judged = detector.predict(pixels, logits=logits)
        found = []
        for at, (image, said) in enumerate(zip(images, judged, strict=True)):
            where = (squares[at], *scaled(maps[at]), targets[at], target is None, layer)
            found.append(Explanation(*where, said.p_fake, said.logit, said.verdict, self.name, image.source))
        return found

    def _input(self, squares: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(to_network_input(squares, self.detector.spec)).to(next(self.network.parameters()).device)

    def _logits(self, squares: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            mirrored, certain_logit = self.detector.spec.mirrored, self.detector.certain_logit
            said = nets.answers(self.network, self._input(squares), mirrored=mirrored, certain_logit=certain_logit)
        logits: np.ndarray = said.cpu().numpy()
        if not np.isfinite(logits).all():
            raise DetectorError(f"the network of {self.detector.folder} answers with NaN or infinity: train the detector again")
        return logits


@dataclass(frozen=True)
class _Small:
    pixels: np.ndarray
    source: str


def explain_image(
    where: Explainer | str | Path, image: ImageLike, *, target: str | None = None, layer: str | None = None
) -> Explanation:
    """Explain one image with a loaded explainer or a detector folder; everything else as ``Explainer.explain``."""
    explainer = where if isinstance(where, Explainer) else Explainer.load(where)
    return explainer.explain([image], target=target, layer=layer)[0]


def grad_cam(network: nn.Module, inputs: torch.Tensor, targets: Sequence[str], *, layer: str) -> np.ndarray:
    """Return each image's Grad-CAM as the layer gives it, before ReLU and scaling: float32, shape (n, h', w').

    With one logit, "fake" differentiates +logit and "real" differentiates -logit: the two are each other's negative.
    """
    wanted = [BinaryClassifierOutputTarget(int(TARGETS[target])) for target in targets]
    module = network.get_submodule(layer)
    with torch.inference_mode(False), torch.enable_grad():
        # Not "with GradCAM(...)": its __exit__ swallows an IndexError.
        cam = GradCAM(network, [module])
        kept = cam.activations_and_grads
        try:
            images = inputs.detach().clone().requires_grad_()
            cam(images, wanted)
            # The library's own answer is clipped, scaled and enlarged already; this is the step before.
            raw = cam.get_cam_image(images, module, wanted, kept.activations[0].numpy(), kept.gradients[0].numpy())
        finally:
            kept.release()
    return np.asarray(raw, np.float32)
