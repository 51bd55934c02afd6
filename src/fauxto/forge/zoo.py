"""Train a zoo of small generators on real photographs and write their fakes: ``fauxto forge PHOTOS --out FOLDER``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from fauxto.errors import UsageError, missing_extra

try:
    import torch  # noqa: F401
except ImportError as error:
    raise missing_extra("train", error.name or "torch") from error

from fauxto.forge.folder import REAL, begin, is_finished, write_images, write_summary
from fauxto.forge.jobs import Place, at_once, one_by_one
from fauxto.forge.progress import ForgeBar
from fauxto.forge.reals import Reals, open_reals
from fauxto.forge.recipes import WANT_CLASSES, Member, members_of
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.sheet import write_sheet
from fauxto.forge.workshop import found_device


def forge(
    data: str | Path,
    out: Path,
    settings: ForgeSettings | None = None,
    *,
    only: str = "",
    resume: bool = False,
    device: str = "auto",
    n_jobs: int = 1,
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
        n_jobs: Members that are made at once, each in a process of its own; on a GPU small networks wait for their own launches.
            A script that asks for several does so under ``if __name__ == "__main__"``, since each process imports it.
        skip_broken: Leave unreadable images out.
        shown: Show progress on stderr.

    Returns:
        ``out``, which then holds manifest.csv, forge.json, contact.png, real/ and fake/.

    Raises:
        ConfigError: No member has such a name.
        DataError: The data hold too few real images of this size.
        UsageError: The folder is taken, or was begun with other settings or photographs; or ``n_jobs`` is none.
        TrainingError: The device is not there or its memory too small, a member's loss became NaN, or a process died.
        DiskFullError: There was no room; finished members stay.
    """
    settings = settings or ForgeSettings()
    members = members_of(settings.recipe, only=only)
    reals = open_reals(data, settings, skip_broken=skip_broken)
    return make_zoo(reals, members, out, settings, resume=resume, device=device, n_jobs=n_jobs, shown=shown)


def make_zoo(
    reals: Reals,
    members: tuple[Member, ...],
    out: Path,
    settings: ForgeSettings,
    *,
    resume: bool = False,
    device: str = "auto",
    n_jobs: int = 1,
    shown: bool = True,
) -> Path:
    """Make the members of a table, as ``forge`` does."""
    if n_jobs < 1:
        raise UsageError(f"n_jobs = {n_jobs}: make at least 1 member at once")
    bar = ForgeBar(len(members), shown=shown)
    found_device(device)
    begin(out, reals, settings, resume=resume)
    for line in (*reals.said, *_to_be_known(reals, members, settings)):
        bar.say(line)
    with bar.live():
        _write_reals(reals, out, settings)
        write_summary(out)  # else a forge that is killed would leave images without their groups
        missing = [member for member in members if not is_finished(out, member)]
        for number, member in enumerate((one for one in members if one not in missing), start=1):
            bar.ended(number, f"{member.name}  was there")
        try:
            _make(missing, (reals, out, settings, device), bar, n_jobs)
        finally:
            write_summary(out)
    write_sheet(out)
    return out


def _to_be_known(reals: Reals, members: tuple[Member, ...], settings: ForgeSettings) -> Iterator[str]:
    """Yield a sentence on each thing that was asked for and will not be as it may have been meant."""
    if settings.align != "none" and not any(member.family == "autoencoder" for member in members):
        yield "no member reconstructs its photographs, so that there is nothing to align"
    is_guided = any(member.sampling.get("guidance") for member in members)
    if settings.recipe in WANT_CLASSES and is_guided and not reals.kind:
        yield (
            "nothing says what these photographs show: guided members draw towards groups of like images; "
            "an .npz with an array class would give them classes"
        )


def _make(missing: list[Member], place: Place, bar: ForgeBar, n_jobs: int) -> None:
    with closing(one_by_one(missing, place, bar) if n_jobs == 1 else at_once(missing, place, n_jobs)) as lines:
        for number, line in enumerate(lines, start=bar.n_members - len(missing) + 1):
            bar.ended(number, line)


def _write_reals(reals: Reals, out: Path, settings: ForgeSettings) -> None:
    if not (out / REAL).exists():
        every = np.arange(len(reals.images))
        write_images(out / REAL, REAL, reals.images, source=every, group=reals.group, settings=settings, about={})
