"""training.optimizers: Muon turns matrices, AdamW moves the rest, and the step size is a function of the step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fauxto.config import TrainConfig
from fauxto.models import factory
from fauxto.training.optimizers import (
    ADAM_SHARE,
    Muon,
    averaged_copy,
    build_optimizer,
    learning_rate_share,
    orthogonalised,
    set_learning_rate,
)

MUON = TrainConfig(model="evidence", optimizer="muon", learning_rate=0.02, weight_decay=0.05)


@pytest.mark.parametrize("shape", [(8, 8), (4, 20), (20, 4)])
def test_orthogonalised_keeps_the_singular_vectors(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ found @ right.T  # diagonal where the vectors are the same
    assert inside.diag().min() > 0.25
    assert inside.diag().max() < 1.35
    assert (inside - torch.diag(inside.diag())).abs().max() < 0.06


def test_the_scale_of_a_gradient_does_not_matter():
    matrix = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalised(matrix), orthogonalised(1e-4 * matrix), atol=0.05, rtol=0)
    assert orthogonalised(torch.zeros(3, 4)).abs().max() == 0


def test_one_step_of_muon_by_hand():
    weight = torch.nn.Parameter(torch.full((4, 4), 2.0))
    weight.grad = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    direction = orthogonalised(weight.grad * (0.1 + 0.9 * 0.1))
    Muon([{"params": [weight], "lr": 0.1, "weight_decay": 0.5, "is_matrix": True}]).step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 2.0) * (1 - 0.1 * 0.5) - 0.1 * direction)
    assert weight.grad is None


def test_what_is_no_matrix_moves_as_with_adamw():
    def after(kind):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        optimizer = kind([{"params": list(layer.parameters()), "lr": 0.1, "weight_decay": 0.0}], fused=True)
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
        return [p.detach().clone() for p in layer.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(after(Muon), after(torch.optim.AdamW), strict=True))


def test_muon_turns_the_inner_convolutions_alone():
    network = factory.build("evidence")
    matrices, others = build_optimizer(network, MUON).param_groups
    names = {id(weight): name for name, weight in network.named_parameters()}
    assert {names[id(weight)] for weight in matrices["params"]} == {
        name for name, weight in network.named_parameters() if weight.ndim == 4 and name not in ("stem.0.0.weight", "head.weight")
    }
    assert len(matrices["params"]) + len(others["params"]) == len(names)
    assert (matrices["lr"], others["lr"]) == (0.02, pytest.approx(0.02 * ADAM_SHARE))


def test_adam_is_torchs_own_with_the_notebooks_recipe():
    network = torch.nn.Linear(3, 1)
    optimizer = build_optimizer(network, TrainConfig())
    before = [p.detach().clone() for p in network.parameters()]
    theirs = [torch.nn.Parameter(p.clone()) for p in before]
    adam = torch.optim.Adam(theirs, lr=5e-4)
    for own, other in zip(network.parameters(), theirs, strict=True):
        own.grad = other.grad = torch.ones_like(own)
    optimizer.step()
    adam.step()
    assert all(torch.equal(own, other) for own, other in zip(network.parameters(), theirs, strict=True))


@pytest.mark.parametrize("warmup_share", [0.0, 0.15, 0.9])
def test_one_cycle_rises_to_the_warmups_end_and_falls_to_almost_nothing(warmup_share):
    config = TrainConfig(schedule="one-cycle", warmup_share=warmup_share)
    shares = np.array([learning_rate_share(step, 1000, config) for step in range(1000)])
    peak = int(shares.argmax())
    assert abs(peak - 1000 * warmup_share) <= 1
    assert (np.diff(shares[: peak + 1]) > 0).all()
    assert (np.diff(shares[peak + 1 :]) < 0).all()
    assert 0 < shares[-1] < 1e-3
    assert 0.99 < shares.max() <= 1


def test_a_constant_schedule_is_constant():
    assert {learning_rate_share(step, 10, TrainConfig()) for step in range(10)} == {1.0}


def test_every_group_takes_its_own_share():
    optimizer = build_optimizer(factory.build("evidence"), MUON)
    set_learning_rate(optimizer, 0.5)
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.005, 0.0005])


def test_the_average_follows_quickly_at_first_and_slowly_later():
    network = torch.nn.BatchNorm1d(1)
    averaged = averaged_copy(network, decay=0.99)
    expected = 0.0
    for step in range(2000):
        with torch.no_grad():
            network.weight.fill_(step)
            network.running_mean.fill_(2 * step)
        averaged.update_parameters(network)
        expected = step if step == 0 else expected + max(0.01, 9 / (10 + step)) * (step - expected)
    assert float(averaged.module.weight.detach()) == pytest.approx(expected, rel=1e-4)
    assert float(averaged.module.running_mean) == pytest.approx(2 * expected, rel=1e-4)
    assert 1999 - expected == pytest.approx(99, rel=0.01), "the mean age of an average with decay 0.99"
