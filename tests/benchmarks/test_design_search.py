"""benchmarks/design_search.py: every variant is a network that answers, and a configuration that exists."""

from __future__ import annotations

import pytest
import torch

from fauxto.config import preset

from .conftest import module

design_search = module("design_search")


@pytest.mark.parametrize("name", design_search.VARIANTS)
def test_each_variant_answers_and_learns(name):
    build, changes = design_search.VARIANTS[name]
    preset("best", **changes)
    network = build().train()
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    assert network.head.weight.grad.abs().sum() > 0


def test_variants_differ_from_what_is_shipped():
    shipped = design_search.VARIANTS["as shipped"]
    assert shipped == (design_search.EvidenceNet, {})
    assert all(found != shipped for name, found in design_search.VARIANTS.items() if name != "as shipped")
