"""Forge as much as a lent GPU has time for: members of the ``full`` recipe at once, each with as many steps as a deadline allows.

``python benchmarks/forge_within.py forge reals.npz --only w96-s1 --seconds 230 --encode jpeg-75 --out forged`` measures the steps
per second of each network while all of them run, and makes each within the time. It has no bar; what was made lies in its
forge.json, and ``python benchmarks/forge_within.py sum forged ...`` writes results/forged_sets.json from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import multiprocessing
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import record
import torch

from fauxto.forge.folder import REAL, begin, write_images, write_summary
from fauxto.forge.making import forge_images, made, network_key
from fauxto.forge.reals import Reals, open_reals
from fauxto.forge.recipes import Member, members_of
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.sheet import write_sheet
from fauxto.forge.workshop import Workshop

WARM, MEASURED = 10, 60  # steps
SAMPLING = {
    "diffusion": 0.15,
    "flow": 0.1,
    "autoregressive": 0.15,
    "gan": 0.03,
}  # of the time, for images once a network has learned


def main() -> None:
    arguments = parsed()
    if arguments.verb == "sum":
        record.write_result("forged_sets", {folder.name: summed(folder) for folder in arguments.folders})
        return
    settings = ForgeSettings(recipe="full", encode=arguments.encode)
    reals, deadline = open_reals(arguments.reals, settings), time.time() + arguments.seconds
    begin(arguments.out, reals, settings, resume=False)
    write_images(
        arguments.out / REAL, REAL, reals.images, source=range(len(reals.images)), group=reals.group, settings=settings, about={}
    )
    shared = [list(some) for _, some in itertools.groupby(chosen(arguments.only), key=lambda member: network_key(member, 0))]
    spawned = multiprocessing.get_context("spawn")
    together = spawned.Barrier(len(shared))
    place = (reals, settings, arguments.out, arguments.device, together, deadline)
    workers = [spawned.Process(target=work, args=(members, *place)) for members in shared]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    write_summary(arguments.out)
    write_sheet(arguments.out)


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    forging, summing = verbs.add_parser("forge"), verbs.add_parser("sum")
    forging.add_argument("reals", type=Path, help="photographs, as 'fauxto forge' takes them")
    forging.add_argument("--only", default="", help="what is part of the members' names")
    forging.add_argument("--seconds", type=float, required=True)
    forging.add_argument("--encode", default="png")
    forging.add_argument("--device", default="auto")
    forging.add_argument("--out", type=Path, required=True)
    summing.add_argument("folders", type=Path, nargs="+")
    return parser.parse_args()


def chosen(only: str) -> list[Member]:
    """Return the members of the recipe that draw images from noise and whose names hold some text."""
    return [member for member in members_of("full") if only in member.name and member.family != "autoencoder"]


def work(
    members: list[Member], reals: Reals, settings: ForgeSettings, out: Path, device: str, together: Any, deadline: float
) -> None:
    """Make members that share a network, in a process of its own, while the others make theirs."""
    torch.set_num_threads(1)
    workshop = Workshop(reals.images, kinds=reals.kind, device=device)
    probe = with_steps(dataclasses.replace(members[0], n_images=8), WARM)
    forge_images(probe, workshop)
    together.wait()
    started = time.time()
    forge_images(with_steps(probe, MEASURED), workshop)
    rate = MEASURED / (time.time() - started)
    together.wait()
    left = (deadline - time.time()) * (1 - SAMPLING[members[0].family])
    trained = None
    for member in members:
        trained, line = made(with_steps(member, int(rate * left)), trained, reals.group, workshop, out, settings)
        print(line, flush=True)


def with_steps(member: Member, n_steps: int) -> Member:
    """Return a member that learns for some steps, its first ones among them."""
    config = dict(member.config) | {"n_steps": max(3, n_steps)}
    if member.family == "gan" and member.config.get("warm_steps") != 0:
        config |= {"warm_steps": min(300, n_steps), "n_steps": max(3, n_steps - 300)}
    if member.config.get("over") == "codes":
        config |= {"code_steps": max(3, n_steps // 2), "n_steps": max(3, n_steps // 2)}
    return dataclasses.replace(member, config=config)


def summed(folder: Path) -> dict[str, Any]:
    """Return what a forge's own summary says of its photographs and of every member."""
    summary = json.loads((folder / "forge.json").read_text(encoding="utf-8"))
    return {
        "settings": summary["settings"], "reals": summary["reals"],
        "members": {about["member"]["name"]: of_member(about) for about in summary["members"]},
    }  # fmt: skip


def of_member(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one of them took."""
    config = about["member"]["config"]
    return {key: config.get(key) for key in ("n_steps", "batch_size", "width")} | {
        key: about[key] for key in ("n_images", "seconds", "device", "shares_a_network")
    }


if __name__ == "__main__":
    main()
