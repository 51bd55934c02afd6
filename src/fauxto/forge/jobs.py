"""Members made one after the other, or several at once, each in a process of its own."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
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


def one_by_one(members: Sequence[Member], place: Place, bar: ForgeBar) -> Generator[str, None, None]:
    """Make members in their order; yield the line that says what each has become."""
    reals, out, settings, device = place
    workshop = Workshop(reals.images, kinds=reals.kind, device=device, progress=bar.step)
    trained: Trained | None = None
    for member in members:
        bar.begin(member.name)
        trained, line = made(member, trained, reals.group, workshop, out, settings)
        yield line


def at_once(members: Sequence[Member], place: Place, n_jobs: int) -> Generator[str, None, None]:
    """Make up to ``n_jobs`` members at once, those that share a network one after the other; yield a line for each.

    The processes end with this generator, whatever ends it, and with this process, even where that is killed.

    Raises:
        TrainingError: A process died, as it does where memory is short.
    """
    seed = place[2].seed
    families = [list(together) for _, together in itertools.groupby(members, key=lambda member: network_key(member, seed))]
    n_jobs = max(1, min(n_jobs, len(families)))
    spawned = multiprocessing.get_context("spawn")
    theirs, ours = spawned.Pipe(duplex=False)
    pool = ProcessPoolExecutor(n_jobs, spawned, _begin, (place, max(1, (os.cpu_count() or 1) // n_jobs), theirs))
    try:
        for done in as_completed([pool.submit(_lines, together) for together in families]):
            yield from done.result()
    except BrokenProcessPool as error:
        raise TrainingError("a process that made members died: pass fewer --jobs; --resume keeps what is whole") from error
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        theirs.close()


def _begin(place: Place, n_threads: int, parent: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(n_threads)
    _place.append(place)


def _end_with(parent: Connection) -> None:
    """End this process once its parent has closed its end of a pipe, or is gone; a folder under way is left to ``--resume``."""
    parent.poll(None)  # nothing is ever sent
    os._exit(1)


def _lines(members: list[Member]) -> list[str]:
    """Make members that share a network, in a process that has been told where."""
    return list(one_by_one(members, _place[0], ForgeBar(len(members), shown=False)))
