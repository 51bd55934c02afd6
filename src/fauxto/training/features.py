"""Features of a store's images, computed once: in the cache, by the images, the backbone and what it sees of them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from fauxto.config import TrainConfig
from fauxto.data.loaders import augmented, network_input
from fauxto.data.splits import Positions
from fauxto.data.store import Store
from fauxto.models.backbones import Backbone
from fauxto.preprocess import PreprocessSpec, cut_square, fit_square, normalised
from fauxto.runs import cache_folder, write_whole
from fauxto.training.logs import EpochBar

CHUNK = 512  # images in a file of the cache: what a kill can cost
AT_ONCE = 32
# What ``data.loaders.augmented`` reads of a configuration.
_DRAWN_BY = ("seed", "horizontal_flip", "shift", "perturb_share", "recode", "recode_from", "recode_share", "jitter")
_CODE = ("preprocess.py", "perturb/__init__.py", "data/loaders.py", "models/grafting.py", "training/features.py")


@dataclass(frozen=True, eq=False)
class FeatureMaker:
    """What turns a store's images into features.

    Attributes:
        store: Decoded images.
        backbone: What makes the features.
        spec: What it sees of an image.
        config: How views are drawn; ``training_perturbed`` and mirroring as for any network.
        device: Where a backbone in torch computes.
    """

    store: Store
    backbone: Backbone
    spec: PreprocessSpec
    config: TrainConfig
    device: torch.device

    def features(self, positions: Positions, bar: EpochBar, *, title: str, view: int = 0) -> np.ndarray:
        """Return features, float32 (n, d), from the cache as far as they lie there; what is computed is kept, chunk by chunk.

        Args:
            positions: Images in the store.
            bar: Shows how far it has come.
            title: Of the bar.
            view: 0 is the image as the detector will see it, each other one is a random view of it.

        Raises:
            DiskFullError: There was no room; the chunks before stay.
        """
        folder = cache_folder() / "features" / self._key(positions, view)
        parts = [np.zeros((0, self.backbone.n_features), np.float32)]
        with bar.epoch(title, total=len(positions), first=0):
            for first in range(0, len(positions), CHUNK):
                chunk = positions[first : first + CHUNK]
                parts.append(self._chunk(folder / f"{first:09d}.npy", chunk, view, bar, first))
                bar.move(first + len(chunk))
        return np.concatenate(parts)

    def _chunk(self, path: Path, positions: Positions, view: int, bar: EpochBar, n_before: int) -> np.ndarray:
        found = _read(path, (len(positions), self.backbone.n_features))
        if found is None:
            parts = []
            for at in range(0, len(positions), AT_ONCE):
                inputs = self._inputs(positions[at : at + AT_ONCE], view)
                parts.append(self.backbone.features(inputs, device=self.device).astype(np.float32))
                bar.move(n_before + at)
            found = np.concatenate(parts)
            _write(path, found)
        return found

    def _inputs(self, positions: Positions, view: int) -> np.ndarray:
        if not view:
            return network_input(self.store, positions, self.spec)
        return np.concatenate([self._random_view(int(at), view) for at in positions])

    def _random_view(self, position: int, view: int) -> np.ndarray:
        """Return a cut-out, mirrored and perturbed by chance: float32, (1, 3, size, size); by the image and the seed alone."""
        rng = np.random.default_rng([self.config.seed, view, position])
        image, spec = self.store.image(position), self.spec
        if spec.fit == "centre":
            image = cut_square(image, at=(rng.random(), rng.random()), size=spec.size)
        return normalised(augmented(fit_square(image, size=spec.size)[None], spec, self.config, rng), spec)

    def _key(self, positions: Positions, view: int) -> str:
        drawn = {key: getattr(self.config, key) for key in _DRAWN_BY}
        about = [self.store.folder.name, self.backbone.fingerprint, asdict(self.spec), [view, drawn] if view else view]
        about += [self.backbone.name, self.config.pool, self.device.type]
        digest = hashlib.sha256(json.dumps(about).encode() + positions.astype("<i8").tobytes())
        for name in _CODE:
            digest.update(resources.files("fauxto").joinpath(name).read_bytes())
        return digest.hexdigest()[:32]


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Return a chunk of the cache; one that is missing or damaged is None, and made again."""
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return found if isinstance(found, np.ndarray) and found.shape == shape and found.dtype == np.float32 else None


def _write(path: Path, features: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, features)
    write_whole(path, lambda part: part.write_bytes(stream.getvalue()))
