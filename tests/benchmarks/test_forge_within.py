"""A forge within a deadline: whose members, how many steps, what one failure does to the others, and what is kept."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fauxto.errors import ConfigError
from fauxto.forge import game
from fauxto.forge.folder import begin, write_images, write_summary
from fauxto.forge.making import network_key
from fauxto.forge.reals import Reals
from fauxto.forge.recipes import Member
from fauxto.forge.settings import ForgeSettings
from fauxto.mapping import from_mapping

from .conftest import module

within = module("forge_within")
TINY = {"width": 8, "batch_size": 4, "n_steps": 9000}


def of(family: str, **config: object) -> Member:
    return Member(f"{family}/a", family, "a", TINY | config)


@pytest.fixture
def reals() -> Reals:
    images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8)
    return Reals("photos", images, tuple(map(str, range(16))))


def test_chosen_by_any_part_of_the_name() -> None:
    everything = within.chosen("")
    assert {member.family for member in everything} == {"gan", "diffusion", "flow", "autoregressive"}
    assert len({network_key(member, 0) for member in within.chosen("", recipe="patient")}) == 4
    some = within.chosen("w96-s1")
    assert 0 < len(some) < len(everything)
    assert all(member.name.endswith("w96-s1") for member in some)
    with pytest.raises(SystemExit, match="'w97'"):
        within.chosen("w97")


def test_steps_hold_those_that_come_before() -> None:
    assert within.with_steps(of("flow"), 900).config == TINY | {"n_steps": 900}
    assert within.with_steps(of("gan"), 8000).config == TINY | {"warm_steps": 300, "n_steps": 7700}
    assert within.with_steps(of("gan"), 80).config == TINY | {"warm_steps": 10, "n_steps": 70}, "mostly the game itself"
    assert within.with_steps(of("gan", warm_steps=0), 80).config == TINY | {"warm_steps": 0, "n_steps": 80}
    codes = of("autoregressive", over="codes", code_steps=4000)
    assert within.with_steps(codes, 901).config == codes.config | {"code_steps": 450, "n_steps": 451}
    pixels = of("autoregressive", over="pixels")
    assert within.with_steps(pixels, 901).config == pixels.config | {"n_steps": 901}


@pytest.mark.parametrize("n_steps", [-50, 0, 1, 17])
def test_a_deadline_that_is_past_leaves_settings_that_are_possible(n_steps: int) -> None:
    config = within.with_steps(of("gan"), n_steps).config
    from_mapping(game.GanConfig, dict(config))
    assert config["warm_steps"] + config["n_steps"] == max(16, n_steps)


def test_members_go_on_sharing_a_network() -> None:
    guided = [within.with_steps(member, 70) for member in within.chosen("velocity-w64")]
    assert len(guided) == 4
    assert len({network_key(member, 0) for member in guided}) == 1


def test_one_network_is_measured_once_and_makes_all_its_members(
    reals: Reals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(within.torch, "set_num_threads", lambda n: None)
    settings = ForgeSettings(size=16)
    begin(tmp_path / "out", reals, settings, resume=False)
    every = np.arange(16)
    write_images(tmp_path / "out" / "real", "real", reals.images, source=every, group=reals.group, settings=settings, about={})
    members = [Member(f"flow/{name}", "flow", "flow", TINY, {"n_steps": 2}, 4) for name in "ab"]
    within.work(members, reals, settings, tmp_path / "out", "cpu", threading.Barrier(1), time.time() - 1)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["flow/a", "flow/b"]
    write_summary(tmp_path / "out")
    found = within.summed(tmp_path / "out")
    assert found["reals"]["n_images"] == 16
    assert found["settings"]["size"] == 16
    assert list(found["members"]) == ["flow/a", "flow/b"]
    assert found["members"]["flow/b"] == {
        "n_steps": 16, "batch_size": 4, "width": 8, "n_images": 4, "device": "cpu", "shares_a_network": True,
        "seconds": found["members"]["flow/b"]["seconds"],
    }  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_one_that_fails_keeps_no_other_waiting(reals: Reals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within.torch, "set_num_threads", lambda n: None)
    together = threading.Barrier(2)
    with pytest.raises(ConfigError):
        within.work([of("flow", colour=1)], reals, ForgeSettings(size=16), tmp_path, "cpu", together, time.time())
    started = time.monotonic()
    within.meet(together)
    assert time.monotonic() - started < within.PATIENCE_S / 10


def test_what_is_kept_of_a_member_counts_all_of_its_steps() -> None:
    about = {"n_images": 10, "seconds": 1.5, "final_loss": 0.3, "shares_a_network": False, "device": "cuda", "in_bf16": True}
    gan = {"name": "gan/a", "family": "gan", "kind": "sngan", "config": {"n_steps": 7, "width": 64}}
    assert within.of_member(about | {"member": gan}) == {
        "n_steps": 307, "batch_size": 32, "width": 64, "n_images": 10, "seconds": 1.5, "device": "cuda",
        "shares_a_network": False,
    }  # fmt: skip
    codes = {"over": "codes", "n_steps": 7, "code_steps": 5}
    member = {"name": "autoregressive/b", "family": "autoregressive", "kind": "codes", "config": codes}
    assert within.of_member(about | {"member": member})["n_steps"] == 12
