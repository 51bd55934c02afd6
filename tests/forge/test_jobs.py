"""Members made at once: what ends a process ends the forge, and no process outlives it."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from fauxto.errors import TrainingError, UsageError
from fauxto.forge import jobs, making, zoo
from fauxto.forge.jobs import at_once, one_by_one
from fauxto.forge.progress import ForgeBar
from fauxto.forge.reals import Reals
from fauxto.forge.recipes import Member
from fauxto.forge.settings import ForgeSettings

from .conftest import MEMBERS, MEMBERS_BY_NAME


def dies(members: list[Member]) -> list[str]:
    """Stand for a process that the system kills."""
    os._exit(9)


def tells_or_waits(members: list[Member]) -> list[str]:
    """Say what Ctrl-C does to this process, but at the second member learn for a long time."""
    if members[0].name != MEMBERS[0].name:
        time.sleep(60)
    return [str(signal.getsignal(signal.SIGINT)), str(torch.get_num_threads())]


def test_a_process_that_dies_ends_in_a_sentence(
    reals: Reals, settings: ForgeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_lines", dies)
    with pytest.raises(TrainingError, match=r"fewer --jobs; --resume keeps"):
        list(at_once(MEMBERS[:1], (reals, tmp_path, settings, "cpu"), 1))
    assert multiprocessing.active_children() == []


def test_who_stops_listening_ends_the_processes(
    reals: Reals, settings: ForgeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_lines", tells_or_waits)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    lines = at_once(MEMBERS[:2], (reals, tmp_path, settings, "cpu"), 5)
    assert next(lines) == str(signal.SIG_IGN), "Ctrl-C is for the parent"
    assert next(lines) == "3", "six cores shared by the two that there is work for"
    assert multiprocessing.active_children()
    started = time.monotonic()
    lines.close()
    assert time.monotonic() - started < 20
    assert multiprocessing.active_children() == [], "also the one that would have gone on for a minute"


def test_there_may_be_nothing_to_do(reals: Reals, settings: ForgeSettings, tmp_path: Path) -> None:
    assert list(at_once((), (reals, tmp_path, settings, "cpu"), 4)) == []
    with pytest.raises(UsageError, match="n_jobs = 0"):
        zoo.make_zoo(reals, MEMBERS[:1], tmp_path / "out", settings, device="cpu", n_jobs=0, shown=False)
    assert not (tmp_path / "out").exists()


def test_classes_of_the_photographs_reach_the_members(reals: Reals, settings: ForgeSettings, tmp_path: Path) -> None:
    guided = MEMBERS_BY_NAME["diffusion/ddim-guided"]
    named = dataclasses.replace(reals, kind=tuple(f"kind {number % 5}" for number in range(len(reals.images))))
    pictures = []
    for photographs, out in ((reals, tmp_path / "groups"), (named, tmp_path / "names")):
        list(one_by_one([guided], (photographs, out, settings, "cpu"), ForgeBar(1, shown=False)))
        pictures.append([file.read_bytes() for file in sorted(out.glob("fake/*/*/*.png"))])
    assert len(pictures[0]) == len(pictures[1]) == guided.n_images
    assert pictures[0] != pictures[1]


def test_too_little_memory_is_a_sentence_and_what_is_whole_stays(
    reals: Reals, settings: ForgeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(member: Member, *_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(making, "forge_images", full)
    with pytest.raises(TrainingError, match=rf"cpu has too little memory for {MEMBERS[0].name}: pass fewer --jobs"):
        zoo.make_zoo(reals, MEMBERS[:1], tmp_path / "out", settings, device="cpu", shown=False)
    assert (tmp_path / "out" / "manifest.csv").is_file()
