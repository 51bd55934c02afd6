"""What images of other sources teach about a source that was left out whole, on top of the forge.

``python benchmarks/leave_source_out.py --init forge-only --data cifake.tar.xz --forge forged --lossless
cifar10_lossless_train.npz --generators generators32.tar --out runs/folds`` trains ``--init`` on for an epoch, once for each
source repository without any of its images, and writes results/leave_source_out.csv and .json. ``--fold SOURCE`` trains one fold
alone and writes no results, so that folds may share out the cores; finished folds are not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import generalisation
import numpy as np
import record

from fauxto.config import preset
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.training import train

SETTINGS = {"max_epochs": 1, "patience": 1, "split_seed": 0, "n_threads": 1, "learning_rate": 0.01}


def main() -> None:
    arguments = parsed()
    main_store, archive, *forged = (load_data(path) for path in (arguments.data, arguments.generators, *arguments.forge))
    source = sources_of(arguments.generators)
    names = sorted(set(source.values()))
    if arguments.fold and arguments.fold not in names:  # else nothing would be left out, and the fold measured on what it learned
        raise SystemExit(f"no source is called {arguments.fold!r}: give one of {', '.join(names)}")
    for name in [arguments.fold] if arguments.fold else names:
        guest = without(archive, [generator for generator, home in source.items() if home == name])
        folder = arguments.out / folder_name(name)
        if not (folder / "detector" / "card.json").is_file():
            guests = {f"forge-{number}": one for number, one in enumerate(forged, start=1)} | {"generators": guest}
            train(
                main_store,
                preset("general", **SETTINGS),
                folder,
                init=arguments.init,
                guests=guests,
                resume=folder.exists(),
                shown=False,
            )
    if not arguments.fold:
        write(arguments, main_store, archive, source)


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    generalisation.ask_for_training(parser, init="run that knows the forges alone")
    parser.add_argument("--fold", help="train the fold without this source, and end")
    return parser.parse_args()


def sources_of(archive: Path) -> dict[str, str]:
    """Return the source repository of each generator, as the archive's manifest names it."""
    return {row["generator"]: row["source"] for row in generalisation.manifest_of(archive) if row["label"] == "fake"}


def without(store: Store, generators: list[str]) -> Store:
    """Return a store without some generators' images."""
    kept = ~np.isin(store.generator, generators)
    columns = {
        field.name: getattr(store, field.name)[kept]
        for field in dataclasses.fields(store)
        if isinstance(getattr(store, field.name), np.ndarray) and field.name != "_pixels"
    }
    key = hashlib.sha256(f"{store.folder.name} without {sorted(generators)}".encode()).hexdigest()
    return dataclasses.replace(store, folder=Path(key), **columns)


def folder_name(source: str) -> str:
    """Return a source's name as a folder.

    Example:
        >>> folder_name("pfnet-research/chainer-gan-lib")
        'without-pfnet-research-chainer-gan-lib'
    """
    return "without-" + source.replace("/", "-").strip("-")


def write(arguments: argparse.Namespace, cifake: Store, archive: Store, source: dict[str, str]) -> None:
    """Measure every fold on what it never saw."""
    reals, _ = generalisation.divided_reals(cifake, arguments.lossless)
    material = generalisation.Material(archive, generalisation.formerly_jpeg(arguments.generators), reals)
    rows: list[dict[str, Any]] = []
    controls: dict[str, Any] = {}
    for name in sorted(set(source.values())):
        detector = Detector.load(arguments.out / folder_name(name))
        rows += [{"source": name} | line for line in material.rows(detector) if source[line["generator"]] == name]
        controls[name] = material.controls(detector)
    record.write_table("leave_source_out", rows)
    found = generalisation.overall(rows, generalisation.BARS_LEFT_OUT)
    record.write_result("leave_source_out", {"n_photographs": len(reals), **found, "controls": controls})


if __name__ == "__main__":
    main()
