"""What a forge teaches about a family of generators that was left out of it, and how long to learn from it.

``python benchmarks/leave_family_out.py --init cifake --data cifake.tar.xz --forge forged --lossless cifar10_lossless_train.npz
--generators generators32.tar --out runs/families`` trains preset "general" once for each family of the forge without any of its
images: they validate, and pick the epoch. It writes results/leave_family_out.csv and .json: AUC on each left-out member's images,
and on generators32 of the detectors so trained, which learn from fewer images than the bundled one. Images that went through one
of the forge's operations are not measured, since the photographs went through none; reconstructions show photographs that were
learned as real. ``--family NAME`` trains one alone and writes no results; ``--finished`` trains none and measures what is there.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import generalisation
import numpy as np
import record

from fauxto.config import preset
from fauxto.data.joined import family_of
from fauxto.data.layouts import MANIFEST
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.metrics import auc_interval
from fauxto.training import train

SETTINGS = {"split_seed": 0, "n_threads": 1, "limit": 40_000, "max_epochs": 2, "patience": 2}
MOST = 500  # images of a member


def main() -> None:
    arguments = parsed()
    cifake, *forged = (load_data(path) for path in (arguments.data, *arguments.forge))
    guests = {f"forge-{number}": one for number, one in enumerate(forged, start=1)}
    families = sorted({family_of(name) for one in forged for name in one.generator[one.is_fake].tolist()})
    if arguments.family and arguments.family not in families:
        raise SystemExit(f"no family is called {arguments.family!r}: give one of {', '.join(families)}")
    if arguments.finished:
        families = [family for family in families if (arguments.out / f"without-{family}" / "detector" / "card.json").is_file()]
    for family in [arguments.family] if arguments.family else families:
        folder = arguments.out / f"without-{family}"
        if not (folder / "detector" / "card.json").is_file():
            config = preset("general", **SETTINGS, left_out=(family,))
            train(cifake, config, folder, init=arguments.init, guests=guests, resume=folder.exists(), shown=False)
    if not arguments.family:
        write(arguments, cifake, forged, families)


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    generalisation.ask_for_training(parser, init="detector that training begins with")
    parser.add_argument("--family", help="train without this family alone, and end")
    parser.add_argument("--finished", action="store_true", help="measure the trainings that are finished, and begin none")
    return parser.parse_args()


def write(arguments: argparse.Namespace, cifake: Store, forged: list[Store], families: list[str]) -> None:
    """Measure every detector on the family that it never saw."""
    reals, _ = generalisation.divided_reals(cifake, arguments.lossless)
    material = generalisation.Material(load_data(arguments.generators), generalisation.formerly_jpeg(arguments.generators), reals)
    as_made = [unchanged(path) for path in arguments.forge]
    rows: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for family in families:
        folder = arguments.out / f"without-{family}"
        detector = Detector.load(folder)
        lines = [
            line for one, kept in zip(forged, as_made, strict=True) for line in of_family(detector, family, one, kept, material)
        ]
        rows += lines
        by_codec = {codec: [line["auc"] for line in lines if line["codec"] == codec] for codec in material.reals}
        own = {codec: {"mean": float(np.mean(aucs)), "n_members": len(aucs)} for codec, aucs in by_codec.items() if aucs}
        found[family] = {
            "own_images": own, "generators32": generalisation.overall(material.rows(detector)),
            "epochs": epochs_of(folder / "history.csv"),
        }  # fmt: skip
    record.write_table("leave_family_out", rows)
    record.write_result("leave_family_out", {"settings": SETTINGS, "n_photographs": len(reals), "families": found})


def unchanged(forge: Path) -> set[str]:
    """Return the paths of a forge's images that went through none of its operations."""
    with (forge / MANIFEST).open(encoding="utf-8", newline="") as stream:
        return {row["path"] for row in csv.DictReader(stream) if not row["operation"]}


def of_family(
    detector: Detector, family: str, forged: Store, kept: set[str], material: generalisation.Material
) -> list[dict[str, Any]]:
    """Return the AUC on each member of a family, against the photographs that measure, saved alike: as it is, and as JPEG.

    Args:
        detector: Which has not learned from the family.
        family: What stands before the slash of its members' names.
        forged: A forge's images; where they are JPEG, they have no lossless form.
        kept: Paths of those that are measured.
        material: The photographs.
    """
    is_own = np.array([family_of(name) == family for name in forged.generator.tolist()]) & np.isin(forged.path, list(kept))
    at = np.flatnonzero(forged.is_fake & is_own)
    was_jpeg = set(forged.file_format[at].tolist()) == {"JPEG"}
    codecs = [generalisation.JPEG] if was_jpeg else list(material.reals)
    lines = []
    for name, codec in itertools.product(np.unique(forged.generator[at]).tolist(), codecs):
        fakes = forged.batch(at[forged.generator[at] == name][:MOST])
        is_saved = codec == generalisation.JPEG and not was_jpeg
        said = generalisation.p_fake(detector, generalisation.perturbed(fakes, generalisation.CODEC) if is_saved else fakes)
        real = generalisation.p_fake(detector, material.reals[codec])
        auc = auc_interval(np.repeat([False, True], [len(real), len(said)]), np.concatenate([real, said]))
        about = {"family": family, "member": name, "codec": codec, "n": len(said)}
        lines.append(about | {"auc": auc.value, "low": auc.low, "high": auc.high})
    return lines


def epochs_of(history: Path) -> list[dict[str, float]]:
    """Return the validation loss and accuracy of every epoch, where the left-out family validated."""
    with history.open(encoding="utf-8", newline="") as stream:
        rows: list[Mapping[str, str]] = list(csv.DictReader(stream))
    return [{key: float(row[key]) for key in ("epoch", "validation_loss", "validation_accuracy")} for row in rows]


if __name__ == "__main__":
    main()
