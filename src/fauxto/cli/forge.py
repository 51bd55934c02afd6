"""``fauxto forge``: from real photographs to a labelled data set with fakes of many small generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fauxto.cli.common import SkipBroken, refuse_inside, require
from fauxto.cli.terminal import counting_bar
from fauxto.errors import UsageError
from fauxto.mapping import from_mapping


def forge(
    reals: Annotated[
        Path | None, typer.Argument(help="Photographs: a folder, archive, manifest.csv, or .npz with an array image.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new folder, or with --resume an interrupted forge's.")] = None,
    recipe: Annotated[
        str, typer.Option(help="quick; full for a GPU or a night; guided, or on a GPU patient, for photographs with classes.")
    ] = "quick",
    only: Annotated[str, typer.Option(help="Make only members whose names begin so, such as autoencoder.")] = "",
    size: Annotated[int, typer.Option(help="Side of all images in pixels: 16, 32, 64, 128 or 256.")] = 32,
    fit: Annotated[str, typer.Option(help="Larger photographs: crop cuts at native resolution, shrink resizes.")] = "crop",
    crops: Annotated[int, typer.Option(help="Crops of one larger photograph, at most.")] = 1,
    limit: Annotated[int, typer.Option(help="Real images at most; 0 takes all.")] = 0,
    align: Annotated[
        str, typer.Option(help="none, or spectrum: reconstructions get that of their originals, so that sharpness tells nothing.")
    ] = "none",
    encode: Annotated[str, typer.Option(help="How all images are saved: png, or such as jpeg-75.")] = "png",
    seed: Annotated[int, typer.Option(help="Decides crops, weights and samples.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    jobs: Annotated[int, typer.Option(min=1, max=61, help="Members made at once, each in a process of its own.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on: members that are whole are not made again.")] = False,
    as_list: Annotated[bool, typer.Option("--list", help="Print the members of the recipe and stop.")] = False,
    skip_broken: SkipBroken = False,
) -> None:
    """Train a zoo of small generators on real photographs and write a labelled data set of both.

    --out then holds real/, fake/FAMILY/MEMBER/, manifest.csv, forge.json and contact.png, and is DATA for every verb.

    Examples:
      fauxto forge photos --out forged
      fauxto forge photos --out forged --only autoencoder
      fauxto forge photos --out forged --resume
      fauxto forge photos --out forged-large --only autoencoder --size 256 --align spectrum --encode jpeg444-95
      fauxto forge cifar.npz --out forged-jpeg --encode jpeg-75 --recipe full --device cuda --jobs 12
      fauxto forge with_classes.npz --out forged-patient --encode jpeg-75 --recipe patient --device cuda --jobs 4
      fauxto forge --list --recipe full
    """
    from fauxto.forge.recipes import members_of
    from fauxto.forge.settings import ForgeSettings

    values: dict[str, Any] = {
        "recipe": recipe, "size": size, "fit": fit, "crops": crops, "limit": limit,
        "align": align, "encode": encode, "seed": seed,
    }  # fmt: skip
    settings = from_mapping(ForgeSettings, values)
    members = members_of(recipe, only=only)
    if as_list:
        typer.echo("\n".join(member.name for member in members))
        return
    if reals is None or out is None:
        raise UsageError("name the photographs and the folder to write: fauxto forge PHOTOS --out FOLDER")
    require("torch", "lightning_fabric")
    refuse_inside(reals, out)
    from fauxto.forge.reals import open_reals
    from fauxto.forge.zoo import make_zoo

    with counting_bar("decoding images") as progress:
        photographs = open_reals(reals, settings, skip_broken=skip_broken, progress=progress)
    typer.echo(make_zoo(photographs, members, out, settings, resume=resume, device=device, n_jobs=jobs))
