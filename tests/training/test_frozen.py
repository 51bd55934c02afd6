"""frozen: a run on features of a timm network and of an ONNX file ends in a detector like any other."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from fauxto.checkpoint import CARD, MODEL, WEIGHTS, load_tensors
from fauxto.config import preset, read_toml
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.errors import ConfigError, DetectorError, UsageError
from fauxto.evaluation import TEST, UNSEEN, columns_for
from fauxto.networks import load_network
from fauxto.runs import sha256_of
from fauxto.training import fit, train

from ..models.extractors import extractor, quantised

NETWORK = "timm:test_resnet@random"


def trained(store: Store, folder: Path, backbone: str, **changes) -> Detector:
    pytest.importorskip("timm")
    config = preset("frozen", backbone=backbone, n_threads=1, device="cpu", **changes)
    train(store, config, folder, shown=False, name="frozen one", note="a note")
    return Detector.load(folder)


@pytest.fixture(scope="module")
def on_timm(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return trained(store, tmp_path_factory.mktemp("frozen") / "timm", NETWORK)


@pytest.fixture(scope="module")
def on_file(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "tower.onnx").write_bytes(extractor(tokens=5).SerializeToString())
    return trained(store, folder / "file", str(folder / "tower.onnx"), pool="mean")


@pytest.fixture(params=["on_timm", "on_file"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return request.getfixturevalue(request.param)


def test_the_run_folder_holds_what_any_run_holds(on_timm: Detector) -> None:
    run = on_timm.folder.parent
    assert {path.name for path in run.iterdir()} == {"config.toml", "run.json", "strengths.csv", "detector"}
    assert read_toml(run / "config.toml")["backbone"] == NETWORK
    rows = list(csv.DictReader(io.StringIO((run / "strengths.csv").read_text())))
    assert min(rows, key=lambda row: float(row["validation_loss"]))["strength"]


def test_the_detector_is_one_like_any_other(detector: Detector, store: Store) -> None:
    card = detector.card
    assert {path.name for path in detector.folder.iterdir()} == {CARD, MODEL, WEIGHTS}
    assert card["sha256"] == {name: sha256_of(detector.folder / name) for name in (MODEL, WEIGHTS)}
    assert (card["name"], card["trained_on"]["note"], card["model"]["head"]) == ("frozen one", "a note", "linear")
    assert list(columns_for(card, store)) == [TEST, UNSEEN]
    images = [store.image(at) for at in np.flatnonzero(store.split == "test")]
    answers = detector.predict(images)
    assert all(0 <= answer.p_fake <= 1 for answer in answers)
    assert abs(detector.predict(images[:1])[0].p_fake - answers[0].p_fake) < 1e-5


def test_the_card_tells_which_backbone_and_where_its_weights_are_from(on_timm: Detector, on_file: Detector) -> None:
    assert on_timm.card["model"]["weights"] == "random, untrained"
    model = on_file.card["model"]
    assert (model["backbone"], model["weights"], model["pool"], model["n_features"]) == ("tower.onnx", "an ONNX file", "mean", 3)
    assert "tower.onnx" in on_file.card["trained_on"]["config"]["backbone"]


def test_the_card_names_no_place_on_this_machine(detector: Detector) -> None:
    assert not re.search(r'"(/|~|[A-Za-z]:[\\/])', json.dumps(detector.card))


def test_the_evidence_is_a_map_whose_mean_is_the_logit(detector: Detector, store: Store) -> None:
    evidence = detector.evidence(store.image(0))
    assert evidence.shape[0] > 1
    assert float(evidence.mean()) == pytest.approx(float(detector.logits([store.image(0)])[0]), abs=1e-4)


def test_a_head_tells_smooth_from_noisy_even_on_untrained_features(on_timm: Detector, store: Store) -> None:
    test = np.flatnonzero(store.split == "test")
    p_fake = on_timm.p_fake(on_timm.logits(store.image(at) for at in test))
    assert np.mean((p_fake >= 0.5) == store.is_fake[test]) > 0.9


def test_the_weights_are_the_heads(on_file: Detector) -> None:
    tensors, _ = load_tensors(on_file.folder / WEIGHTS)
    assert {name: value.shape for name, value in tensors.items()} == {"head.0.weight": (1, 3), "head.0.bias": (1,)}


def test_a_hidden_layer_and_several_views(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tower.onnx").write_bytes(quantised().SerializeToString())
    found = trained(store, tmp_path / "run", str(tmp_path / "tower.onnx"), head="mlp", views=2, perturb_share=0.5)
    assert found.card["model"]["at_once"] == 1
    images = [store.image(at) for at in range(4)]
    alone = np.concatenate([found.logits([image]) for image in images])
    np.testing.assert_array_equal(found.logits(images), alone)
    assert found.evidence(images[0]).shape == (1, 1)


def test_an_interrupted_run_goes_on_and_a_finished_folder_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tower.onnx").write_bytes(extractor().SerializeToString())
    first = trained(store, tmp_path / "run", str(tmp_path / "tower.onnx"))
    with pytest.raises(UsageError, match="already exists"):
        trained(store, tmp_path / "run", str(tmp_path / "tower.onnx"))
    (tmp_path / "run" / "detector" / CARD).unlink()
    config = preset("frozen", backbone=str(tmp_path / "tower.onnx"), n_threads=1, device="cpu")
    train(store, config, tmp_path / "run", shown=False, resume=True)
    assert Detector.load(tmp_path / "run").card["sha256"] == first.card["sha256"]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("given", [{"init": "cifake"}, {"teacher": "cifake"}])
def test_init_and_teacher_are_for_networks(store: Store, tmp_path: Path, given: dict) -> None:
    with pytest.raises(UsageError, match="leave --init and --teacher out"):
        train(store, preset("frozen", backbone=NETWORK), tmp_path / "run", shown=False, **given)
    assert not (tmp_path / "run").exists()


def test_a_backbone_must_be_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no backbone ''"):
        train(store, preset("frozen"), tmp_path / "run", shown=False)
    assert not (tmp_path / "run").exists()


def test_a_study_of_heads_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fauxto train --backbone"):
        fit(store, preset("frozen", backbone=NETWORK), tmp_path / "run")


def test_there_is_no_network_to_take_gradients_from(on_timm: Detector) -> None:
    with pytest.raises(DetectorError, match="head on a frozen backbone"):
        load_network(on_timm.folder)
