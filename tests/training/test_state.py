"""training.state: a saved state goes on as if nothing had happened, and a damaged one is refused."""

from __future__ import annotations

import errno
import math
import os

import pytest
import torch

from fauxto import runs
from fauxto.checkpoint import load_tensors, save_tensors
from fauxto.config import preset
from fauxto.errors import DiskFullError, TrainingError
from fauxto.models.nets import EvidenceNet
from fauxto.training.optimizers import build_optimizer
from fauxto.training.state import (
    BEST,
    STATE,
    DivergedError,
    Position,
    check_finite,
    check_finite_loss,
    load_best,
    load_state,
    save_best,
    save_state,
)


def small(seed: int = 0, width: int = 4):
    """A network with buffers, and the optimizer that training uses."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 1))
    return network, torch.optim.Adam(network.parameters(), lr=0.01, fused=True)


def named(network, optimizer):
    return {"model": network}, optimizer


def do_steps(network, optimizer, first, last):
    network.train()
    for step in range(first, last):
        images = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()


def bits(network):
    return {name: value.numpy().tobytes() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("step", [0, 1, 5])
def test_going_on_gives_the_bits_of_a_run_without_a_stop(tmp_path, step):
    straight = small()
    do_steps(*straight, 0, 10)
    stopped = small()
    do_steps(*stopped, 0, step)
    save_state(tmp_path, *named(*stopped), Position(step=step))
    resumed = small(seed=99)  # other first weights: everything must come from the file
    assert load_state(tmp_path, *named(*resumed)) == Position(step=step)
    assert bits(resumed[0]) == bits(stopped[0])
    do_steps(*resumed, step, 10)
    assert bits(resumed[0]) == bits(straight[0])


@pytest.mark.parametrize("step", [1, 4])
def test_muon_goes_on_to_the_same_bits_too(tmp_path, step):
    def evidence(seed):
        torch.manual_seed(seed)
        network = EvidenceNet(widths=(4, 4, 4), blocks=(1, 1)).to(memory_format=torch.channels_last)
        return network, build_optimizer(network, preset("best"))

    def go(network, optimizer, first, last):
        for at in range(first, last):
            images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(at))
            optimizer.zero_grad()
            network(images.contiguous(memory_format=torch.channels_last)).square().mean().backward()
            optimizer.step()

    straight, stopped, resumed = evidence(0), evidence(0), evidence(9)
    go(*straight, 0, 6)
    go(*stopped, 0, step)
    save_state(tmp_path, *named(*stopped), Position(step=step))
    load_state(tmp_path, *named(*resumed))
    go(*resumed, step, 6)
    assert bits(resumed[0]) == bits(straight[0])


def test_the_position_comes_back_exactly(tmp_path):
    row = {"epoch": 1, "train_loss": 0.1 + 0.2, "seconds": 1e-300}
    position = Position(epoch=1, step=7, totals=[math.pi, 3.0, 16.0], history=[row], best_epoch=1, is_done=True)
    save_state(tmp_path, *named(*small()), position)
    assert load_state(tmp_path, *named(*small())) == position


def test_a_run_without_a_state_starts_anew(tmp_path):
    network, optimizer = small()
    before = bits(network)
    assert load_state(tmp_path, {"model": network}, optimizer) == Position()
    assert bits(network) == before


@pytest.mark.parametrize("payload", [b"", b"text", b"\0" * 100])
def test_a_damaged_state_is_refused(tmp_path, payload):
    (tmp_path / STATE).write_bytes(payload)
    with pytest.raises(TrainingError, match=r"state\.safetensors cannot be used .*start anew"):
        load_state(tmp_path, *named(*small()))


def test_a_state_of_another_model_is_refused(tmp_path):
    save_state(tmp_path, *named(*small(width=4)), Position())
    with pytest.raises(TrainingError, match="size mismatch") as caught:
        load_state(tmp_path, *named(*small(width=5)))
    assert "\n" not in str(caught.value)


def test_a_state_with_an_unknown_position_is_refused(tmp_path):
    save_state(tmp_path, *named(*small()), Position())
    tensors, about = load_tensors(tmp_path / STATE)
    save_tensors(tmp_path / STATE, tensors, about={**about, "moon": "full"})
    with pytest.raises(TrainingError, match="moon"):
        load_state(tmp_path, *named(*small()))


def test_the_best_weights_come_back(tmp_path):
    network, optimizer = small()
    save_best(tmp_path, network)
    best = bits(network)
    do_steps(network, optimizer, 0, 3)
    assert bits(network) != best
    load_best(tmp_path, network)
    assert bits(network) == best


def test_missing_or_other_best_weights_are_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"best\.safetensors cannot be used"):
        load_best(tmp_path, small()[0])
    save_best(tmp_path, small(width=5)[0])
    with pytest.raises(TrainingError, match="size mismatch"):
        load_best(tmp_path, small()[0])


# ---------------------------------------------------------------- nothing good is lost


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_state_before(tmp_path, monkeypatch, step):
    network, optimizer = small()
    save_state(tmp_path, {"model": network}, optimizer, Position(step=1))
    before = bits(network)
    do_steps(network, optimizer, 0, 2)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(runs.os, step, full)
        with pytest.raises(DiskFullError, match="state"):
            save_state(tmp_path, {"model": network}, optimizer, Position(step=2))
    assert os.listdir(tmp_path) == [STATE]
    assert load_state(tmp_path, {"model": network}, optimizer).step == 1
    assert bits(network) == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_no_number_is_never_saved(tmp_path, value):
    network, optimizer = small()
    save_state(tmp_path, {"model": network}, optimizer, Position(step=1))
    with torch.no_grad():
        network[2].bias.fill_(value)
    with pytest.raises(DivergedError, match=r"epoch 3, step 7\): lower learning_rate; the last good checkpoint stays in"):
        save_state(tmp_path, {"model": network}, optimizer, Position(epoch=2, step=7))
    assert load_state(tmp_path, *named(*small())).step == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, value):
    network, _ = small()
    check_finite(network, Position(totals=[1.0, 1.0, 1.0]), tmp_path)
    check_finite_loss(1.0, Position(), tmp_path)
    with pytest.raises(DivergedError):
        check_finite(network, Position(totals=[value, 1.0, 1.0]), tmp_path)
    with pytest.raises(DivergedError):
        check_finite_loss(value, Position(), tmp_path)


def test_no_best_file_is_touched_by_a_state(tmp_path):
    save_state(tmp_path, *named(*small()), Position())
    assert not (tmp_path / BEST).exists()
