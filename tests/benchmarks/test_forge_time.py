"""What is kept of a forge's time."""

from __future__ import annotations

import pytest

from .conftest import module

timing = module("forge_time")


def test_members_are_summed_by_family() -> None:
    members = [
        {"member": {"family": family}, "n_images": 10, "seconds": seconds, "device": "cpu", "in_bf16": True}
        for family, seconds in (("gan", 30.0), ("gan", 60.0), ("flow", 6.0))
    ]
    found = timing.result_of({"settings": {}, "reals": {"n_images": 5}, "members": members}, 1200.0)
    assert found["families"]["gan"] == {"n_members": 2, "n_images": 20, "minutes": pytest.approx(1.5)}
    assert found["n_fakes"] == 30
    assert found["total_min"] == {"value": 20.0, "bar": 15, "reached": False}
