"""What guides diffusion and flow: classes that photographs came with, or groups of like images."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from fauxto.forge import diffusion, flow
from fauxto.forge.diffusion import UNetConfig
from fauxto.forge.pseudo import pseudo_classes
from fauxto.forge.workshop import Workshop, seeded

CPU = torch.device("cpu")
KINDS = tuple(("ship", "cat", "horse")[number % 3] for number in range(20))


@pytest.fixture
def named(photographs: np.ndarray) -> Workshop:
    """A workshop whose photographs show cats (0), horses (1) and ships (2)."""
    return Workshop(photographs, kinds=KINDS, device="cpu")


def test_like_images_share_a_pseudo_class() -> None:
    dark_and_bright = np.repeat(np.array([10, 240] * 10, np.uint8), 16 * 16 * 3).reshape(20, 16, 16, 3)
    with seeded(1, CPU):
        found = pseudo_classes(Workshop(dark_and_bright, device="cpu"), 2)
    assert (found[0::2] == found[0]).all()
    assert (found[1::2] == found[1]).all()
    assert found[0] != found[1]
    assert pseudo_classes(Workshop(dark_and_bright, device="cpu"), 0).tolist() == [0] * 20


def test_names_go_before_groups(named: Workshop) -> None:
    for n_classes in (1, 2, 10):
        found = pseudo_classes(named, n_classes)
        assert found.dtype == torch.int64
        assert found.tolist() == [{"cat": 0, "horse": 1, "ship": 2}[kind] for kind in KINDS]
    assert pseudo_classes(named, 0).tolist() == [0] * 20, "who asks for no classes gets none"


@pytest.mark.parametrize("family", [diffusion, flow])
@pytest.mark.parametrize(("asked", "has"), [(0, 0), (1, 3), (10, 3)])
def test_a_network_has_as_many_classes_as_there_are_names(family: ModuleType, asked: int, has: int, named: Workshop) -> None:
    network = family.train(UNetConfig(width=8, n_steps=2, batch_size=4, n_classes=asked), named)
    assert network.config.n_classes == has
    assert network.network.module.classes.num_embeddings == has + 1, "and one that stands for any"
    with seeded(0, CPU):
        assert family.make(network, {"n_steps": 1, "guidance": 2.0}, 3, named).images.shape == (3, 16, 16, 3)


def test_every_name_is_drawn_and_learned(named: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    network = diffusion.train(UNetConfig(width=8, n_steps=1, batch_size=4), named)
    asked: list[set[int]] = []
    monkeypatch.setattr(network.network, "forward", lambda x, t, classes: asked.append(set(classes.tolist())) or x)
    with seeded(0, CPU):
        network.guided(60, 3.0, named)(torch.zeros(60, 3, 16, 16), torch.ones(60))
    assert asked == [{3}, {0, 1, 2}], "first without a class, then towards one of those that there are"
