"""Members made one after the other, or several at once, each in a process of its own."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from fauxto.errors import TrainingError
from fauxto.forge.making import Trained, made, network_key
from fauxto.forge.progress import ForgeBar
from fauxto.forge.reals import Reals
from fauxto.forge.recipes import Member
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.workshop import Workshop

Place = tuple[Reals, Path, ForgeSettings, str]  # the photographs, the folder, what decides its images, the device
_place: list[Place] = []  # of a process that makes members for another


def one_by_one(members: Sequence[Member], place: Place, bar: ForgeBar) -> Iterator[str]:
    """Make members in their order; yield the line that says what each has become."""
    reals, out, settings, device = place
    workshop = Workshop(reals.images, kinds=reals.kind, device=device, progress=bar.step)
    trained: Trained | None = None
    for member in members:
        bar.begin(member.name)
        trained, line = made(member, trained, reals.group, workshop, out, settings)
        yield line


def at_once(members: Sequence[Member], place: Place, n_jobs: int) -> Iterator[str]:
    """Make up to ``n_jobs`` members at once, those that share a network one after the other; yield a line for each.

    Raises:
        TrainingError: A process died, as it does where memory is short.
    """
    seed = place[2].seed
    families = [list(together) for _, together in itertools.groupby(members, key=lambda member: network_key(member, seed))]
    spawned = multiprocessing.get_context("spawn")
    n_threads = max(1, (os.cpu_count() or 1) // n_jobs)
    with ProcessPoolExecutor(n_jobs, mp_context=spawned, initializer=_begin, initargs=(place, n_threads)) as pool:
        waiting = [pool.submit(_lines, together) for together in families]
        try:
            for done in as_completed(waiting):
                yield from done.result()
        except BrokenProcessPool as error:
            raise TrainingError("a process that made members died: pass fewer --jobs; --resume keeps what is whole") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(place: Place, n_threads: int) -> None:
    torch.set_num_threads(n_threads)
    _place.append(place)


def _lines(members: list[Member]) -> list[str]:
    """Make members that share a network, in a process that has been told where."""
    return list(one_by_one(members, _place[0], ForgeBar(len(members), shown=False)))
