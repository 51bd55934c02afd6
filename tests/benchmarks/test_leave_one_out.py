"""The leave-one-out study: its folds, batches and summary by hand, and one tiny study from end to end."""

from __future__ import annotations

import csv
import io
import json
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fauxto.config import preset
from fauxto.data import loaders
from fauxto.data.splits import make_split
from fauxto.data.store import Store, load_data
from fauxto.metrics import roc_auc
from fauxto.perturb import perturbed
from fauxto.preprocess import PreprocessSpec
from fauxto.training import finish, logs, train

from .conftest import module

SOURCE = {"began": "one", "dcgan": "one", "ddpm": "two"}


study = module("leave_one_out")


def test_folds() -> None:
    everything = ("began", "dcgan", "ddpm")
    shared = {study.AS_IS: everything, study.ALONE: everything, study.ALL: ()}
    assert study.folds_of(SOURCE, by="generator") == shared | {name: (name,) for name in everything}
    assert study.folds_of(SOURCE, by="source") == shared | {"one": ("began", "dcgan"), "two": ("ddpm",)}


def test_sampled() -> None:
    positions = np.arange(100, 150)
    some = study.sampled(positions, 20, seed=1)
    assert len(set(some.tolist()) & set(positions.tolist())) == 20
    assert some.tolist() == sorted(some.tolist()) == study.sampled(positions, 20, seed=1).tolist()
    assert some.tolist() != study.sampled(positions, 20, seed=2).tolist()
    assert study.sampled(positions, 0, seed=1).tolist() == study.sampled(positions, 51, seed=1).tolist() == positions.tolist()


def test_a_small_generator_is_drawn_as_often_as_a_large_one() -> None:
    names = np.repeat(["large", "small"], [90, 10])
    drawn = Counter(names[study.balanced(names, 10_000, np.random.default_rng(0))].tolist())
    assert drawn["small"] == pytest.approx(5000, abs=200)  # four standard deviations
    assert study.balanced(names[:0], 0, np.random.default_rng(0)).tolist() == []


def material_with(store: Store, **changes: Any) -> Any:
    """Joined images all show one grey per generator, and nothing is augmented, so that they can be told apart in a batch."""
    config = preset("best", batch_size=8, horizontal_flip=0.0, shift=0, perturb_share=0.0)
    split = make_split(store, config)
    arguments = SimpleNamespace(joined_share=0.25)
    images = np.stack([np.full((32, 32, 3), grey, np.uint8) for grey in (0, 100, 200)])
    generator = np.array(["began", "", "ddpm"])
    detector = SimpleNamespace(spec=PreprocessSpec(mean=(0, 0, 0), std=(1, 1, 1)))
    found = study.Material(arguments, detector, config, store, split, split.test, split.validation, images, generator, {}, images)
    return replace(found, **changes)


def test_joined_images_take_the_place_of_fakes(store: Store) -> None:
    material = material_with(store)
    images, labels = study.mixed_batch(material, np.array([2]), np.random.default_rng(0))
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert images.shape == (8, 3, 32, 32)
    is_joined = np.isclose(images.numpy(), 200 / 255).all(axis=(1, 2, 3))
    assert is_joined.tolist() == [False] * 6 + [True] * 2
    train = loaders.network_input(store, material.split.train, material.detector.spec)
    is_fake = store.is_fake[material.split.train]
    for image, label in zip(images.numpy()[:6], labels.tolist()[:6], strict=True):
        assert any(np.array_equal(image, known) for known in train[is_fake == bool(label)])


def test_a_batch_of_cifake_alone(store: Store) -> None:
    material = material_with(store)
    images, labels = study.mixed_batch(material, np.zeros(0, np.int64), np.random.default_rng(0))
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    train = loaders.network_input(store, material.split.train[store.is_fake[material.split.train]], material.detector.spec)
    assert all(any(np.array_equal(image, known) for known in train) for image in images.numpy()[4:])


def row(training: str, generator: str, auc: float) -> dict[str, Any]:
    same = {"called_fake": auc / 2, "tpr_at_fpr1": auc / 4, "auc_same_encoder": auc}
    fold = generator if training == study.JOINED else training
    return {"generator": generator, "training": training, "fold": fold, "auc": auc} | same | {"test_accuracy": 0.9 + auc / 100}


def test_overall_by_hand() -> None:
    rows = [row(study.AS_IS, "began", 0.8), row(study.AS_IS, "ddpm", 0.6), row(study.ALONE, "began", 0.9)]
    rows += [row(study.ALONE, "ddpm", 0.5), row(study.JOINED, "ddpm", 0.9), row(study.JOINED, "began", 0.85)]
    rows += [row(study.ALL, "", 0.0)]
    found = study.overall(rows)
    assert found["n_generators"] == 2
    assert found["generators"][study.AS_IS]["auc"] == {"mean": pytest.approx(0.7), "min": 0.6, "lowest": "ddpm"}
    assert found["generators"][study.JOINED]["called_fake"] == {"mean": pytest.approx(0.4375), "min": 0.425, "lowest": "began"}
    added = found["generators"][study.ALONE]["auc_added_by_joining"]
    assert added == {"mean": pytest.approx(0.175), "min": pytest.approx(-0.05), "lowest": "began", "n_better": 1}
    assert set(found["cifake"]) == {study.AS_IS, study.ALONE, study.ALL}
    assert found["cifake"][study.ALL] == {"test_accuracy": 0.9}


def toy_archive(path: Path) -> Path:
    """Three generators of 5, 4 and 3 noisy images, and 4 smooth real ones, as PNG with a manifest."""
    rng, lines = np.random.default_rng(0), ["path,label,generator,family,source,note"]
    with tarfile.open(path, "w") as archive:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(f"toy/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        for name, n, noise in (("began", 5, 60), ("dcgan", 4, 40), ("ddpm", 3, 20), ("photo", 4, 1)):
            for at in range(n):
                stream, pixels = io.BytesIO(), rng.normal(120, noise, (32, 32, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(stream, "PNG")
                add(f"{name}/{at}.png", stream.getvalue())
                lines.append(f"{name}/{at}.png,{'real' if name == 'photo' else 'fake'},{name},x,{SOURCE.get(name, 'one')},")
        add("manifest.csv", "\n".join(lines).encode())
    return path


@pytest.fixture(scope="module")
def best_run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away run of preset best; pictures and the ONNX export have tests of their own."""
    folder = tmp_path_factory.mktemp("runs") / "best-toy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "export_onnx", lambda network, spec, path: path.write_bytes(b"stand-in") and 0.0)
        patch.setattr(logs, "draw_curves", lambda folder, history, **_: folder / "curves.png")
        train(store, preset("best", batch_size=8, max_epochs=1, n_threads=1, ema_decay=0.9), folder, shown=False)
    return folder


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best_run: Path, image_folder: Path) -> list[str]:
    monkeypatch.setattr(study.record, "RESULTS", tmp_path / "results")
    given = {"run": best_run, "data": image_folder, "generators": toy_archive(tmp_path / "toy.tar"), "out": tmp_path / "out"}
    return ["leave_one_out.py", *(word for key, path in given.items() for word in (f"--{key}", str(path))), "--steps", "2"]


def start(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Run the study; return its table and its result."""
    monkeypatch.setattr(sys, "argv", words)
    study.main()
    files = sorted(study.record.RESULTS.glob("*"))
    assert [file.suffix for file in files] == [".csv", ".json"]
    return list(csv.DictReader(io.StringIO(files[0].read_text()))), json.loads(files[1].read_text())


def test_a_study_from_end_to_end(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    seen: dict[str, set[str]] = {}
    trained = study.trained_further

    def spied(network: Any, material: Any, joined: np.ndarray, fabric: Any) -> Any:
        seen[str(len(seen))] = set(material.generator[joined].tolist())
        return trained(network, material, joined, fabric)

    monkeypatch.setattr(study, "trained_further", spied)
    table, result = start(monkeypatch, arguments)
    # Folds in their order: CIFAKE alone, all joined, then each generator left out; never a real image among the joined.
    assert list(seen.values()) == [set(), set(SOURCE), {"dcgan", "ddpm"}, {"began", "ddpm"}, {"began", "dcgan"}]
    assert [(one["generator"], one["training"]) for one in table] == [
        (name, training) for name in SOURCE for training in (study.AS_IS, study.ALONE, study.JOINED)
    ] + [("", study.ALL)]
    assert [one["n"] for one in table[::3]] == ["5", "4", "3", "0"]
    assert (table[0]["few"], table[0]["source"], table[-1]["auc"]) == ("True", "one", "")
    assert result["generators"][study.JOINED]["auc"]["mean"] == pytest.approx(
        np.mean([float(one["auc"]) for one in table if one["training"] == study.JOINED]), abs=1e-5
    )
    assert set(result["cifake"]) == {study.AS_IS, study.ALONE, study.ALL}
    assert (result["steps"], result["n_same_encoder"]) == (2, 4)
    # A second start has nothing left to train and ends with the same numbers.
    monkeypatch.setattr(study, "trained_further", lambda *_: pytest.fail("a finished fold was done again"))
    assert start(monkeypatch, arguments) == (table, result)


def test_as_it_is_are_the_runs_own_answers(monkeypatch: pytest.MonkeyPatch, arguments: list[str], store: Store) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    material = study.material_of(study.parsed())
    network = study.load_network(material.detector.folder)[0]
    explainer = study.Explainer.load(material.detector.folder)
    rows = study.measured(network, material, study.AS_IS, ("ddpm",))

    def ask(images: np.ndarray) -> np.ndarray:
        return material.detector.p_fake(explainer.logits(images))

    test = store.batch(np.flatnonzero(store.split == "test"))
    of_test, is_fake = ask(test), store.is_fake[store.split == "test"]
    fakes = ask(material.images[material.generator == "ddpm"])
    both = np.concatenate([of_test[~is_fake], fakes])
    assert rows[0]["auc"] == roc_auc(np.repeat([False, True], [12, 3]), both)
    assert rows[0]["called_fake"] == np.mean(fakes >= 0.5)
    assert rows[0]["test_accuracy"] == np.mean((of_test >= 0.5) == is_fake)


def test_every_image_of_the_archive_is_encoded_as_cifakes_are(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    material = study.material_of(study.parsed())
    archive = load_data(arguments[arguments.index("--generators") + 1])
    encoded = perturbed(archive.batch(np.arange(len(archive))), "jpeg-75")
    assert np.array_equal(material.images, encoded)
    assert np.array_equal(material.reals, encoded[~archive.is_fake])
    assert material.source == SOURCE


def test_further_steps_move_the_weights_and_left_out_images_do_not(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    material = study.material_of(study.parsed())
    fabric = study.open_fabric(material.config)

    def weights(changed: Any, joined: np.ndarray) -> np.ndarray:
        network = study.load_network(material.detector.folder)[0]
        network = study.trained_further(network, changed, joined, fabric)
        assert not network.training
        return network.head.weight.detach().numpy().ravel()

    joined = np.flatnonzero(np.isin(material.generator, ["began", "dcgan"]))
    other = material.images.copy()
    other[material.generator == "ddpm"] = 0
    found = weights(material, joined)
    assert not np.array_equal(found, study.load_network(material.detector.folder)[0].head.weight.detach().numpy().ravel())
    assert np.array_equal(found, weights(replace(material, images=other), joined))
    other[material.generator == "began"] = 0
    assert not np.array_equal(found, weights(replace(material, images=other), joined))


def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: list[str], tmp_path: Path, best_run: Path) -> None:
    import shutil

    from fauxto.checkpoint import read_card, write_card

    run = shutil.copytree(best_run, tmp_path / "knows")
    card = read_card(run / "detector")
    card["trained_on"]["generators"] = ["ddpm"]
    write_card(run / "detector", card)
    monkeypatch.setattr(sys, "argv", [*arguments, "--run", str(run)])
    with pytest.raises(SystemExit, match="was trained on ddpm: give a run without"):
        study.material_of(study.parsed())
    card["trained_on"] |= {"generators": [], "store": "other", "pixels": "other"}
    write_card(run / "detector", card)
    with pytest.raises(SystemExit, match="expected --data that the run was trained on"):
        study.material_of(study.parsed())
