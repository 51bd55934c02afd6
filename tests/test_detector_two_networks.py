"""Detector with a network of its own for tiles: which one is asked, opened, checked and copied."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fauxto import Detector
from fauxto.checkpoint import CARD, MODEL, TILES_MODEL, read_card, write_card
from fauxto.errors import DetectorError
from fauxto.evaluation.answering import _places
from fauxto.recalibration import write_detector


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def two_networks(tiled_folder: Path, tmp_path: Path) -> Path:
    """A detector folder whose tiles are asked of tiles.onnx, which says the opposite of model.onnx."""
    import onnx

    folder = shutil.copytree(tiled_folder, tmp_path / "two")
    model = onnx.load(folder / MODEL)
    for node in model.graph.node:
        node.output[:] = ["plain" if name == "logit" else name for name in node.output]
        node.input[:] = ["plain" if name == "logit" else name for name in node.input]
    model.graph.node.append(onnx.helper.make_node("Neg", ["plain"], ["logit"]))
    onnx.save(model, folder / TILES_MODEL)
    card = read_card(folder)
    write_card(folder, card | {"tiles": card["tiles"] | {"model": TILES_MODEL}})
    return folder


def test_tiles_may_have_a_network_of_their_own(tiled_folder: Path, two_networks: Path) -> None:
    detector, both = Detector.load(tiled_folder), Detector.load(two_networks)
    small, large = noise(32, 32), noise(70, 90)
    assert both.logits([small]) == detector.logits([small])
    assert "_tiles_session" not in both.__dict__, "opened by the first large image"
    np.testing.assert_allclose(both.tile_logits(large), -detector.tile_logits(large), rtol=1e-5)
    (said,) = both.predict([large])
    assert said.logit == pytest.approx(-detector.predict([large])[0].logit, rel=1e-5)


def test_the_operating_points_share_the_network_of_tiles(two_networks: Path) -> None:
    rate = {"value": 0.01, "low": 0.0, "high": 0.02}
    points = {"fpr1": {"threshold": 0.9, "target_fpr": 0.01, "fpr": rate, "tpr": rate}}
    card = read_card(two_networks)
    write_card(two_networks, card | {"operating_points": points, "tiles": card["tiles"] | {"operating_points": points}})
    both = Detector.load(two_networks)
    both.tile_logits(noise(70, 90))
    assert both.at("fpr1").__dict__["_tiles_session"] is both.__dict__["_tiles_session"]


def test_a_missing_or_changed_network_of_tiles_is_refused(two_networks: Path) -> None:
    (two_networks / TILES_MODEL).write_bytes((two_networks / TILES_MODEL).read_bytes() + b"\0")
    both = Detector.load(two_networks)
    assert both.logits([noise(32, 32)]).shape == (1,)
    with pytest.raises(DetectorError, match=r"tiles\.onnx has another checksum"):
        both.predict([noise(70, 90)])
    (two_networks / TILES_MODEL).unlink()
    with pytest.raises(DetectorError, match=r"tiles\.onnx is missing"):
        Detector.load(two_networks)


@pytest.mark.parametrize("name", ["other.onnx", "../model.onnx", "", None, ["tiles.onnx"]])
def test_no_other_file_is_asked(two_networks: Path, name: object) -> None:
    card = json.loads((two_networks / CARD).read_text())
    card["tiles"]["model"] = name
    (two_networks / CARD).write_text(json.dumps(card))
    with pytest.raises(DetectorError, match="the card's tiles name the model"):
        Detector.load(two_networks)


def test_a_calibrated_detector_keeps_both_networks(two_networks: Path, tmp_path: Path) -> None:
    both = Detector.load(two_networks)
    write_detector(both, both.card, tmp_path / "new")
    assert read_card(tmp_path / "new")["sha256"] == read_card(two_networks)["sha256"]
    np.testing.assert_array_equal(Detector.load(tmp_path / "new").tile_logits(noise(70, 90)), both.tile_logits(noise(70, 90)))


def test_kept_answers_hang_on_the_network_of_tiles(two_networks: Path) -> None:
    both = Detector.load(two_networks)
    sums = both.card["sha256"]
    other = replace(both, card=both.card | {"sha256": sums | {TILES_MODEL: "other"}})
    assert not set(_places(both, "images", "", 0)) & set(_places(other, "images", "", 0))
