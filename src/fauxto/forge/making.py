"""How one member of a zoo is made: its network trained, its images drawn, its folder written."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from fauxto.errors import TrainingError
from fauxto.forge import autoencoders, autoregressive, diffusion, flow, gans
from fauxto.forge.alignment import aligned
from fauxto.forge.folder import about_member, home_of, write_images
from fauxto.forge.game import GanConfig
from fauxto.forge.recipes import Member
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.workshop import Forged, Workshop, seeded
from fauxto.mapping import from_mapping


class Family(NamedTuple):
    """How members of one kind are made: their settings, what trains a network, and what draws images from it."""

    config: type
    train: Callable[[Any, Workshop], nn.Module]
    make: Callable[[Any, dict[str, Any], int, Workshop], Forged]


FAMILIES: dict[str, Family] = {
    "autoencoder": Family(autoencoders.AutoencoderConfig, autoencoders.train, autoencoders.make),
    "gan": Family(GanConfig, gans.train, gans.make),
    "diffusion": Family(diffusion.UNetConfig, diffusion.train, diffusion.make),
    "flow": Family(diffusion.UNetConfig, flow.train, flow.make),
    "autoregressive": Family(autoregressive.AutoregressiveConfig, autoregressive.train, autoregressive.make),
}


class Trained(NamedTuple):
    """A network, which the next member may share."""

    key: str
    network: nn.Module
    loss: float


def network_key(member: Member, seed: int) -> str:
    """Return what two members that share a network have in common.

    Args:
        member: One of them.
        seed: Of the forge.
    """
    return json.dumps([seed, member.family, member.kind, dict(member.config), member.seed], sort_keys=True)


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
    key = network_key(member, seed)
    if trained is None or trained.key != key:
        config: Any = from_mapping(family.config, dict(member.config))
        with seeded(zlib.crc32(key.encode()), workshop.device):
            network = family.train(config, workshop)
        trained = Trained(key, network.eval(), workshop.final_loss())
    with seeded(zlib.crc32(f"{seed} {member.name}".encode()), workshop.device):
        forged = family.make(trained.network, dict(member.sampling), member.n_images, workshop)
    return forged, trained


def made(
    member: Member, trained: Trained | None, group: tuple[str, ...], workshop: Workshop, out: Path, settings: ForgeSettings
) -> tuple[Trained, str]:
    """Make one member and write its folder; return its network and the line that says so.

    Raises:
        TrainingError: The device's memory is too small, or the loss became NaN.
    """
    started = time.perf_counter()
    try:
        forged, now = forge_images(member, workshop, seed=settings.seed, trained=trained)
    except torch.OutOfMemoryError as error:
        hint = "pass fewer --jobs, a smaller --size or --device cpu; --resume keeps what is whole"
        raise TrainingError(f"{workshop.device} has too little memory for {member.name}: {hint}") from error
    if settings.align == "spectrum" and (forged.source >= 0).any():
        forged = aligned(forged, workshop.reals.permute(0, 2, 3, 1).cpu().numpy())
    seconds = time.perf_counter() - started
    about = {
        "member": about_member(member), "n_images": len(forged.images), "seconds": round(seconds, 2), "final_loss": now.loss,
        "shares_a_network": now is trained, "device": workshop.device.type, "in_bf16": workshop.in_bf16,
    }  # fmt: skip
    home = home_of(out, member)
    write_images(home, member.name, forged.images, source=forged.source, group=group, settings=settings, about=about)
    return now, f"{member.name}  loss {now.loss:.4f}  {len(forged.images)} images  {seconds:.0f} s"
