"""Forge as much as a lent GPU has time for: members of a recipe at once, each with as many steps as a deadline allows.

``python benchmarks/forge_within.py forge reals.npz --only w96-s1 --seconds 230 --encode jpeg-75 --out forged`` measures the steps
per second of each network while all of them run, and makes each within the time. It has no bar; what was made lies in
forge.json, and ``python benchmarks/forge_within.py sum forged ...`` writes results/forged_sets.json from it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import multiprocessing
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

from fauxto.forge.folder import REAL, begin, write_images, write_summary
from fauxto.forge.making import FAMILIES, forge_images, made, network_key
from fauxto.forge.reals import Reals, open_reals
from fauxto.forge.recipes import Member, members_of
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.sheet import write_sheet
from fauxto.forge.workshop import Workshop
from fauxto.mapping import from_mapping

WARM, MEASURED = 10, 60  # steps
SAMPLING = {"diffusion": 0.15, "flow": 0.1, "autoregressive": 0.15, "gan": 0.03}  # share of the time, once a network has learned
PATIENCE_S = 120  # for the others before a measurement


def main() -> None:
    arguments = parsed()
    if arguments.verb == "sum":
        record.write_result("forged_sets", {folder.name: summed(folder) for folder in arguments.folders})
        return
    settings = from_mapping(ForgeSettings, {"recipe": arguments.recipe, "encode": arguments.encode})
    members = chosen(arguments.only, recipe=settings.recipe)
    shared = [list(some) for _, some in itertools.groupby(members, key=lambda member: network_key(member, 0))]
    reals, deadline = open_reals(arguments.reals, settings), time.time() + arguments.seconds
    begin(arguments.out, reals, settings, resume=False)
    every = np.arange(len(reals.images))
    write_images(arguments.out / REAL, REAL, reals.images, source=every, group=reals.group, settings=settings, about={})
    spawned = multiprocessing.get_context("spawn")
    place = (reals, settings, arguments.out, arguments.device, spawned.Barrier(len(shared)), deadline)
    workers = [spawned.Process(target=work, args=(members, *place)) for members in shared]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    write_summary(arguments.out)
    write_sheet(arguments.out)
    n_failed = sum(worker.exitcode != 0 for worker in workers)
    if n_failed:
        raise SystemExit(f"{n_failed} of {len(workers)} networks failed; {arguments.out} holds what the others made")


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    forging, summing = verbs.add_parser("forge"), verbs.add_parser("sum")
    forging.add_argument("reals", type=Path, help="photographs, as 'fauxto forge' takes them")
    forging.add_argument("--recipe", default="full")
    forging.add_argument("--only", default="", help="what is part of the members' names")
    forging.add_argument("--seconds", type=float, required=True)
    forging.add_argument("--encode", default="png")
    forging.add_argument("--device", default="auto")
    forging.add_argument("--out", type=Path, required=True)
    summing.add_argument("folders", type=Path, nargs="+")
    return parser.parse_args()


def chosen(only: str, *, recipe: str = "full") -> list[Member]:
    """Return the members of a recipe that draw images from noise and whose names hold some text."""
    members = [member for member in members_of(recipe) if only in member.name and member.family != "autoencoder"]
    if not members:
        raise SystemExit(f"no member of the {recipe} recipe that draws from noise has {only!r} in its name")
    return members


def work(
    members: list[Member], reals: Reals, settings: ForgeSettings, out: Path, device: str, together: Any, deadline: float
) -> None:
    """Make members that share a network, in a process of its own, while the others make theirs."""
    torch.set_num_threads(1)
    try:
        workshop = Workshop(reals.images, kinds=reals.kind, device=device)
        n_steps = int(measured(members[0], workshop, together) * (deadline - time.time()) * (1 - SAMPLING[members[0].family]))
        trained = None
        for member in members:
            trained, line = made(with_steps(member, n_steps), trained, reals.group, workshop, out, settings)
            print(line, flush=True)
    except BaseException:
        together.abort()  # the others shall not wait for it
        raise


def measured(member: Member, workshop: Workshop, together: Any) -> float:
    """Return the steps per second of a network while the others are measured too, once it is warm."""
    probe = dataclasses.replace(member, n_images=8, sampling={**member.sampling, "n_steps": 1} if member.sampling else {})
    forge_images(with_steps(probe, WARM), workshop)
    meet(together)
    started = time.time()
    forge_images(with_steps(probe, MEASURED), workshop)
    rate = MEASURED / (time.time() - started)
    meet(together)
    return rate


def meet(together: Any) -> None:
    """Wait for the others; where one has died, go on without them."""
    with contextlib.suppress(threading.BrokenBarrierError):
        together.wait(PATIENCE_S)


def with_steps(member: Member, n_steps: int) -> Member:
    """Return a member that learns for some steps, the first ones of a GAN or of codes among them."""
    n_steps = max(16, n_steps)  # though the deadline be past
    config = dict(member.config) | {"n_steps": n_steps}
    if member.family == "gan" and member.config.get("warm_steps") != 0:
        n_warm = min(300, n_steps // 8)  # a share, since they take another time than the game: a measurement must hold both
        config |= {"warm_steps": n_warm, "n_steps": n_steps - n_warm}
    if member.config.get("over") == "codes":
        config |= {"code_steps": n_steps // 2, "n_steps": n_steps - n_steps // 2}
    return dataclasses.replace(member, config=config)


def summed(folder: Path) -> dict[str, Any]:
    """Return what a forge's own summary says of its photographs and of every member."""
    summary = json.loads((folder / "forge.json").read_text(encoding="utf-8"))
    return {
        "settings": summary["settings"], "reals": summary["reals"],
        "members": {about["member"]["name"]: of_member(about) for about in summary["members"]},
    }  # fmt: skip


def of_member(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one of them took: all of its steps, those of a warm-up and of an autoencoder behind codes among them."""
    member = about["member"]
    config = from_mapping(FAMILIES[member["family"]].config, member["config"])
    n_before = config.code_steps if member["kind"] == "codes" else getattr(config, "warm_steps", 0)
    took = {"n_steps": config.n_steps + n_before, "batch_size": config.batch_size, "width": config.width}
    return took | {key: about[key] for key in ("n_images", "seconds", "device", "shares_a_network")}


if __name__ == "__main__":
    main()
