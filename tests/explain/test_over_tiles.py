"""The tile map as an explanation: the answer of Detector.predict, and where the tiles speak for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto import Detector
from fauxto.data.sources import open_source
from fauxto.data.store import open_store
from fauxto.errors import UsageError
from fauxto.explain.cam import Explainer
from fauxto.explain.gallery import write_gallery
from fauxto.explain.over_tiles import LAYER, METHOD, explain_over_tiles


@pytest.fixture
def detector(tiled_folder: Path) -> Detector:
    return Detector.load(tiled_folder)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def test_the_map_is_how_far_each_tile_lies_on_the_targets_side_of_one_half(detector: Detector) -> None:
    image = photo(96, 160)
    logits = detector.tile_logits(image)
    middle = float(np.median(logits))
    own = detector.card["tiles"] | {"calibration": {"temperature": 0.25, "bias": -middle / 0.25}}
    centred = replace(detector, card=detector.card | {"tiles": own})
    fake, real = (explain_over_tiles(centred, image, target) for target in ("fake", "real"))
    np.testing.assert_allclose(fake.map * fake.peak, np.maximum(logits - middle, 0), atol=1e-5)
    np.testing.assert_allclose(real.map * real.peak, np.maximum(middle - logits, 0), atol=1e-5)
    assert fake.map_size == (3, 5)
    (said,) = centred.predict([image])
    assert (fake.p_fake, fake.logit, fake.verdict) == (said.p_fake, said.logit, said.verdict)
    assert explain_over_tiles(centred, image, None).target == ("fake" if said.p_fake >= 0.5 else "real")
    with pytest.raises(UsageError, match="not answered over tiles"):
        explain_over_tiles(centred, photo(24, 160), None)


def test_small_and_large_images_are_explained_each_in_its_way(tiled_folder: Path, tmp_path: Path) -> None:
    explainer = Explainer.load(tiled_folder)
    Image.fromarray(photo(1200, 320)).save(tmp_path / "large.png")
    small, large = explainer.explain([photo(32, 32), tmp_path / "large.png"], target="fake")
    assert (small.layer, large.layer) == ("stage2", LAYER)
    assert large.image.shape == (640, 171, 3), "shrunk for the picture, in its own proportions"
    assert large.source.endswith("large.png")
    assert "map 8x2, layer tiles, target fake" in large.caption
    folder = large.save(tmp_path / "out")
    assert json.loads((folder / "manifest.json").read_text())["method"] == METHOD
    assert np.load(folder / "map.npy").shape == (8, 2)
    with Image.open(folder / "overlay.png") as overlay:
        assert overlay.size == (2 * 171 + 132 if 2 * 171 + 132 > 480 else 480, 640 + 94)


def test_a_gallery_of_large_images_sorts_them_by_the_answers_over_tiles(tiled_folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "data" / ("fake" if number % 2 else "real") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(96, 96 + 8 * number, seed=number)).save(path)
    store = open_store(open_source(tmp_path / "data"), cache=tmp_path / "cache")
    explainer = Explainer.load(tiled_folder)
    write_gallery(explainer, store, range(4), tmp_path / "gallery")
    groups = json.loads((tmp_path / "gallery" / "cases.json").read_text())["groups"]
    for group in groups:
        for position, _ in group["cases"]:
            (said,) = explainer.detector.predict([store.image(position)])
            assert ("fake" if said.p_fake >= 0.5 else "real") == group["called"]
    assert sum(group["n_images"] for group in groups) == 4
