"""training.processes: one run on several processes, and errors that reach each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fauxto.calibration import log_loss
from fauxto.checkpoint import WEIGHTS, load_tensors, read_card
from fauxto.config import preset
from fauxto.data.loaders import network_input
from fauxto.data.splits import make_split
from fauxto.errors import ConfigError, UsageError
from fauxto.models.factory import build
from fauxto.preprocess import PreprocessSpec
from fauxto.training.processes import _processes, device_name, on_first, precision_of, summed

CHILD = """
import dataclasses, json, os, sys
from pathlib import Path

store, out, here, ema_decay = sys.argv[1:]
sys.path.insert(0, here)
from conftest import CONFIG, blueprint, no_curves, no_export
from fauxto.data.store import read_store
from fauxto.errors import UsageError
from fauxto.models import factory
from fauxto.training import finish, leave_processes, logs, loop, train

factory.MODELS["resnet18"] = blueprint()
finish.export_onnx, logs.draw_curves = no_export, no_curves
loop._VALIDATION_BATCH = 5  # 13 images are then 3 batches: the processes have 2 and 1
store, out, config = read_store(Path(store)), Path(out), dataclasses.replace(CONFIG, ema_decay=float(ema_decay))
train(store, config, out, shown=False)
before = (out / "detector" / "weights.safetensors").read_bytes()
try:
    train(store, config, out, shown=False)
    second = "nothing"
except UsageError as error:
    second = str(error)
train(store, config, out, resume=True, shown=False)
same = (out / "detector" / "weights.safetensors").read_bytes() == before
(out.parent / f"rank{os.environ['RANK']}.json").write_text(json.dumps({"second": second, "same": same}))
leave_processes()
"""


@pytest.mark.slow
@pytest.mark.parametrize("ema_decay", [0.0, 0.5], ids=["last weights", "averaged weights"])
def test_two_processes_under_torchrun(store, tmp_path, tiny, ema_decay):
    script, out = tmp_path / "child.py", tmp_path / "run"
    script.write_text(CHILD)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, script, store.folder, out, Path(__file__).parent, str(ema_decay)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        answer = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert "already exists and is not empty" in answer["second"], "the first one's error reaches both"
        assert answer["same"], "a finished run resumed writes the same detector"
    assert json.loads((out / "run.json").read_text())["n_processes"] == 2
    check_validation_loss(store, out)


def check_validation_loss(store, out):
    """The loss that both processes computed together must be that of the weights that one of them saved."""
    split = make_split(store, preset("notebook", batch_size=8))
    tensors, _ = load_tensors(out / "detector" / WEIGHTS)
    network = build("resnet18").eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    with torch.no_grad():
        logits = network(torch.from_numpy(network_input(store, split.validation, PreprocessSpec()))).numpy()
    best = read_card(out / "detector")["trained_on"]["best_epoch"]
    row = (out / "history.csv").read_text().splitlines()[best].split(",")
    assert float(row[3]) == pytest.approx(log_loss(store.is_fake[split.validation], logits), rel=1e-4)
    n_trained = 51 // 16 * 16  # the last 3 images would be fewer than two per process
    assert float(row[2]) * n_trained == pytest.approx(round(float(row[2]) * n_trained), abs=1e-6), "the sums of both count"


# ---------------------------------------------------------------- the parts


def test_without_torchrun_the_configuration_counts(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert _processes(preset("notebook")) == (1, 1)
    assert _processes(preset("notebook", n_devices=4)) == (4, 1)


@pytest.mark.parametrize(("local", "world", "expected"), [(1, 1, (1, 1)), (2, 2, (2, 1)), (4, 8, (4, 2))])
def test_under_torchrun_its_environment_counts(monkeypatch, local, world, expected):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    monkeypatch.setenv("WORLD_SIZE", str(world))
    assert _processes(preset("notebook")) == expected
    assert _processes(preset("notebook", n_devices=local)) == expected
    with pytest.raises(ConfigError, match=f"n_devices = 3, but torchrun started {local} processes"):
        _processes(preset("notebook", n_devices=3))


def test_auto_precision_is_what_the_machine_computes_in(monkeypatch):
    for found, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr("fauxto.training.processes.computes_in_bf16", lambda device, found=found: found)
        assert precision_of(preset("fast")) == expected
        assert precision_of(preset("notebook")) == "32-true"


def fabric(*, rank: int, sent: object = None):
    """A stand-in for one of two processes; what it broadcasts is kept, what it receives is ``sent``."""
    kept: list[object] = []

    def broadcast(value):
        kept.append(value)
        return value if rank == 0 else sent

    return SimpleNamespace(is_global_zero=rank == 0, world_size=2, broadcast=broadcast, kept=kept)


def test_only_the_first_process_does_it():
    done = []
    on_first(fabric(rank=0), lambda: done.append(0))
    on_first(fabric(rank=1), lambda: done.append(1))
    assert done == [0]


def test_our_error_is_raised_by_every_process():
    def fail():
        raise UsageError("taken")

    first = fabric(rank=0)
    with pytest.raises(UsageError, match="taken"):
        on_first(first, fail)
    with pytest.raises(UsageError, match="taken"):
        on_first(fabric(rank=1, sent=first.kept[0]), fail)


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        on_first(fabric(rank=0), lambda: 1 / 0)


def test_sums_of_one_process_are_exact():
    values = [0.1 + 0.2, 2.0**53, 3.0]
    assert summed(SimpleNamespace(world_size=1), values) == values


def test_sums_of_several_processes_are_taken_in_float64():
    def doubled(tensor, reduce_op):
        assert (tensor.dtype, reduce_op) == (torch.float64, "sum")
        return tensor * 2

    together = SimpleNamespace(world_size=2, device=torch.device("cpu"), all_reduce=doubled)
    assert summed(together, [0.1, 2.0**30 + 1]) == [0.2, 2.0**31 + 2]


def test_the_devices_name_on_a_cpu():
    assert device_name(SimpleNamespace(device=torch.device("cpu"))) == "cpu"
