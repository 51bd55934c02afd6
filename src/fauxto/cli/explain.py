"""``fauxto explain``: Grad-CAM maps for single images, or a gallery of right and wrong cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fauxto.cli.common import SkipBroken, opened
from fauxto.errors import ImageError, UsageError


def explain(
    detector: Annotated[str, typer.Argument(help="Detector folder, run folder, or the name of a bundled detector.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the pictures.")],
    images: Annotated[list[str] | None, typer.Argument(help="Images to explain one by one.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data set: draw a gallery of right and wrong, real and fake cases of its test part.")
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

    Examples:  fauxto explain runs/notebook photo.png --target fake --out maps  ·
    fauxto explain runs/notebook --data cifake.tar.xz --out gallery
    """
    if bool(images) == (data is not None):
        raise UsageError("name either images or --data: images are explained one by one, --data makes a gallery")
    try:
        from fauxto.explain.cam import Explainer
    except ImportError as error:
        from fauxto.errors import missing_extra

        raise missing_extra("train", error.name or "grad-cam") from error
    explainer = Explainer.load(detector)
    if images:
        _explain_images(explainer, images, out, target=target, layer=layer)
        return
    if target is not None:
        raise UsageError("a gallery shows both targets side by side: leave --target out")
    from fauxto.evaluation import columns_for
    from fauxto.explain.gallery import write_gallery

    store = opened(data, skip_broken=skip_broken)
    positions = next(iter(columns_for(explainer.detector.card, store).values()))
    typer.echo(f"gallery written to {write_gallery(explainer, store, positions, out, n_each=n_each, seed=seed, layer=layer)}")


def _explain_images(explainer: object, images: list[str], out: Path, *, target: str | None, layer: str | None) -> None:
    from fauxto.explain.gallery import explain_paths

    answers = explain_paths(explainer, images, out, target=target, layer=layer)  # type: ignore[arg-type]
    for each in answers:
        if isinstance(each.answer, ImageError):
            typer.echo(f"{each.path}: {each.answer}", err=True)
        else:
            size = "x".join(map(str, each.answer.map_size))
            said = f"{each.answer.verdict}, p_fake {each.answer.p_fake:.4f}"
            typer.echo(f"{each.path}: {said}; map for {each.answer.target}, {size}, from {each.answer.layer}: {each.folder}")
    if any(each.folder is None for each in answers):
        raise typer.Exit(ImageError.exit_code)
