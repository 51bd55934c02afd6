"""Train a zoo of small generators on real photographs and write their fakes: ``fauxto forge PHOTOS --out FOLDER``."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fauxto.errors import missing_extra

try:
    from torch import nn
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

from fauxto.forge import autoencoders, autoregressive, diffusion, flow, gans
from fauxto.forge.folder import REAL, about_member, begin, home_of, is_finished, write_images, write_summary
from fauxto.forge.progress import ForgeBar
from fauxto.forge.reals import Reals, open_reals
from fauxto.forge.recipes import Member, members_of
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.sheet import write_sheet
from fauxto.forge.workshop import Forged, Workshop, seeded
from fauxto.mapping import from_mapping


class Family(NamedTuple):
    """How members of one kind are made: their settings, what trains a network, and what draws images from it."""

    config: type
    train: Callable[[Any, Workshop], nn.Module]
    make: Callable[[Any, dict[str, Any], int, Workshop], Forged]


FAMILIES: dict[str, Family] = {
    "autoencoder": Family(autoencoders.AutoencoderConfig, autoencoders.train, autoencoders.make),
    "gan": Family(gans.GanConfig, gans.train, gans.make),
    "diffusion": Family(diffusion.UNetConfig, diffusion.train, diffusion.make),
    "flow": Family(diffusion.UNetConfig, flow.train, flow.make),
    "autoregressive": Family(autoregressive.AutoregressiveConfig, autoregressive.train, autoregressive.make),
}


class Trained(NamedTuple):
    """A network, which the next member may share."""

    key: str
    network: nn.Module
    loss: float


def forge(
    data: str | Path,
    out: Path,
    settings: ForgeSettings | None = None,
    *,
    only: str = "",
    resume: bool = False,
    device: str = "auto",
    skip_broken: bool = False,
    shown: bool = True,
) -> Path:
    """Write a labelled data set: the real images, and the fakes that a zoo trained on them makes.

    Args:
        data: Photographs, as for ``open_reals``.
        out: New folder, or with ``resume`` the one of an interrupted forge.
        settings: What decides the images.
        only: Beginning of the names of those members that are made, such as "autoencoder".
        resume: Go on: members whose folders are whole are not made again.
        device: "cpu", "cuda", "mps" or "auto".
        skip_broken: Leave unreadable images out.
        shown: Show progress on stderr.

    Returns:
        ``out``, which then holds manifest.csv, forge.json, contact.png, real/ and fake/.

    Raises:
        ConfigError: No member has such a name.
        DataError: The data hold too few real images of this size.
        UsageError: The folder is taken, or was begun with other settings or photographs.
        TrainingError: The device is not there, or a member's loss became NaN.
        DiskFullError: There was no room; finished members stay.
    """
    settings = settings or ForgeSettings()
    members = members_of(settings.recipe, only=only)
    reals = open_reals(data, settings, skip_broken=skip_broken)
    return make_zoo(reals, members, out, settings, resume=resume, device=device, shown=shown)


def make_zoo(
    reals: Reals,
    members: tuple[Member, ...],
    out: Path,
    settings: ForgeSettings,
    *,
    resume: bool = False,
    device: str = "auto",
    shown: bool = True,
) -> Path:
    """Make members one after the other, as ``forge`` does."""
    bar = ForgeBar(len(members), shown=shown)
    workshop = Workshop(reals.images, device=device, progress=bar.step)
    begin(out, reals, settings, resume=resume)
    for line in reals.said:
        bar.say(line)
    with bar.live():
        _write_reals(reals, out, settings)
        trained: Trained | None = None
        for number, member in enumerate(members, start=1):
            if is_finished(out, member):
                bar.ended(number, f"{member.name}  was there")
                continue
            bar.begin(member.name)
            trained, line = _made(member, trained, reals, workshop, out, settings)
            write_summary(out)
            bar.ended(number, line)
    if trained is None:  # nothing was made; the summary may be older than the members
        write_summary(out)
    write_sheet(out)
    return out


def forge_images(member: Member, workshop: Workshop, *, seed: int = 0, trained: Trained | None = None) -> tuple[Forged, Trained]:
    """Train a member and draw its images.

    Args:
        member: What to make.
        workshop: The real images and the device.
        seed: Of the forge; on the CPU the same seed gives the same images.
        trained: An earlier member's network, which is used again where this member differs in its sampling only.

    Raises:
        ConfigError: A setting of the member is unknown or impossible.
        TrainingError: The loss became NaN.
    """
    family = FAMILIES[member.family]
    key = json.dumps([seed, member.family, member.kind, dict(member.config), member.seed], sort_keys=True)
    if trained is None or trained.key != key:
        config: Any = from_mapping(family.config, dict(member.config))
        with seeded(zlib.crc32(key.encode()), workshop.device):
            network = family.train(config, workshop)
        trained = Trained(key, network.eval(), workshop.final_loss())
    with seeded(zlib.crc32(f"{seed} {member.name}".encode()), workshop.device):
        forged = family.make(trained.network, dict(member.sampling), member.n_images, workshop)
    return forged, trained


def _made(
    member: Member, trained: Trained | None, reals: Reals, workshop: Workshop, out: Path, settings: ForgeSettings
) -> tuple[Trained, str]:
    """Make one member and write its folder; return its network and the line that says so."""
    started = time.perf_counter()
    forged, now = forge_images(member, workshop, seed=settings.seed, trained=trained)
    seconds = time.perf_counter() - started
    about = {
        "member": about_member(member), "n_images": len(forged.images), "seconds": round(seconds, 2), "final_loss": now.loss,
        "shares_a_network": now is trained, "device": workshop.device.type, "in_bf16": workshop.in_bf16,
    }  # fmt: skip
    home = home_of(out, member)
    write_images(home, member.name, forged.images, source=forged.source, group=reals.group, settings=settings, about=about)
    return now, f"{member.name}  loss {now.loss:.4f}  {len(forged.images)} images  {seconds:.0f} s"


def _write_reals(reals: Reals, out: Path, settings: ForgeSettings) -> None:
    if not (out / REAL).exists():
        every = np.arange(len(reals.images))
        write_images(out / REAL, REAL, reals.images, source=every, group=reals.group, settings=settings, about={})
