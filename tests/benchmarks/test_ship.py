"""benchmarks/ship.py: what a shipped card says that its run's does not."""

from __future__ import annotations

import dataclasses
import doctest
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from fauxto.checkpoint import CARD, MODEL, TILES_MODEL, trainings, write_card
from fauxto.config import preset, to_dict
from fauxto.data.joined import joined
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.evaluation import columns_for
from fauxto.evaluation.answering import Answers
from fauxto.evaluation.generators import UNKNOWN, row_of
from fauxto.evaluation.seen import training_on, was_guest

from .conftest import module

record, ship = module("record"), module("ship")


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(ship).attempted > 0
    assert doctest.testmod(ship).failed == 0


def test_a_shipped_card_names_generator_purpose_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    clean = {"test": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}, "n": 7}}
    runs = {"best-1": {"model_sha256": "abc"}}
    (tmp_path / "best.json").write_text(json.dumps({"runs": runs, "clean": {"best-1": clean}, "command": "python b.py"}))
    card = {"name": "run", "sha256": {MODEL: "abc"}, "metrics": {"validation": 1}, "trained_on": {"store": "s", "generators": []}}
    shipped = ship.shipped_card(card, "best-1", name="cifake")
    assert shipped["trained_on"]["generators"] == [ship.GENERATOR]
    assert (shipped["name"], shipped["not_for"]) == ("cifake", list(ship.NOT_FOR["cifake"]))
    assert shipped["metrics"] == {"validation": 1, "measured_by": "python b.py", "test": {"accuracy": 0.9}}
    assert card["trained_on"] == {"store": "s", "generators": []}
    with pytest.raises(SystemExit, match="not measured with"):
        ship.shipped_card({**card, "sha256": {MODEL: "other"}}, "best-1", name="cifake")


def test_without_a_run_what_is_bundled_gets_new_words_and_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Detector.load("general")
    shutil.copytree(before.folder, tmp_path / "general")
    write_card(tmp_path / "general", {**before.card, "not_for": ["nothing"]})
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / TILES_MODEL).write_bytes((before.folder / MODEL).read_bytes())
    (tmp_path / "tiles" / "tiles.json").write_text(json.dumps({**before.card["tiles"], "most": 7}))
    monkeypatch.setattr(ship, "ASSETS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["ship.py", "--name", "general", "--tiles", str(tmp_path / "tiles")])
    ship.main()
    card = Detector.load(tmp_path / "general").card
    assert card["not_for"] == list(ship.NOT_FOR["general"])
    assert (card["tiles"]["most"], card["metrics"]) == (7, before.card["metrics"])
    assert card["sha256"] == {**before.card["sha256"], TILES_MODEL: before.card["sha256"][MODEL]}


def test_data_of_a_run_without_a_run_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ship.py", "--name", "general", "--data", "cifake.tar.xz"])
    with pytest.raises(SystemExit):
        ship.main()
    assert "belong to a --run" in capsys.readouterr().err


def test_generators_that_a_card_names_stay() -> None:
    about = {"store": "s", "generators": ["dcgan"], "begun_from": {"name": "x", "trained_on": {"store": "s"}}}
    named = ship.with_generator(about, "s")
    assert [each["generators"] for each in trainings({"trained_on": named})] == [[ship.GENERATOR, "dcgan"], [ship.GENERATOR]]
    assert named["begun_from"]["name"] == "x"


def test_the_bundled_card_is_as_ship_would_write_it(tmp_path: Path) -> None:
    detector = Detector.load("cifake")
    card = detector.card
    assert card["trained_on"] == ship.with_generator(card["trained_on"], card["trained_on"]["store"])
    assert all(about["generators"] == [ship.GENERATOR] for about in trainings(card))
    for name in card["sha256"]:
        (tmp_path / name).write_bytes((detector.folder / name).read_bytes())
    write_card(tmp_path, card)
    assert (tmp_path / CARD).read_bytes() == (detector.folder / CARD).read_bytes()


def test_fakes_are_starred_by_their_own_name_only() -> None:
    detector = Detector.load("cifake")
    p_fake = np.array([0.1, 0.9, 0.9, 0.1])
    said = Answers(p_fake, p_fake, p_fake >= 0.5, np.full(4, ""), np.where(p_fake >= 0.5, "fake", "real"))
    names = np.array([ship.GENERATOR, ship.GENERATOR, UNKNOWN, "Stable Diffusion 2"])
    found = row_of(detector, names, said, said).generators
    assert {item.generator: item.is_known for item in found} == {
        ship.GENERATOR: True,
        UNKNOWN: False,
        "Stable Diffusion 2": False,
    }


def test_an_older_card_of_a_training_with_guests_is_brought_up_to_date(store: Store) -> None:
    config = preset("notebook")
    guest = dataclasses.replace(store, folder=Path("guest"), pixel_hash=np.char.add(store.pixel_hash, b"g"))
    data = joined(store, {"forge": guest}, config)
    bare = {name: part["store"] for name, part in data.parts.items()}
    about = {"store": data.store.folder.name, "note": "so", "config": to_dict(config), "parts": bare}
    assert not any("config" in each for each in list(trainings({"trained_on": about}))[1:]), "bare keys say too little"
    card = {"trained_on": ship.with_parts(about, store, {"forge": guest})}
    assert columns_for(card, store)["test"].tolist() == np.flatnonzero(store.split == "test").tolist()
    assert training_on(card, store)["note"] == "so"
    assert was_guest(training_on(card, guest))
    with pytest.raises(SystemExit, match="are not those"):
        ship.with_parts(about, guest, {"forge": store})
