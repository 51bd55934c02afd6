"""Trained on one, tested on another: several detectors on CIFAKE's fakes and on those of 18 other generators.

``python benchmarks/cross_generator.py --detector D --detector D2 --data cifake.tar.xz --lossless cifar10_lossless_train.npz
--generators generators32.tar --docs`` writes results/cross_generator.csv and .json and, with --docs, docs/cross_generator_*.png.
Photographs are saved alike: CIFAKE's own fakes stand against CIFAKE's test photographs as they are; the PNG images of the other
generators against CIFAR-10 photographs that were never compressed, as they are and both saved as jpeg-75 by one encoder. Those
whose JPEG form a detector was trained on are left out where its split is known. Development data; nothing is fitted.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record
from ship import GENERATOR

from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.evaluation.answering import AS_THEY_ARE, Loose, Stored, answers, n_cores
from fauxto.evaluation.generators import row_of
from fauxto.report.curves import matrix
from fauxto.report.generators import AS_IS, MIN_FAKES, AcrossGenerators, Row
from fauxto.report.plots import png_of
from fauxto.runs import write_whole

OWN = GENERATOR  # of CIFAKE's fakes
ENCODINGS = (AS_IS, "jpeg-75")
NOTE = (
    f"Generators with fewer than {MIN_FAKES} images are marked and left out of mean and minimum. The sources named gulrajani_* "
    "had been JPEG of quality 75 before they were PNG."
)


def main() -> None:
    arguments = parsed()
    detectors = {name: Detector.load(folder) for name, folder in record.by_name(arguments.detector).items()}
    cifake, others = load_data(arguments.data), load_data(arguments.generators)
    test = next(iter(record.official_columns(detectors, cifake).values()))
    rows: dict[str, list[Row]] = {encode: [] for encode in ENCODINGS}
    n_reals: dict[str, dict[str, int]] = {}
    for name, detector in detectors.items():
        own = own_row(detector, cifake, test)
        photographs = lossless_reals(detector, cifake, arguments.lossless)
        n_reals[name] = {OWN: int((~cifake.is_fake[test]).sum()), "others": len(photographs)}
        for encode in ENCODINGS:
            found = others_row(detector, others, photographs, encode)
            rows[encode].append(Row(name, found.trained_on, found.threshold, (*own.generators, *found.generators)))
    tables = {encode: across(some, encode) for encode, some in rows.items()}
    record.write_table("cross_generator", [line for encode in ENCODINGS for line in lines(tables[encode])])
    if arguments.docs:
        for name in ("roc_auc", "balanced_accuracy"):
            draw_matrix(record.DOCS / f"cross_generator_{name}.png", tables["jpeg-75"], name)
    about = {"note": NOTE, "n_photographs": n_reals}
    record.write_result("cross_generator", about | {encode: overall(some) for encode, some in rows.items()})


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, action="append", required=True, help="trained with the official split")
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--lossless", type=Path, required=True, help="cifar10_lossless_train.npz")
    parser.add_argument("--generators", type=Path, required=True, help="generators32.tar")
    parser.add_argument("--docs", action="store_true", help="also draw docs/cross_generator_*.png")
    return parser.parse_args()


def own_row(detector: Detector, store: Store, test: np.ndarray) -> Row:
    """Return a detector on the official test part, as it is; the generator is starred where it was trained on these data."""
    fakes, reals = (
        answers(detector, Stored(store, test[is_chosen]), n_workers=n_cores())[AS_THEY_ARE]
        for is_chosen in (store.is_fake[test], ~store.is_fake[test])
    )
    row = row_of(detector, np.full(fakes.logit.size, OWN), fakes, reals)
    is_known = record.split_of(detector, store) is not None
    return replace(row, generators=tuple(replace(item, is_known=item.is_known or is_known) for item in row.generators))


def others_row(detector: Detector, store: Store, photographs: np.ndarray, encode: str) -> Row:
    """Return a detector on every other generator's images against photographs that are saved alike."""
    at = np.flatnonzero(store.is_fake)
    name = AS_THEY_ARE if encode == AS_IS else encode
    fakes = answers(detector, Stored(store, at), [name])[name]
    reals = answers(detector, Loose(photographs), [name])[name]
    return row_of(detector, store.generator[at], fakes, reals)


def lossless_reals(detector: Detector, store: Store, file: Path) -> np.ndarray:
    """Return lossless photographs, where possible only those whose JPEG form the detector was not trained on."""
    split = record.split_of(detector, store)
    with np.load(file, allow_pickle=False) as stored:
        pixels, paths = stored["image"], stored["cifake_path"].tolist()
    if split is None:
        return pixels
    return pixels[~np.isin(record.order_of(store.path.tolist(), paths), split.train)]


def across(rows: list[Row], encode: str) -> AcrossGenerators:
    """Return the rows as a report holds them."""
    return AcrossGenerators(tuple(rows), encode, 0, "CIFAKE's test part and lossless CIFAR-10", "")


def lines(table: AcrossGenerators) -> list[dict[str, Any]]:
    """Return one line per detector and generator."""
    found = []
    for row in table.rows:
        for item in row.generators:
            line: dict[str, Any] = {"detector": row.detector, "encode": table.encode, "generator": item.generator}
            line |= {"n_fake": item.n, "too_small": int(item.is_small)}
            for name, number in item.metrics.items():
                line |= {name: number.value, f"{name}_low": number.low, f"{name}_high": number.high}
            found.append(line)
    return found


def overall(rows: list[Row]) -> dict[str, Any]:
    """Return mean and minimum of every detector over the generators that it was not trained on and that have enough images."""
    found = {}
    for row in rows:
        foreign = Row(row.detector, (), row.threshold, tuple(item for item in row.generators if item.generator != OWN))
        found[row.detector] = {"n_generators": foreign.n_counted}
        for name in ("roc_auc", "balanced_accuracy", "recall"):
            mean, least, whose = foreign.overall(name)
            found[row.detector] |= {name: {"mean": mean, "minimum": least, "minimum_of": whose}}
    return found


def draw_matrix(path: Path, table: AcrossGenerators, name: str) -> None:
    """Draw one number of all detectors on all generators."""
    size = 2.6 + 1.1 * len(table.rows), 0.9 + 0.27 * len(table.rows[0].generators)
    payload = png_of(lambda axes, palette: matrix(axes, palette, across=table, name=name), size)
    write_whole(path, lambda part: part.write_bytes(payload))


if __name__ == "__main__":
    main()
