"""training.folder: a run folder is made once, and only its own run goes on in it."""

from __future__ import annotations

import dataclasses
import json
import os
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fauxto.config import TrainConfig, from_mapping, preset, read_toml
from fauxto.data.splits import make_split
from fauxto.errors import ConfigError, UsageError
from fauxto.training.folder import open_run

CONFIG = preset("notebook", batch_size=8)


def fabric(n_processes: int = 1):
    return SimpleNamespace(world_size=n_processes, device=torch.device("cpu"))


@pytest.fixture
def split(store):
    return make_split(store, CONFIG)


@pytest.fixture
def run(tmp_path, store, split):
    folder = tmp_path / "run"
    open_run(fabric(), folder, store, split, CONFIG, resume=False)
    return folder


def test_a_run_is_written_down(run, store, split):
    assert sorted(os.listdir(run)) == ["config.toml", "run.json"]
    assert from_mapping(TrainConfig, read_toml(run / "config.toml")) == CONFIG
    about = json.loads((run / "run.json").read_text())
    assert about["store"] == store.folder.name
    assert about["n_images"]["train"] == len(split.train)
    assert (about["n_processes"], about["device"], about["precision"]) == (1, "cpu", "32-true")
    assert about["environment"]["packages"]["torch"] == metadata.version("torch")


def test_a_taken_folder_is_refused(run, store, split):
    with pytest.raises(UsageError, match="already exists and is not empty: choose another --out, or pass --resume"):
        open_run(fabric(), run, store, split, CONFIG, resume=False)


def test_the_same_run_goes_on_and_a_killed_writers_rests_are_swept(run, store, split):
    (run / ".state.safetensors.x1y2.part").touch()
    before = (run / "run.json").read_bytes()
    open_run(fabric(), run, store, split, CONFIG, resume=True)
    assert sorted(os.listdir(run)) == ["config.toml", "run.json"]
    assert (run / "run.json").read_bytes() == before


def test_another_configuration_is_refused_with_what_changed(run, store, split):
    other = dataclasses.replace(CONFIG, batch_size=16, seed=3)
    with pytest.raises(
        UsageError, match=r"batch_size was 8 and is now 16; seed was 0 and is now 3\): give the same, or a new --out"
    ):
        open_run(fabric(), run, store, split, other, resume=True)


def test_other_data_are_refused(run, store, split):
    other = dataclasses.replace(store, folder=store.folder.with_name("other"))
    with pytest.raises(UsageError, match="started with other data"):
        open_run(fabric(), run, other, split, CONFIG, resume=True)


def test_another_number_of_processes_is_refused(run, store, split):
    with pytest.raises(UsageError, match="started with 1 processes, now there are 2"):
        open_run(fabric(2), run, store, split, CONFIG, resume=True)


def test_a_machine_that_would_compute_otherwise_is_refused(run, store, split):
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(about | {"precision": "bf16-mixed"}))
    with pytest.raises(UsageError, match="started in bf16-mixed, this machine would go on in 32-true"):
        open_run(fabric(), run, store, split, CONFIG, resume=True)


def test_another_split_of_the_same_data_is_refused(run, store, split):
    swapped = dataclasses.replace(split, train=np.sort(np.append(split.train[1:], split.validation[0])))
    with pytest.raises(UsageError, match="splits these data otherwise"):
        open_run(fabric(), run, store, swapped, CONFIG, resume=True)


def test_a_run_of_a_version_that_wrote_less_goes_on(run, store, split):
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({key: about[key] for key in ("store", "n_images", "environment")}))
    open_run(fabric(), run, store, split, CONFIG, resume=True)


@pytest.mark.parametrize("text", ["", "[1]", "{", "3"])
def test_a_damaged_record_is_refused(run, store, split, text):
    (run / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json cannot be read .*start anew"):
        open_run(fabric(), run, store, split, CONFIG, resume=True)


def test_a_damaged_configuration_is_refused(run, store, split):
    (run / "config.toml").write_text("sead = 3")
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        open_run(fabric(), run, store, split, CONFIG, resume=True)


@pytest.mark.parametrize("there", [[], ["run.json"], ["run.json", ".config.toml.abc.part"], [".run.json.abc.part"]])
def test_a_run_that_was_killed_while_it_began_starts_anew(tmp_path, store, split, there):
    for name in there:
        (tmp_path / name).write_text("half")
    open_run(fabric(), tmp_path, store, split, CONFIG, resume=True)
    assert sorted(os.listdir(tmp_path)) == ["config.toml", "run.json"]
    assert json.loads((tmp_path / "run.json").read_text())["store"] == store.folder.name


def test_what_is_no_run_is_neither_resumed_nor_touched(tmp_path, store, split):
    with pytest.raises(UsageError, match=r"no run to resume in .*nothing: start it without --resume"):
        open_run(fabric(), tmp_path / "nothing", store, split, CONFIG, resume=True)
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "run.json").write_text("mine too")
    with pytest.raises(UsageError, match="no run to resume"):
        open_run(fabric(), tmp_path, store, split, CONFIG, resume=True)
    assert sorted(os.listdir(tmp_path)) == ["run.json", "thesis.txt"]
