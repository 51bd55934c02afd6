"""training.teacher: a finished detector's answers beside the labels."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from fauxto.checkpoint import WEIGHTS, load_tensors, read_card, trainings
from fauxto.config import TrainConfig, preset
from fauxto.detector import Detector
from fauxto.errors import UsageError
from fauxto.training import train
from fauxto.training.logs import EpochBar
from fauxto.training.teacher import targets, teacher_answers

CONFIG = preset("notebook", batch_size=8, max_epochs=2, n_threads=1)


def weights_of(detector):
    return load_tensors(detector / WEIGHTS)[0]


def test_targets_mix_labels_and_answers_before_they_are_smoothed():
    config = TrainConfig(teacher_weight=0.75, label_smoothing=0.1)
    labels, taught = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.2, 0.6])
    # 0.25 * label + 0.75 * answer = 1, 0.4, 0.45; then 0.8 of it and 0.1.
    assert torch.allclose(targets(labels, taught, config), torch.tensor([0.9, 0.42, 0.46]))
    assert torch.allclose(targets(labels, None, config), torch.tensor([0.9, 0.9, 0.1]))
    assert torch.equal(targets(labels, taught, TrainConfig(teacher_weight=0.0)), labels)


def test_the_teacher_is_asked_about_the_images_that_are_trained_on_and_about_no_other(store):
    positions = np.array([1, 5, 6])
    answers = teacher_answers("cifake", store, positions, EpochBar(shown=False)).numpy()
    assert answers.shape == (len(store),)
    assert np.flatnonzero(~np.isnan(answers)).tolist() == positions.tolist()
    said = [one.p_fake for one in Detector.load("cifake").predict([store.image(at) for at in positions])]
    np.testing.assert_allclose(answers[positions], said, atol=1e-6)


@pytest.mark.usefixtures("tiny")
def test_a_teacher_moves_the_weights_and_stands_on_the_card(reference, store, tmp_path):
    taught = train(store, CONFIG, tmp_path / "taught", teacher="cifake", shown=False)
    alone, after = weights_of(reference / "detector"), weights_of(taught)
    assert not np.array_equal(alone["conv.weight"], after["conv.weight"])
    card = read_card(taught)
    assert card["trained_on"]["taught_by"]["name"] == "cifake"
    assert len(list(trainings(card))) >= 2, "evaluate must know what the teacher has seen"
    deaf = train(store, dataclasses.replace(CONFIG, teacher_weight=0.0), tmp_path / "deaf", teacher="cifake", shown=False)
    assert np.array_equal(alone["conv.weight"], weights_of(deaf)["conv.weight"])


@pytest.mark.usefixtures("tiny")
def test_an_interrupted_run_goes_on_with_the_same_teacher_only(store, tmp_path):
    whole = train(store, CONFIG, tmp_path / "whole", teacher="cifake", shown=False)

    def killed(position):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("fauxto.training.Loop.validate", killed)
        train(store, CONFIG, tmp_path / "cut", teacher="cifake", shown=False)
    with pytest.raises(UsageError, match="was started with --teacher cifake: do the same"):
        train(store, CONFIG, tmp_path / "cut", resume=True, shown=False)
    resumed = train(store, CONFIG, tmp_path / "cut", teacher="cifake", resume=True, shown=False)
    for name, value in weights_of(whole).items():
        assert np.array_equal(value, weights_of(resumed)[name]), name
    assert json.loads((tmp_path / "cut" / "run.json").read_text())["begun_from"] is None


@pytest.mark.usefixtures("tiny")
def test_a_teacher_that_knows_the_validation_images_is_refused(reference, store, tmp_path):
    with pytest.raises(UsageError, match="trained on .* of this run's validation images"):
        train(store, dataclasses.replace(CONFIG, seed=1), tmp_path / "new", teacher=reference, shown=False)
    assert not (tmp_path / "new").exists()
