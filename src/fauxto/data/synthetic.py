"""The embedded data set, made on the spot, offline: photographs' crops, and the same crops from a small autoencoder.

Simulated, and named so wherever it is used: its fakes share one tiny decoder, so a score on it says that the path works and
nothing about real generators.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fauxto.data.layouts import MANIFEST
from fauxto.errors import DataError, missing_extra
from fauxto.images import open_rgb
from fauxto.runs import disk_errors_named, new_folder, write_text

if TYPE_CHECKING:
    import torch

NOTE = "simulated data: crops of scikit-image's and scikit-learn's photographs, and their reconstructions by a small autoencoder"
GENERATOR = "simulated-autoencoder"  # stands in every card, report and table made from these images
SIZE = 32
JPEG_QUALITY = 75  # as CIFAKE
# The test photographs are other photographs than the training's, never other crops of the same ones.
TRAIN_PHOTOS = ("astronaut.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "grass.png", "brick.png", "coins.png",
                "china.jpg", "retina.jpg", "ihc.png", "camera.png")  # fmt: skip
TEST_PHOTOS = ("coffee.png", "flower.jpg", "gravel.png", "hubble_deep_field.jpg")
Said = Callable[[str], None]


def make_synthetic(folder: Path, *, n_per_photo: int = 100, n_steps: int = 600, seed: int = 0, say: Said = print) -> Path:
    """Write the data set as JPEG files with a manifest.csv.

    Args:
        folder: New or empty.
        n_per_photo: Real crops, and as many fakes, of each of the 15 photographs.
        n_steps: Training steps of the autoencoder.
        seed: Same seed, same files on the same machine.
        say: Told what is being done.

    Raises:
        UsageError: The folder is not empty.
        MissingExtraError: torch, scikit-image or scikit-learn is not installed.
        DataError: They bring other photographs than the versions that this was made for.
        DiskFullError: There was no room.
    """
    new_folder(folder, overwrite_hint="choose another folder")
    photos = _photos()
    rng = np.random.default_rng(seed)
    crops = {name: _crops(photo, n_per_photo, rng) for name, photo in photos.items()}
    say(f"cut {n_per_photo} crops of {SIZE}x{SIZE} pixels from each of {len(crops)} photographs")
    say(f"training the autoencoder that makes the fakes ({n_steps} steps)")
    reconstruct = _trained_autoencoder(np.concatenate(list(crops.values())), n_steps=n_steps, seed=seed)
    images: dict[tuple[str, str, int], np.ndarray] = {}
    for name, real in crops.items():
        images |= {(name, "real", number): pixels for number, pixels in enumerate(real)}
        images |= {(name, "fake", number): pixels for number, pixels in enumerate(reconstruct(real))}
    with disk_errors_named(folder):
        _write(folder, images)
    say(f"wrote {len(images)} images to {folder}; these are {NOTE}")
    return folder


def _photos() -> dict[str, np.ndarray]:
    """Return the photographs at half their size, which removes what their own JPEG files left behind."""
    try:
        import skimage
        import sklearn
    except ImportError as error:
        raise missing_extra("train", "scikit-image" if error.name == "skimage" else "scikit-learn") from error
    homes = (Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images")
    photos = {}
    for name in TRAIN_PHOTOS + TEST_PHOTOS:
        found = [home / name for home in homes if (home / name).is_file()]
        if not found:
            raise DataError(f"scikit-image and scikit-learn bring no {name}: install the versions that constraints.txt names")
        image = open_rgb(found[0])
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        photos[name] = np.asarray(half)
    return photos


def _crops(photo: np.ndarray, n_crops: int, rng: np.random.Generator) -> np.ndarray:
    """Return random crops with some contrast, uint8 (n, 32, 32, 3); a black sky teaches nothing."""
    crops: list[np.ndarray] = []
    for _ in range(100 * n_crops):
        top = rng.integers(photo.shape[0] - SIZE + 1)
        left = rng.integers(photo.shape[1] - SIZE + 1)
        crop = photo[top : top + SIZE, left : left + SIZE]
        if crop.std() > 10:
            crops.append(crop)
        if len(crops) == n_crops:
            break
    return np.stack(crops)


def _trained_autoencoder(crops: np.ndarray, *, n_steps: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Train a convolutional autoencoder with learned up-sampling on the crops; return what reconstructs a batch."""
    try:
        import torch
    except ImportError as error:
        raise missing_extra("train", "torch") from error
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _autoencoder()
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
        for _ in range(n_steps):
            batch = images[torch.randint(len(images), (64,))]
            loss = (network(batch) - batch).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def reconstruct(real: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(real).permute(0, 3, 1, 2).float() / 255
        answer = network(planes).clamp(0, 1).mul(255).round().byte()
        return np.ascontiguousarray(answer.permute(0, 2, 3, 1).numpy())

    return reconstruct


def _autoencoder() -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 32, 4, stride=2, padding=1), nn.GELU(),
        nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.GELU(),
        nn.Conv2d(64, 16, 3, padding=1),
        nn.ConvTranspose2d(16, 64, 4, stride=2, padding=1), nn.GELU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.GELU(),
        nn.Conv2d(32, 3, 3, padding=1),
    )  # fmt: skip


def _write(folder: Path, images: dict[tuple[str, str, int], np.ndarray]) -> None:
    """Write the manifest first: where the rest is cut short, its missing images give that away."""
    rows = {key: _row(*key) for key in images}
    write_text(folder / MANIFEST, _manifest(list(rows.values())))
    write_text(folder / "README.txt", NOTE + ".\nMade by: fauxto data synthetic\n")
    for key, pixels in images.items():
        path = folder / rows[key]["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)


def _row(photo: str, label: str, number: int) -> dict[str, str]:
    split = "test" if photo in TEST_PHOTOS else "train"
    group = photo.rsplit(".", 1)[0]
    generator = GENERATOR if label == "fake" else ""
    path = f"{split}/{label}/{group}_{number:04d}.jpg"
    return {"path": path, "label": label, "generator": generator, "group": group, "split": split}


def _manifest(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
