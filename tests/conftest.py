"""What several tests need: small generated images, a small store, and one small trained detector for the whole session."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from fauxto.config import preset
from fauxto.data.sources import open_source
from fauxto.data.store import Store, open_store
from fauxto.detector import Detector

# The same examples each time, on slow machines too: a red suite then always means a change.
hypothesis.settings.register_profile("fauxto", derandomize=True, deadline=None)
hypothesis.settings.load_profile("fauxto")

REAL_DATA = os.environ.get("FAUXTO_DATA")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="real data are not here (FAUXTO_DATA)")
    for item in items:
        if "realdata" in item.keywords and not REAL_DATA:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds the real CIFAKE; only for tests marked realdata."""
    assert REAL_DATA is not None
    return Path(REAL_DATA)


def make_images(folder: Path, *, n_train: int, n_test: int, size: int = 32) -> Path:
    """Write smooth "real" and noisy "fake" JPEG images in CIFAKE's layout."""
    rng = np.random.default_rng(0)
    for split, n_images in (("train", n_train), ("test", n_test)):
        for label, noise in (("REAL", 0), ("FAKE", 60)):
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            for number in range(n_images):
                base = rng.integers(40, 200, 3) + np.linspace(0, 40, size)[:, None, None]
                pixels = np.clip(base + rng.normal(0, noise + 1, (size, size, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number:04d}.jpg", quality=75)
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 training and 12 test images per class, in CIFAKE's layout."""
    return make_images(tmp_path_factory.mktemp("images"), n_train=32, n_test=12)


@pytest.fixture(scope="session")
def store(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The decoded store of ``image_folder``."""
    return open_store(open_source(image_folder), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def run_folder(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run of two short epochs, with its detector; treat it as read-only."""
    from fauxto.training import train

    folder = tmp_path_factory.mktemp("runs") / "small"
    train(store, preset("notebook", batch_size=8, max_epochs=2, n_threads=1), folder, shown=False)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's cache; real data keep the shared one, since decoding them takes a while."""
    if not REAL_DATA:
        monkeypatch.setenv("FAUXTO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def judging(tmp_path: Path) -> Path:
    """The bundled detector without its statistics, so that the generated images are not unfamiliar to it."""
    folder = tmp_path / "judging"
    shutil.copytree(Detector.load().folder, folder)
    card = json.loads((folder / "card.json").read_text())
    del card["scope"]["statistics"]
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="session")
def tiled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fully convolutional detector with random weights that answers large images over tiles of 32 pixels; read-only."""
    import torch

    from fauxto.checkpoint import MODEL, WEIGHTS, save_tensors, write_card
    from fauxto.export import export_onnx
    from fauxto.models.factory import blueprint, build

    folder, spec = tmp_path_factory.mktemp("tiled"), blueprint("evidence").preprocess
    torch.manual_seed(0)
    network = build("evidence")
    with torch.no_grad():
        network.train()(torch.rand(16, 3, 32, 32) * 2 - 1)  # so that the batch statistics are somebody's
    save_tensors(folder / WEIGHTS, {name: value.numpy() for name, value in network.eval().state_dict().items()})
    export_onnx(network, spec, folder / MODEL)
    tiles = {
        "side": 32, "most": 16, "rule": "mean", "fitted_on": "nothing, its weights are random", "threshold": 0.5,
        "calibration": {"temperature": 0.25, "bias": 0.5},
        "scope": {"min_side": 32, "max_side": 5000, "stable_under": ["jpeg-90"]},
    }  # fmt: skip
    about = {"store": "none", "note": "", "n_train": 0, "n_validation": 0, "generators": [], "config": {}}
    card = {
        "name": "tiled", "model": {"name": "evidence"}, "trained_on": about, "preprocessing": spec.to_dict(),
        "calibration": {"temperature": 1.0}, "threshold": 0.4, "scope": {"min_side": 16, "max_side": 64}, "metrics": {},
        "environment": {}, "tiles": tiles,
    }  # fmt: skip
    write_card(folder, card)
    return folder


@pytest.fixture
def two_bundled(run_folder: Path, tiled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that bundles two detectors: one for small images, one for larger ones."""
    shutil.copytree(run_folder / "detector", tmp_path / "assets" / "cifake")
    shutil.copytree(tiled_folder, tmp_path / "assets" / "general")
    monkeypatch.setattr("fauxto.bundled.ASSETS", tmp_path / "assets")
    return tmp_path / "assets"
