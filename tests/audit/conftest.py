"""Small sets of images with a known fault, and one finished audit for the whole session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.audit import Answers, AuditReport, audit
from fauxto.data.sources import source_of
from fauxto.data.store import Store, load_data

Faulty = Callable[..., Path]


def picture(rng: np.random.Generator, size: int = 32) -> np.ndarray:
    """A smooth grey picture with a little noise, as random as a photograph for these purposes."""
    slope = rng.normal(0, 40, (2, 1, 1)) * np.linspace(-1, 1, size)[None, :, None]
    grey = rng.uniform(70, 180) + slope[0] + slope[1].T.reshape(1, size)
    return np.clip(grey[..., None] + rng.normal(0, 8, (size, size, 3)), 0, 255).astype(np.uint8)


def write_set(
    folder: Path, *, n: int = 60, parts: tuple[str, ...] = ("train", "test"), stamp: bool = False, **save: object
) -> Path:
    """Write ``n`` pictures per class and part; fakes are saved by ``save`` and may carry a stamp."""
    rng = np.random.default_rng(1)
    for part in parts:
        for label in ("REAL", "FAKE"):
            (folder / part / label).mkdir(parents=True)
            for number in range(n):
                pixels = picture(rng)
                if stamp and label == "FAKE":
                    pixels[:4, :4] = (250, 0, 250)
                how = {"quality": 90} | (save if label == "FAKE" else {})
                Image.fromarray(pixels).save(folder / part / label / f"{number:03d}.jpg", "JPEG", **how)
    return folder


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A stamp and another quality in the fakes; 3 test images in train; 2 images with both labels."""
    folder = write_set(tmp_path_factory.mktemp("faulty") / "data", stamp=True, quality=50)
    for number in range(3):
        (folder / f"train/REAL/twin{number}.jpg").write_bytes((folder / f"test/REAL/{number:03d}.jpg").read_bytes())
    (folder / "train/FAKE/liar.jpg").write_bytes((folder / "train/REAL/059.jpg").read_bytes())
    return load_data(folder, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def report(faulty: Store) -> AuditReport:
    """The audit of ``faulty``, with a detector that is right but for its first three answers."""
    test = np.flatnonzero(faulty.split == "test")
    p_fake = np.where(faulty.is_fake[test], 0.9, 0.1)
    p_fake[:3] = 1 - p_fake[:3]
    answers = Answers("<b>mine</b>", 0.5, test, p_fake)
    root = faulty.folder.parents[2]
    folder = next(root.glob("faulty*/data"))
    return audit(
        source_of(folder, faulty.records), faulty, answers=answers, data="<i>set</i>", command="fauxto audit", date="2026-01-01"
    )
