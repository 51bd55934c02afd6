"""The study of frozen features: its pairs, weights and discriminants by hand, and one tiny study from end to end."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fauxto.data.store import load_data

from .conftest import module, tower

study, forge = module("frozen_features"), module("frozen_forge")
ART, FACES, PHOTOS, PHONES, TINY = ("art", True), ("faces", True), ("photos", False), ("phones", False), ("tiny", True)


def sources() -> object:
    counts = {ART: 40, FACES: 30, PHOTOS: 60, PHONES: 30, TINY: 6}
    name = np.repeat([key[0] for key in counts], list(counts.values()))
    return study.Sources(name, np.repeat([key[1] for key in counts], list(counts.values())))


def test_small_sources_teach_in_proportion_and_are_not_measured() -> None:
    assert sources().measured(is_fake=True) == [ART, FACES]
    assert sources().weights(frozenset([FACES, PHOTOS]), is_fake=True) == pytest.approx({ART: 1 / 1.2, TINY: 0.2 / 1.2})
    assert sources().weights(frozenset([FACES, PHOTOS]), is_fake=False) == {PHONES: 1.0}


def test_every_fake_is_left_out_with_every_photograph() -> None:
    expected = {frozenset([fake, real]) for fake in (ART, FACES) for real in (PHOTOS, PHONES)}
    assert set(study.pairs_of(sources(), n_left_out=1)) == expected
    assert study.pairs_of(sources(), n_left_out=2) == [frozenset([ART, FACES, PHOTOS, PHONES])]


def test_the_discriminant_is_the_one_by_definition() -> None:
    rng, known = np.random.default_rng(0), sources()
    features = rng.normal(size=(len(known.name), 4)) + known.is_fake[:, None] * [0, 0, 1, 0]
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    left_out = frozenset([FACES, PHONES])
    found = study.heads_of(features, known, [left_out])
    means, within, between = {}, np.zeros((4, 4)), np.zeros((4, 4))
    for kind in (False, True):
        weights = known.weights(left_out, is_fake=kind)
        means[kind] = sum(weight * scaled[known.images(key)].mean(axis=0) for key, weight in weights.items())
        for key, weight in weights.items():
            within += weight / 2 * np.cov(scaled[known.images(key)].T, bias=True)
            apart = scaled[known.images(key)].mean(axis=0) - means[kind]
            between += weight / 2 * np.outer(apart, apart)
    for (ridge, share), scores in found.items():
        matrix = within + share * between + ridge * np.trace(within) / 4 * np.eye(4)
        direction = np.linalg.solve(matrix, means[True] - means[False])
        expected = (scaled - (means[True] + means[False]) / 2) @ direction / np.sqrt(direction @ within @ direction)
        np.testing.assert_allclose(scores[left_out], expected, rtol=1e-3, atol=1e-3)
    assert len(found) == len(study.RIDGES) * len(study.BETWEEN)


def test_the_auc_of_a_pair_looks_at_no_other_source() -> None:
    known = sources()
    scores = np.full(len(known.name), 1e9)
    scores[known.images(ART)], scores[known.images(PHONES)] = np.arange(40), np.arange(30) + 4.5
    better = sum(fake > real for fake in np.arange(40) for real in np.arange(30) + 4.5)
    assert study.auc_of(scores, known, frozenset([ART, PHONES])) == pytest.approx(better / 1200, abs=1e-12)


def test_kinds_of_features_weigh_the_same_however_many_layers() -> None:
    pair = frozenset([ART, PHONES])
    scores = {(name, 0.1, 0.0): {pair: np.array([value])} for name, value in (("cls 0", 1.0), ("cls 1", 3.0), ("dct", 10.0))}
    assert study.averaged(scores, pair).tolist() == [6.0]


def test_what_is_chosen_is_chosen_on_other_sources() -> None:
    known, pair, other = sources(), frozenset([ART, PHONES]), frozenset([FACES, PHOTOS])
    good, bad = np.where(known.is_fake, 1.0, 0.0), np.where(known.is_fake, 0.0, 1.0)
    scores = {"a": {pair: bad, pair | other: good}, "b": {pair: good, pair | other: bad}}
    tables = {head: {pair: study.auc_of(by[pair], known, pair)} for head, by in scores.items()}
    assert study.chosen_aucs(scores, tables, known, [pair]) == {pair: 0.0}  # "a" is better inside, and wrong outside


def test_the_blocks_of_a_tower_answer_beside_it() -> None:
    session, names = study.layers_of(tower())
    image = np.random.default_rng(1).normal(size=(1, 3, 224, 224)).astype(np.float32)
    row = study.tower_row(session, names, image)
    assert sorted(row) == ["cls 0", "cls 1", "embedding", "mean 0", "mean 1"]
    np.testing.assert_allclose(row["cls 0"], np.zeros(4))
    np.testing.assert_allclose(row["cls 1"], row["embedding"], rtol=1e-6)
    np.testing.assert_allclose(row["mean 1"], 2.5 * row["embedding"], rtol=1e-5)  # tokens 2 and 3 times


def test_a_tiny_study_writes_its_tables(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "FEW", 5)
    monkeypatch.setattr(study.record, "RESULTS", files)
    words = ("--data", files / "images.tar", "--extractor", files / "tower.onnx", "--out", files / "cache")
    monkeypatch.setattr(sys, "argv", ["frozen_features.py", *map(str, words)])
    study.main()
    found = json.loads((files / "frozen_features.json").read_text())
    assert set(found["mean_auc"]) == {study.PLAIN, study.CHOSEN, study.MEAN}
    assert found["n_heads"] == 7 * 9
    pairs = list(csv.DictReader(io.StringIO((files / "frozen_features_pairs.csv").read_text())))
    assert len(pairs) == 3 * 9
    mean = np.mean([float(row["auc"]) for row in pairs if row["head"] == study.MEAN])
    assert mean == pytest.approx(found["mean_auc"][study.MEAN]["value"], abs=1e-5)


class Blueness:
    """A detector that tells fakes by their blue, or takes it for a sign of photographs."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def logits(self, images: Iterable[np.ndarray]) -> np.ndarray:
        return np.array([self.sign * (image[..., 2].mean() - image[..., 0].mean()) for image in images])


def test_what_the_forge_taught_counts_as_a_sixth_kind_beside_heads_of_other_sources(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forge.frozen_features, "FEW", 5)
    arguments = SimpleNamespace(hires=files / "images.tar", extractor=files / "tower.onnx", out=files / "cache")
    store = load_data(arguments.hires)
    (rows, right), (_, wrong) = (forge.on_large(Blueness(sign), store, arguments) for sign in (1, -1))
    assert len(rows) == 2 * 9
    assert (right[forge.TAUGHT]["value"], wrong[forge.TAUGHT]["value"]) == (1, 0)
    assert right[forge.TAUGHT]["bar"] == 0.60
    assert wrong[forge.ALL]["value"] < right[forge.ALL]["value"]
    sources = forge.frozen_features.sources_of(store, arguments.hires)
    spread = forge.evened(Blueness(7).logits(store.image(at) for at in range(len(store))), sources)
    assert np.mean([spread[sources.images(key)].var() for key in sorted(sources.keys())]) == pytest.approx(1), "all weigh alike"
