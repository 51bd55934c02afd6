"""training.beginning: first weights from chance or from a detector, and what that detector must not have seen."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from fauxto.checkpoint import WEIGHTS, load_tensors, read_card, write_card
from fauxto.config import preset
from fauxto.data.joined import Share
from fauxto.data.splits import make_split
from fauxto.detector import Detector
from fauxto.errors import DetectorError, UsageError
from fauxto.evaluation import columns_for
from fauxto.recalibration import recalibrate, write_detector
from fauxto.runs import sha256_of
from fauxto.training import train
from fauxto.training.beginning import ancestor, first_network

pytestmark = pytest.mark.usefixtures("tiny")
CONFIG = preset("notebook", batch_size=8, max_epochs=1, n_threads=1)


def test_without_a_detector_chance_begins():
    torch.manual_seed(0)
    one = first_network(CONFIG, None)
    torch.manual_seed(1)
    assert not torch.equal(one.conv.weight, first_network(CONFIG, None).conv.weight)


def test_training_goes_on_from_the_weights_of_a_detector(reference, store, tmp_path):
    # So small a step that what comes out is what went in.
    detector = train(store, dataclasses.replace(CONFIG, learning_rate=1e-12), tmp_path / "on", init=reference, shown=False)
    before, after = (load_tensors(folder / WEIGHTS)[0] for folder in (reference / "detector", detector))
    for name in ("conv.weight", "last.weight", "last.bias"):
        assert np.allclose(before[name], after[name], atol=1e-6)
    told = read_card(detector)["trained_on"]["begun_from"]
    assert told["name"] == "reference"
    assert told["weights"] == sha256_of(reference / "detector" / WEIGHTS)
    assert told["trained_on"]["config"]["max_epochs"] == 2
    assert "begun_from" not in read_card(reference / "detector")["trained_on"]


def test_a_resumed_run_must_have_begun_with_the_same_weights(reference, store, tmp_path):
    folder = tmp_path / "on"
    train(store, CONFIG, folder, init=reference, shown=False)
    assert json.loads((folder / "run.json").read_text())["begun_from"]["name"] == "reference"
    with pytest.raises(UsageError, match="was started with --init reference: do the same"):
        train(store, CONFIG, folder, resume=True, shown=False)
    assert train(store, CONFIG, folder, init=reference, resume=True, shown=False) == folder / "detector"
    with pytest.raises(UsageError, match="was started without --init: do the same"):
        train(store, dataclasses.replace(CONFIG, max_epochs=2), reference, init=folder, resume=True, shown=False)


def test_a_detector_that_knows_the_validation_or_test_images_is_refused(reference, store, tmp_path):
    for config, part in (
        (dataclasses.replace(CONFIG, seed=1), "validation"),
        (preset("notebook", split="notebook"), "validation"),
    ):
        with pytest.raises(UsageError, match=rf"trained on \d+ of this run's {part} images.*--set split_seed=0"):
            train(store, config, tmp_path / "on", init=reference, shown=False)
    assert not (tmp_path / "on").exists()


def test_of_other_data_nothing_is_said(reference, store, tmp_path, monkeypatch):
    other = dataclasses.replace(store, folder=tmp_path / "elsewhere")
    monkeypatch.setattr("fauxto.training.beginning.fingerprint", lambda *_: "others")
    split = make_split(store, dataclasses.replace(CONFIG, seed=1))
    about = ancestor(reference, Share(other, split, {}))
    assert about is not None
    assert about["trained_on"]["best_epoch"] in (1, 2)


def test_another_network_is_refused(reference, store, tmp_path):
    with pytest.raises(UsageError, match="the configuration asks for"):
        train(store, dataclasses.replace(CONFIG, stem="cifar"), tmp_path / "on", init=reference, shown=False)
    with pytest.raises(DetectorError, match="there is no detector"):
        train(store, CONFIG, tmp_path / "on", init=tmp_path / "nothing", shown=False)
    assert not (tmp_path / "on").exists()


def test_what_an_ancestor_learned_is_not_asked_either(reference, store, tmp_path, monkeypatch):
    """One on these data, a second on others that began with it, a third on these data again."""
    on_others = train(store, CONFIG, tmp_path / "second", init=reference, shown=False)
    card = read_card(on_others)
    card["trained_on"] |= {"store": "others", "pixels": "others", "test_part": "others", "note": "simulated"}
    write_card(on_others, {key: value for key, value in card.items() if key not in ("format", "sha256")})
    third = dataclasses.replace(CONFIG, seed=1)
    with pytest.raises(UsageError, match="trained on .* validation images"):
        train(store, third, tmp_path / "third", init=tmp_path / "second", shown=False)
    detector = train(store, CONFIG, tmp_path / "third", init=tmp_path / "second", shown=False)
    assert "simulated" in read_card(detector)["trained_on"]["note"]
    columns = columns_for(read_card(on_others), store)
    assert list(columns) == ["test", "test, unseen in train"], "it was measured on the test part of what its ancestor learned"


def test_a_changed_split_and_a_card_that_does_not_say_it_are_refused(reference, store, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(reference / "detector", folder)
    card = read_card(folder)
    about = dict(card["trained_on"])
    for change, error, said in (
        ({"test_part": "another"}, UsageError, "splits these data otherwise"),
        ({"config": [1]}, DetectorError, "does not say how"),
    ):
        card["trained_on"] = about | change
        write_card(folder, {key: value for key, value in card.items() if key not in ("format", "sha256")})
        with pytest.raises(error, match=said):
            ancestor(folder, Share(store, make_split(store, CONFIG), {}))
    (folder / WEIGHTS).unlink()
    with pytest.raises(DetectorError):
        ancestor(folder, Share(store, make_split(store, CONFIG), {}))


def test_detectors_of_one_network_that_answer_otherwise_are_told_apart(store, tmp_path):
    cifake, split = Detector.load("cifake"), make_split(store, CONFIG)
    for share in (0.1, 0.2):
        write_detector(cifake, recalibrate(cifake, None, prevalence=share).card, tmp_path / str(share))
    first, second = (ancestor(tmp_path / str(share), Share(store, split, {})) for share in (0.1, 0.2))
    assert first["name"] == second["name"]
    assert first["weights"] == second["weights"]
    assert first != second
    assert "calibration" not in ancestor("cifake", Share(store, split, {}))


def test_a_network_without_routes_goes_on_with_them(store, tmp_path):
    small = {"batch_size": 8, "max_epochs": 1, "patience": 1, "n_threads": 1, "crop": 0, "ema_decay": 0.5}
    before = train(store, preset("fast", **small), tmp_path / "plain", shown=False)
    config = preset("routed", **small)
    after = train(store, config, tmp_path / "routed", init=tmp_path / "plain", shown=False)
    old, new = (load_tensors(folder / WEIGHTS)[0] for folder in (before, after))
    for name, value in old.items():  # what it answered for all other images is left as it was
        kept = [other for other in new if without_routes(other) == name and "on_grid" not in other]
        assert len(kept) == 1, name
        assert np.array_equal(value, new[kept[0]]), name
    assert new["stage2.0.0.up.weight"].any(), "it has learned"
    assert read_card(after)["model"] == {"name": "routed"}
    assert read_card(after)["trained_on"]["begun_from"]["name"] == "plain"
    with pytest.raises(UsageError, match="the configuration asks for"):
        train(store, preset("fast", **small), tmp_path / "back", init=tmp_path / "routed", shown=False)
    with pytest.raises(UsageError, match="name it with --init"):
        train(store, config, tmp_path / "alone", shown=False)
    train(store, config, tmp_path / "on", init=tmp_path / "routed", shown=False)


def test_families_are_left_out_of_guests_alone(store, tmp_path):
    with pytest.raises(UsageError, match="gan: only families of guests are left out"):
        train(store, preset("notebook", left_out=("gan",)), tmp_path / "run", shown=False)
    assert not (tmp_path / "run").exists()


def without_routes(name: str) -> str:
    return name.replace(".off_grid.", ".").replace(".base.", ".")
