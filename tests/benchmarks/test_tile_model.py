"""The model for tiles: its discriminant by definition, what is no sharpness, and one tiny study from end to end."""

from __future__ import annotations

import csv
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.checkpoint import MODEL, TILES_MODEL
from fauxto.tiles import TileRule

from .conftest import module

record, study, ship = module("record"), module("tile_model"), module("ship")


def test_the_discriminant_is_the_one_by_definition() -> None:
    rng = np.random.default_rng(0)
    values = {("a", False): rng.normal(size=(50, 3)), ("b", True): rng.normal(size=(40, 3)) + np.array([0, 2, 0])}
    moments, scale = study.moments_of(values)
    weights, zero = study.discriminant(moments, scale, {("a", False): 1.0}, {("b", True): 1.0})
    scaled = {key: own / scale for key, own in values.items()}
    within = sum(np.cov(own.T, bias=True) / 2 for own in scaled.values())
    ridged = within + study.RIDGE * np.trace(within) / 3 * np.eye(3)
    expected = np.linalg.inv(ridged) @ (scaled["b", True].mean(axis=0) - scaled["a", False].mean(axis=0))
    np.testing.assert_allclose(weights * scale, expected / np.sqrt(expected @ within @ expected))
    np.testing.assert_allclose(zero, (values["a", False].mean(axis=0) + values["b", True].mean(axis=0)) / 2)


def test_without_a_slope_no_power_law_is_seen() -> None:
    across = np.arange(8.0)
    radius = np.hypot(across[:, None], across).ravel()
    law = np.where(radius > 0, 3 - 2 * np.log(np.maximum(radius, 1)), 99)
    np.testing.assert_allclose(law @ study.without(1), 0, atol=1e-9)
    assert np.abs(law @ study.without(0)).max() > 1
    np.testing.assert_allclose(np.ones(64) @ study.without(0), 0, atol=1e-9)


def test_forged_images_teach_nothing_of_the_photographs_left_out() -> None:
    rng = np.random.default_rng(0)
    values = {(name, fake): rng.normal(size=(20, 2)) + fake * np.array(shift) for name, shift in (("x", [3, 0]), ("y", [0, 3]))
              for fake in (False, True)}  # fmt: skip
    pair = frozenset([("art", True), ("x", False)])
    weights, _ = study.forged_heads(*study.moments_of(values), [pair])[pair]
    assert weights[1] > 3 * abs(weights[0])


def image(rng: np.random.Generator, strength: float) -> bytes:
    stream = io.BytesIO()
    levels = rng.normal(128, strength, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(levels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def test_a_study_from_end_to_end_makes_a_section_for_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, text = np.random.default_rng(0), io.StringIO()
    writer = csv.DictWriter(text, ["path", "label", "generator", "source"])
    writer.writeheader()
    with tarfile.open(tmp_path / "d.tar", "w") as archive:

        def put(name: str, payload: bytes) -> None:
            about = tarfile.TarInfo(name)
            about.size = len(payload)
            archive.addfile(about, io.BytesIO(payload))

        for source, label in [(name, "fake") for name in "abc"] + [(name, "real") for name in "def"]:
            for at in range(30):
                path = f"{source}/{label}/{source}_{at}.png"
                writer.writerow({"path": path, "label": label, "generator": "g" if label == "fake" else "", "source": source})
                put(path, image(rng, 40 if label == "fake" else 30))
        put("manifest.csv", text.getvalue().encode())
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(study, "SIDES", (128,))
    monkeypatch.setattr(sys, "argv", ["tile_model.py", "--data", str(tmp_path / "d.tar"), "--out", str(tmp_path / "out")])
    study.main()
    written = json.loads((tmp_path / "tile_model.json").read_text())
    assert written["mean_auc"]["with the other sources"]["value"] == 1.0, "one is stronger than the other everywhere"
    section = ship.with_tiles({"name": "general"}, tmp_path / "out", tmp_path)["tiles"]
    assert section == written["card"]
    assert (tmp_path / TILES_MODEL).is_file()
    assert not (tmp_path / MODEL).exists()
    assert TileRule.from_card(section) == TileRule(128, 64, "mean", TILES_MODEL)
    assert section["unsure"]["low"] <= section["threshold"] <= section["unsure"]["high"]
