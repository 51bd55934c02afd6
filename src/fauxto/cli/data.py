"""``fauxto data ...``: get CIFAKE, make the embedded data set, look at a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fauxto.cli.common import DataArgument, SkipBroken, opened, require
from fauxto.cli.terminal import counting_bar, printable
from fauxto.errors import UsageError

if TYPE_CHECKING:
    from fauxto.data.info import Info

app = typer.Typer(help="Get, make and inspect data sets.\n\nExample:  fauxto data get cifake", no_args_is_help=True)


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="The data set: cifake.")],
    out: Annotated[Path | None, typer.Option(help="Where to put it; kagglehub's own cache by default.")] = None,
) -> None:
    """Download a public data set from Kaggle; run again after an interruption and it goes on.

    Example:
      fauxto data get cifake
    """
    from fauxto.data.kaggle import get_cifake

    if name != "cifake":
        raise UsageError(f"no data set is called {name!r}; known: cifake")
    typer.echo(get_cifake(out))


@app.command()
def synthetic(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    n_per_photo: Annotated[int, typer.Option(min=10, max=5000, help="Real crops, and as many fakes, per photograph.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same files on the same machine.")] = 0,
) -> None:
    """Make the small embedded data set, offline: photographs' crops and their reconstructions (simulated fakes).

    Example:
      fauxto data synthetic demo/data
    """
    from fauxto.data.synthetic import make_synthetic

    require("torch", "skimage", "sklearn")
    make_synthetic(out, n_per_photo=n_per_photo, seed=seed, say=lambda line: typer.echo(line, err=True))


@app.command()
def info(
    data: DataArgument = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the contact sheet and info.json.")] = None,
    skip_broken: SkipBroken = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count images per split, label, generator, size and format, find equal pixels, and draw a contact sheet.

    Examples:
      fauxto data info cifake.tar.xz --out cifake-info
      fauxto data info photos --json
    """
    from fauxto.data.info import contact_sheet, describe
    from fauxto.runs import write_json

    store = opened(data, out=out, skip_broken=skip_broken)
    found = describe(store)
    if out is not None:
        write_json(out / "info.json", found.to_dict())
        contact_sheet(store, out / "contact-sheet.png")
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        _print_info(found, out)


@app.command()
def clean(
    out: Annotated[Path, typer.Option("--out", help="The manifest to write, such as clean.csv.")],
    data: DataArgument = None,
    equal_only: Annotated[bool, typer.Option("--equal-only", help="Leave nearly equal images in.")] = False,
    skip_broken: SkipBroken = False,
) -> None:
    """Write a manifest without leaks, repeated pictures and contradicting labels; no image is touched.

    The manifest is DATA for every verb. NAME-left-out.csv beside it says what was left out, why, and because of which image.
    Neither replaces a file that is there.

    Examples:
      fauxto data clean cifake.tar.xz --out clean.csv
      fauxto train --data clean.csv --out runs/clean
    """
    from fauxto.audit.cleaning import clean as choose
    from fauxto.audit.cleaning import list_beside, write_manifest
    from fauxto.audit.duplicates import find_duplicates
    from fauxto.data.sources import source_of

    if out.suffix.lower() != ".csv":
        raise UsageError(f"{out} is no name for a manifest: let --out end in .csv")
    for file in (out, list_beside(out)):
        if file.exists() or file.is_symlink():
            raise UsageError(f"{file} already exists, and nothing is overwritten: let --out name another file")
    store = opened(data, out=None, skip_broken=skip_broken)
    with counting_bar("looking for duplicates") as progress:
        duplicates = find_duplicates(store, progress=lambda what, done, total: progress(done, total))
    cleaning = choose(store, duplicates.pairs, equal_only=equal_only)
    listed = write_manifest(source_of(str(data), store.records), store, cleaning, out)
    typer.echo(f"{len(cleaning.kept):,} of {len(store) + len(store.broken):,} images stay")
    for reason, n in cleaning.counts.items():
        typer.echo(f"left out: {n:,} {reason}")
    typer.echo(printable(f"written to {out}, {listed}"))


def _print_info(found: Info, out: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{found.n_images:,} images", title_justify="left")
    for heading in ("split", "real", "fake"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split, counts in found.counts.items():
        table.add_row(split, *(f"{counts.get(label, 0):,}" for label in ("real", "fake")))
    console = Console()
    console.print(table)
    for line in _info_lines(found, out):
        console.print(Text(printable(line)))


def _info_lines(found: Info, out: Path | None) -> Iterator[str]:
    yield f"generators   {_counts(found.generators)}"
    yield f"sizes        {_counts(found.sizes)}{' ...' if found.n_sizes > len(found.sizes) else ''}"
    yield f"formats      {', '.join(f'{kind} ({_counts(counts)})' for kind, counts in found.formats.items())}"
    twins = found.duplicates
    both = f"{twins.n_images_with_both_labels:,} with both labels"
    yield f"equal pixels {twins.n_images:,} images in {twins.n_groups:,} groups, {both}"
    yield f"split audit  {twins.n_test_images_in_train:,} test images have pixels that also stand in train"
    if found.n_groups:
        yield f"             {twins.n_groups_on_two_sides:,} of {found.n_groups:,} named groups stand both in train and in test"
    if out is not None:
        yield f"written to   {out / 'info.json'}, {out / 'contact-sheet.png'}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name or 'not named'} {n:,}" for name, n in counts.items()) or "none"
