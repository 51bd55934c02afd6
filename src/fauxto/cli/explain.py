"""``fauxto explain``: Grad-CAM maps for single images, or a gallery of right and wrong cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.common import DetectorArgument, SkipBroken, opened, require
from fauxto.cli.terminal import printable
from fauxto.errors import ImageError, UsageError

if TYPE_CHECKING:
    from fauxto.explain.cam import Explainer
    from fauxto.explain.gallery import Explained


def explain(
    detector: DetectorArgument,
    out: Annotated[Path, typer.Option("--out", help="New folder for the pictures.")],
    images: Annotated[list[str] | None, typer.Argument(help="Images to explain one by one.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder, .zip or .tar archive, or manifest.csv: draw a gallery of cases from its test part."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="fake or real; the predicted class of each image by default.")] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer to take the map from; the deepest with at least 4x4 by default.")
    ] = None,
    n_each: Annotated[int, typer.Option(min=1, max=100, help="Gallery: cases per group.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Gallery: seed of the randomly drawn cases.")] = 0,
    skip_broken: SkipBroken = False,
) -> None:
    """Show where a detector looks (Grad-CAM), for an explicit target; the map's size stands on every picture.

    Images are explained one by one; --data draws a gallery of right and wrong, real and fake cases.
    The map of a large image that the detector answers over tiles holds the answers of the tiles themselves.

    Examples:
      fauxto explain runs/notebook photo.png --target fake --out maps
      fauxto explain runs/notebook --data cifake.tar.xz --out gallery
    """
    if bool(images) == (data is not None):
        raise UsageError("name either images or --data: images are explained one by one, --data draws a gallery")
    if data is not None and target is not None:
        raise UsageError("a gallery shows both targets side by side: leave --target out")
    if out.exists():  # said before the slow part; what writes the folder says it again
        raise UsageError(f"{out} already exists: choose another --out")
    require("torch")
    from fauxto.explain.cam import Explainer

    explainer = Explainer.load(detector)
    if images:
        _explain_images(explainer, images, out, target=target, layer=layer)
        return
    from fauxto.evaluation import columns_for
    from fauxto.explain.gallery import write_gallery

    store = opened(data, out=out, skip_broken=skip_broken)
    positions = next(iter(columns_for(explainer.detector.card, store).values()))
    typer.echo(f"gallery written to {write_gallery(explainer, store, positions, out, n_each=n_each, seed=seed, layer=layer)}")


def _explain_images(explainer: Explainer, images: list[str], out: Path, *, target: str | None, layer: str | None) -> None:
    from fauxto.explain.gallery import explain_paths

    answers = explain_paths(explainer, images, out, target=target, layer=layer)
    for each in answers:
        typer.echo(printable(_line(each)), err=each.folder is None)
    if any(each.folder is None for each in answers):
        raise typer.Exit(ImageError.exit_code)


def _line(each: Explained) -> str:
    answer = each.answer
    if isinstance(answer, ImageError):
        return f"{each.path}: {answer}"
    size = "x".join(map(str, answer.map_size))
    verdict = f"{answer.verdict}, p_fake {answer.p_fake:.4f}"
    return f"{each.path}: {verdict}; map for {answer.target}, {size}, from {answer.layer}: {each.folder}"
