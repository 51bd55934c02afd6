"""Detectors on 18 generators, lossless and as JPEG, and what must not help them.

``python benchmarks/generalisation.py --detector general --detector cifake --data cifake.tar.xz --lossless
cifar10_lossless_train.npz --generators generators32.tar`` writes results/generalisation.csv and .json. Every generator stands
against photographs saved alike: CIFAR-10 images whose JPEG form is in the validation part of CIFAKE that split_seed 0 draws, and
which neither trained a detector nor were given to the forge; ``--write-reals FILE`` writes the others, for the forge.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import record

from fauxto.checkpoint import MODEL
from fauxto.config import preset
from fauxto.data.archives import list_archive
from fauxto.data.splits import make_split
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.metrics import accuracy, auc_interval, wilson
from fauxto.perturb import perturbed

CODEC = "jpeg-75"  # 4:2:0, as CIFAKE's files are
LOSSLESS, JPEG = "lossless", "jpeg"
BARS = {LOSSLESS: {"mean": (0.75, 0.92), "min": (0.58, 0.80)}, JPEG: {"mean": (0.62, 0.80), "min": (0.52, 0.65)}}
BARS_LEFT_OUT = {LOSSLESS: {"mean": (0.88, 0.96), "min": (0.65, 0.85)}, JPEG: {"mean": (0.70, 0.88), "min": (0.56, 0.75)}}


def main() -> None:
    arguments = parsed()
    cifake = load_data(arguments.data)
    reals, others = divided_reals(cifake, arguments.lossless)
    if arguments.write_reals:
        images, paths = others
        np.savez_compressed(arguments.write_reals, image=images, cifake_path=paths)
        return
    detectors = by_card(arguments.detector)
    material = Material(load_data(arguments.generators), formerly_jpeg(arguments.generators), reals)
    rows, found = [], {}
    for name, detector in detectors.items():
        lines = material.rows(detector)
        rows += [{"detector": name} | line for line in lines]
        found[name] = overall(lines) | material.controls(detector) | on_cifake(detector, cifake)
        found[name] |= {"model_sha256": detector.card["sha256"][MODEL]}
    record.write_table("generalisation", rows)
    record.write_result("generalisation", {"n_photographs": len(reals), "detectors": found})


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", action="append", default=[], help="folder, run or bundled name; several times")
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--lossless", type=Path, required=True, help="cifar10_lossless_train.npz")
    parser.add_argument("--generators", type=Path, required=True, help="generators32.tar")
    parser.add_argument("--write-reals", type=Path, help="write the photographs that may be trained on, and end")
    return parser.parse_args()


def ask_for_training(parser: argparse.ArgumentParser, *, init: str) -> None:
    """Add what the studies that leave something out of a training want: data, forges, and where to begin and to write."""
    parser.add_argument("--init", required=True, help=init)
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--forge", type=Path, required=True, action="append", help="what 'fauxto forge' wrote; several times")
    parser.add_argument("--lossless", type=Path, required=True, help="cifar10_lossless_train.npz")
    parser.add_argument("--generators", type=Path, required=True, help="generators32.tar")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")


def by_card(names: list[str]) -> dict[str, Detector]:
    """Return detectors by the names on their cards, which stand for them in the results; refuse none, and two of one name."""
    loaded = [Detector.load(name) for name in names]
    found = {str(detector.card["name"]): detector for detector in loaded}
    if not found or len(found) < len(loaded):
        raise SystemExit("name at least one detector, and no two whose cards have the same name: give --detector")
    return found


def divided_reals(cifake: Store, file: Path) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the lossless photographs that measure, and those that may be trained on with their paths in CIFAKE."""
    with np.load(file, allow_pickle=False) as stored:
        images, paths = stored["image"], stored["cifake_path"]
    held = make_split(cifake, preset("best", split_seed=0)).validation
    measures = np.isin(record.order_of(cifake.path.tolist(), paths.tolist()), held)
    return images[measures], (images[~measures], paths[~measures])


def manifest_of(archive: Path) -> list[dict[str, str]]:
    """Return the lines of an archive's manifest."""
    _, manifest = list_archive(archive, "tar")
    if manifest is None:
        raise SystemExit(f"{archive} holds no manifest.csv: give generators32.tar")
    return list(csv.DictReader(io.StringIO(manifest[1])))


def formerly_jpeg(archive: Path) -> set[str]:
    """Return the generators whose lossless images had been JPEG before, as the archive's manifest notes."""
    return {row["generator"] for row in manifest_of(archive) if "already JPEG" in row["note"]}


class Material:
    """The generators' images and photographs, each as they are, as JPEG, and as JPEG of what had been JPEG before."""

    def __init__(self, archive: Store, formerly: set[str], reals: np.ndarray) -> None:
        at = np.flatnonzero(archive.is_fake)
        fakes = archive.batch(at)
        self.generator, self.formerly = archive.generator[at], formerly
        self.fakes = {LOSSLESS: fakes, JPEG: perturbed(fakes, CODEC)}
        once = perturbed(reals, CODEC)
        self.reals = {LOSSLESS: reals, JPEG: once}
        self.reals_before = {LOSSLESS: once, JPEG: perturbed(once, CODEC)}

    def rows(self, detector: Detector) -> list[dict[str, Any]]:
        """Return a detector's AUC and recall on every generator, lossless and as JPEG."""
        known = set(detector.card["trained_on"].get("generators", []))
        lines = []
        for codec, fakes in self.fakes.items():
            said, real, before = (p_fake(detector, some) for some in (fakes, self.reals[codec], self.reals_before[codec]))
            for name in np.unique(self.generator).tolist():
                reals, own = before if name in self.formerly else real, said[self.generator == name]
                auc = auc_interval(np.repeat([False, True], [len(reals), len(own)]), np.concatenate([reals, own]))
                about = {"codec": codec, "generator": name, "in_training": int(name in known), "n": len(own)}
                recall = float((own >= at_fpr5(detector)).mean())
                lines.append(about | {"auc": auc.value, "low": auc.low, "high": auc.high, "recall_at_fpr5": recall})
        return lines

    def controls(self, detector: Detector) -> dict[str, Any]:
        """Return how well fake scores tell photographs that were JPEG from those that never were, and false alarms."""
        never, once = (p_fake(detector, some) for some in (self.reals[LOSSLESS], self.reals[JPEG]))
        told = auc_interval(np.repeat([False, True], [len(never), len(once)]), np.concatenate([never, once]))
        alarms = {
            f"false_alarms_at_fpr5_{codec}": record.plain(wilson(int((p >= at_fpr5(detector)).sum()), len(p)))
            for codec, p in ((LOSSLESS, never), (JPEG, once))
        }
        return {"was_jpeg_auc": record.plain(told)} | alarms


def p_fake(detector: Detector, images: np.ndarray) -> np.ndarray:
    """Return a detector's probabilities for images (n, h, w, 3)."""
    return detector.p_fake(detector.logits(images))


def at_fpr5(detector: Detector) -> float:
    """Return the threshold of 5 % false alarms that validation has fixed."""
    return detector.at("fpr5").threshold


def on_cifake(detector: Detector, cifake: Store) -> dict[str, Any]:
    """Return the accuracy on the official test part."""
    test = np.flatnonzero(cifake.split == "test")
    found = accuracy(cifake.is_fake[test], p_fake(detector, cifake.batch(test)), threshold=detector.threshold)
    return {"cifake_test_accuracy": record.plain(wilson(round(found * len(test)), len(test)))}


def overall(rows: list[dict[str, Any]], of_codecs: dict[str, Any] = BARS) -> dict[str, Any]:
    """Return mean and minimum over the generators that were not in the training, against the bars."""
    found: dict[str, Any] = {}
    for codec, bars in of_codecs.items():
        foreign = {row["generator"]: row["auc"] for row in rows if row["codec"] == codec and not row["in_training"]}
        if foreign:
            worst = min(foreign, key=lambda name: foreign[name])
            values = {"mean": float(np.mean(list(foreign.values()))), "min": foreign[worst]}
            numbers = {name: record.against_bar(value, *bars[name]) for name, value in values.items()}
            found[codec] = numbers | {"lowest": worst, "n_generators": len(foreign)}
    return found


if __name__ == "__main__":
    main()
