"""``fauxto train`` with guests: a detector comes out that knows again what it was trained on, also after a stop."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.checkpoint import CARD, WEIGHTS, load_tensors, read_card
from fauxto.config import TrainConfig, preset
from fauxto.data.joined import Share, joined
from fauxto.data.splits import make_split
from fauxto.data.store import load_data
from fauxto.detector import Detector
from fauxto.errors import UsageError
from fauxto.evaluation import columns_for
from fauxto.evaluation.seen import may_be_seen, training_on
from fauxto.explain.cam import Explainer
from fauxto.perturb import perturbed
from fauxto.training import finish, frozen, logs
from fauxto.training.beginning import ancestor, first_network
from fauxto.training.heads import fit_head
from fauxto.training.loop import Loop

from ..models.extractors import extractor

Run = Callable[..., tuple[int, str, str]]
SMALL = (
    "--max-epochs",
    1,
    "--batch-size",
    16,
    *(f"--set={key}" for key in ("n_threads=1", "validation_share=0.5", "precision=32-true")),
)


def folder_of(home: Path, rows: list[tuple[str, str, str, str, str]]) -> Path:
    """Write images of their own and a manifest; rows are (path, label, generator, group, split)."""
    rough = np.random.default_rng(sum(map(ord, home.name))).integers(60, 196, (len(rows), 32, 32, 1), dtype=np.uint8)
    for row, pixels in zip(rows, perturbed(rough.repeat(3, axis=3), "blur-0.4"), strict=True):
        (home / row[0]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(home / row[0])
    with (home / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "generator", "group", "split"), *rows])
    return home


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Main data, forged ones of its photographs, and those of another generator."""
    home = tmp_path_factory.mktemp("guests")
    main = [(f"train/{label}/{at}.png", label, "", "", "train") for label in ("real", "fake") for at in range(44)]
    main += [(f"test/{label}/{at}.png", label, "", "", "test") for label in ("real", "fake") for at in range(3)]
    forged = [(f"kl/{at}.png", "fake", "autoencoder/kl", f"train/real/{at}.png", "") for at in range(12)]
    forged += [(f"flow/{at}.png", "fake", "flow/euler", "", "") for at in range(4)]
    others = [(f"gan/{at}.png", "fake", "dcgan", "", "") for at in range(5)] + [("real/0.png", "real", "", "", "")]
    return {name: folder_of(home / name, rows) for name, rows in (("main", main), ("forged", forged), ("others", others))}


def test_training_with_guests_goes_on_after_a_stop_and_its_data_are_known_again(
    run: Run, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "draw_curves", lambda folder, history, **_: folder)
    words = ("train", "--data", folders["main"], "--forge", folders["forged"], "--generators", folders["others"])
    words += ("--preset", "general", "--init", "cifake", "--leave-out", "flow", *SMALL)
    step, n_steps = Loop.step, []

    def stopped(loop: Loop, *batch: object) -> object:
        n_steps.append(1)
        if len(n_steps) == 3:
            raise UsageError("stopped here")
        return step(loop, *batch)

    monkeypatch.setattr(Loop, "step", stopped)
    code, _, err = run(*words, "--out", tmp_path / "run", "--set", "checkpoint_every_s=0")
    assert code != 0
    assert "stopped here" in err
    assert (tmp_path / "run" / "state.safetensors").is_file()
    assert not (tmp_path / "run" / "detector").exists()
    code, _, err = run(*words, "--out", tmp_path / "run", "--set", "checkpoint_every_s=0", "--resume")
    assert code == 0, err
    monkeypatch.setattr(finish, "export_onnx", lambda network, spec, path: path.write_bytes(b"stand-in"))
    code, _, err = run(*words, "--out", tmp_path / "whole", "--set", "checkpoint_every_s=0")
    assert code == 0, err
    ours, whole = (load_tensors(tmp_path / name / "detector" / WEIGHTS)[0] for name in ("run", "whole"))
    assert all(np.array_equal(ours[name], whole[name]) for name in whole), "as if nothing had stopped it"
    assert not np.array_equal(ours["scale"], [1, 1]), "levelled"

    card, stores = read_card(tmp_path / "run" / "detector"), {name: load_data(path) for name, path in folders.items()}
    check_card(card, stores)
    check_going_on(tmp_path / "run", stores)
    (found,) = Explainer.load(tmp_path / "run").explain([stores["main"].image(0)])
    assert np.isfinite(found.logit)
    assert Detector.load(tmp_path / "run").predict([stores["main"].image(0)])[0].logit == pytest.approx(found.logit, abs=1e-3)


def test_a_head_on_frozen_features_learns_from_guests_too(
    run: Run, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tower.onnx").write_bytes(extractor().SerializeToString())
    given = {}
    monkeypatch.setattr(
        frozen, "fit_head", lambda kind, *parts, **more: given.update(parts=parts) or fit_head(kind, *parts, **more)
    )
    words = ("--backbone", tmp_path / "tower.onnx", "--forge", folders["forged"], "--generators", folders["others"])
    words += ("--leave-out", "flow", "--set", "validation_share=0.5", "--set", "main_share=0.25")
    code, _, err = run("train", "--data", folders["main"], *words, "--out", tmp_path / "run")
    assert code == 0, err
    stores = {name: load_data(path) for name, path in folders.items()}
    check_card(read_card(tmp_path / "run" / "detector"), stores)
    learned, judging = given["parts"]
    fakes = learned.weight[learned.is_fake]
    assert fakes.sum() == pytest.approx(len(learned.weight) / 2), "as many fakes as photographs"
    assert np.sort(fakes)[:22].sum() == pytest.approx(0.25 * fakes.sum()), "the main data's share"
    assert int(judging.is_fake.sum()) == 22 + 4, "the main data's and those of the family that was left out"
    whole = read_card(tmp_path / "run" / "detector")["sha256"]
    (tmp_path / "run" / "detector" / CARD).unlink()
    code, _, err = run("train", "--data", folders["main"], *words, "--out", tmp_path / "run", "--resume")
    assert code == 0, err
    assert read_card(tmp_path / "run" / "detector")["sha256"] == whole


def check_card(card: dict, stores: dict) -> None:
    parts = card["trained_on"]["parts"]
    assert {name: part["store"] for name, part in parts.items()} == {
        "": stores["main"].folder.name, "forge": stores["forged"].folder.name, "generators": stores["others"].folder.name,
    }  # fmt: skip
    assert card["trained_on"]["generators"] == ["autoencoder/kl", "dcgan"]
    assert columns_for(card, stores["main"])["test"].tolist() == np.flatnonzero(stores["main"].split == "test").tolist()
    assert may_be_seen(card, stores["main"]) == []
    for name in ("forged", "others"):
        assert training_on(card, stores[name]) is not None
        (line,) = may_be_seen(card, stores[name])
        assert "joined the detector's training" in line
        assert list(columns_for(card, stores[name])) == ["all images"]
    plain = {**card, "trained_on": {**card["trained_on"], "parts": {name: part["store"] for name, part in parts.items()}}}
    assert training_on(plain, stores["main"]) is None, "an old card names the data and does not say how they were divided"


def check_going_on(run_folder: Path, stores: dict) -> None:
    config = preset("general", validation_share=0.5, left_out=("flow",))
    assert first_network(config, run_folder).shapes is not None, "general goes on from general"
    main, guests = stores["main"], {"forge": stores["forged"]}

    def shares(config: TrainConfig) -> list[Share]:
        data = joined(main, guests, config)
        return data.shares(make_split(data.store, config))

    assert ancestor(run_folder, *shares(config))["name"] == "run"
    with pytest.raises(UsageError, match=r"trained on .* of this run's validation images.*--set split_seed=0"):
        ancestor(run_folder, *shares(preset("general", validation_share=0.5, left_out=("flow",), seed=1)))
    with pytest.raises(UsageError, match="they were divided otherwise: take the same"):
        ancestor(run_folder, *shares(preset("general", validation_share=0.5, left_out=("autoencoder",))))
    with pytest.raises(UsageError, match="divided otherwise"):
        split = make_split(main, config)
        ancestor(run_folder, Share(stores["forged"], split, {}))


def test_a_general_network_begins_with_a_routed_one_alone(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(UsageError, match="goes on from a trained detector with model 'routed'"):
        first_network(preset("general"), None)
    with pytest.raises(UsageError, match="the configuration asks for"):
        first_network(preset("general"), run_folder)
    network = first_network(preset("general"), "cifake")
    assert float(network.temperature) == pytest.approx(Detector.load("cifake").temperature)


def test_too_few_photographs_are_told_before_training(run: Run, folders: dict[str, Path], tmp_path: Path) -> None:
    words = ("--preset", "general", "--init", "cifake", "--set", "validation_share=0.2", "--set", "n_threads=1")
    code, _, err = run("train", "--data", folders["main"], "--forge", folders["forged"], *words, "--out", tmp_path / "run")
    assert code != 0
    assert "validation photographs are saved" in err
    assert not (tmp_path / "run").exists()
