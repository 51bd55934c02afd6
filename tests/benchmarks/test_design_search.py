"""benchmarks/design_search.py: every variant is a network that answers, and a configuration that exists."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

from fauxto.config import preset

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
try:
    design_search = importlib.import_module("design_search")
finally:
    sys.path.pop(0)


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
