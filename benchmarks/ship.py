"""Put a finished run's detector into the package: ``python benchmarks/ship.py --run best-0 --name cifake``.

``--tiles FOLDER`` adds what benchmarks/tile_model.py made for large images; without --run, to what is bundled. Of several --run
it takes the one with the lowest validation loss. The card gains what the detector is for and not for, the generator of
CIFAKE's fakes, which its folders don't name, and what results/best.json (of general: generalisation.json) measured of this very
model, with the command that did. ``--data`` and ``--guest NAME=PATH`` give an older card of a training with guests what newer
ones say of each.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import record

from fauxto.bundled import ASSETS
from fauxto.checkpoint import LINES, MODEL, TILES_MODEL, WEIGHTS, read_card, write_card
from fauxto.config import TrainConfig, from_mapping
from fauxto.data.joined import joined
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector

# What made CIFAKE's fakes (Bird and Lotfi 2024, arXiv 2303.14126).
GENERATOR = "Stable Diffusion 1.4"
CIFAKE, GENERAL = "cifake", "general"
INTENDED = {
    CIFAKE: (
        "Images of 32x32 pixels such as CIFAKE's: photographs of CIFAR-10's ten kinds of objects against images that Stable "
        "Diffusion 1.4 made of them, both saved as JPEG; also after JPEG, WebP, mild blur, noise and resizing.",
        "Teaching, research on robustness and calibration, and trying fauxto out.",
    ),
    GENERAL: (
        "Images of 32x32 pixels: photographs such as CIFAR-10's against images of CIFAKE's or of other small generators. It "
        "learned from CIFAKE's training part, from what small generators of five families made of CIFAR-10's photographs "
        "('fauxto forge'), and from images of the 18 generators that trained_on names.",
        "Large images, over tiles of their own pixels: research only. Most verdicts are unsure.",
    ),
}
_NO_PROOF = "Accusing anybody: a verdict is no proof."
NOT_FOR = {
    CIFAKE: (
        "Images of any other generator: they pass for photographs about as often as photographs do.",
        "Photographs from a camera or the web: larger than 64 pixels, their verdict is unsure; shrunk to thumbnails, a part of "
        "the real ones is called fake (docs/detector.md).",
        _NO_PROOF,
    ),
    GENERAL: (
        "CIFAKE's fakes that were saved at JPEG 40, blurred or noisy: 5 to 10 % of them pass for photographs.",
        "Small images of guided diffusion, and of any generator that makes few mistakes of shape, once they were saved as JPEG: "
        "they pass for photographs (docs/generalisation.md).",
        "Deciding about large images: what answers there is a weak sign and sees nothing of what a picture shows. Photographs "
        "that are sharp, sharpened or shrunk look more like fakes to it; fakes that were saved as JPEG of quality 75, "
        "StyleGAN2's faces above all, look more like photographs (docs/check.md).",
        "Images whose shorter side is under a tile's, and whose longer side is over 64 pixels: their verdict is unsure.",
        _NO_PROOF,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, action="append", help="without one, the bundled card gets new texts")
    parser.add_argument("--name", required=True, choices=INTENDED)
    parser.add_argument("--tiles", type=Path, help="folder of benchmarks/tile_model.py: what answers large images")
    parser.add_argument("--data", type=Path, help="main data of a training with guests")
    parser.add_argument("--guest", action="append", default=[], metavar="NAME=PATH", help="a guest, in the order of the training")
    arguments = parser.parse_args()
    if not arguments.run and (arguments.data or arguments.guest):
        parser.error("--data and --guest belong to a --run: give one")
    folder = ASSETS / arguments.name
    card = from_run(arguments, folder) if arguments.run else read_card(folder) | words(arguments.name)
    write_card(folder, with_tiles(card, arguments.tiles, folder) if arguments.tiles else card)
    print(f"{folder.name}: {(folder / MODEL).stat().st_size / 1e6:.2f} MB")


def from_run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Copy the best run's networks into a detector's folder, and return its card."""
    run = min(arguments.run, key=best_validation_loss)
    print(f"taken: {run}")
    detector = Detector.load(run)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, WEIGHTS):
        shutil.copyfile(detector.folder / name, folder / name)
    card = shipped_card(detector.card, run.resolve().name, name=arguments.name)
    if arguments.guest:
        guests = {name: load_data(path) for name, _, path in (text.partition("=") for text in arguments.guest)}
        card["trained_on"] = with_parts(card["trained_on"], load_data(arguments.data), guests)
    return card


def words(name: str) -> dict[str, Any]:
    """Return what a card says of use and misuse."""
    return {"intended_use": list(INTENDED[name]), "not_for": list(NOT_FOR[name])}


def best_validation_loss(run: Path) -> float:
    """Return the lowest validation loss of a run's history."""
    with (run / "history.csv").open(encoding="utf-8") as stream:
        return min(float(row["validation_loss"]) for row in csv.DictReader(stream))


def shipped_card(card: dict[str, Any], run: str, *, name: str) -> dict[str, Any]:
    """Return a run's card with what a stranger must know of it."""
    metrics = {**card["metrics"], **MEASURED[name](card, run)}
    trained_on = with_generator(card["trained_on"], card["trained_on"]["store"])
    return {**card, "name": name, **words(name), "trained_on": trained_on, "metrics": metrics}


def on_official_test(card: Mapping[str, Any], run: str) -> dict[str, Any]:
    """Return what results/best.json says of a run."""
    measured = _result("best")
    if measured["runs"].get(run, {}).get("model_sha256") != card["sha256"][MODEL]:
        raise SystemExit(f"best.json was not measured with {run}'s model: run benchmarks/best_detector.py first")
    numbers = {
        column: {score: value["value"] for score, value in scores.items() if isinstance(value, dict) and "value" in value}
        for column, scores in measured["clean"][run].items()
    }
    return {"measured_by": measured["command"], **numbers}


def on_generators(card: Mapping[str, Any], run: str) -> dict[str, Any]:
    """Return what results/generalisation.json says of a run, and leave_source_out.json of its like."""
    measured, left_out = _result("generalisation"), _result("leave_source_out")
    found = measured["detectors"].get(card["name"], {})
    if found.get("model_sha256") != card["sha256"][MODEL]:
        raise SystemExit(f"generalisation.json was not measured with {run}'s model: run benchmarks/generalisation.py first")
    auc = {f"{codec}_{name}": left_out[codec][name]["value"] for codec in ("lossless", "jpeg") for name in ("mean", "min")}
    names = ("cifake_test_accuracy", "was_jpeg_auc", "false_alarms_at_fpr5_lossless", "false_alarms_at_fpr5_jpeg")
    return {
        "measured_by": measured["command"],
        **{name: found[name]["value"] for name in names},
        "roc_auc_of_sources_left_out": {**auc, "measured_by": left_out["command"]},
    }


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((record.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


MEASURED = {CIFAKE: on_official_test, GENERAL: on_generators}


def with_tiles(card: dict[str, Any], tiles: Path, folder: Path) -> dict[str, Any]:
    """Put the model for tiles into a detector's folder, and return the card with its section."""
    shutil.copyfile(tiles / TILES_MODEL, folder / TILES_MODEL)
    return {**card, "tiles": json.loads((tiles / "tiles.json").read_text(encoding="utf-8"))}


def with_parts(about: Mapping[str, Any], main: Store, guests: Mapping[str, Store]) -> dict[str, Any]:
    """Return what an older card says of a training with guests, with what newer ones say of each data set.

    Args:
        about: The card's "trained_on", whose "parts" are the bare keys.
        main: The data set that kept its own test part.
        guests: The others, by name and in the order of then; their images' order and parts must be those of then too.
    """
    data = joined(main, guests, from_mapping(TrainConfig, about["config"]))
    if data.store.folder.name != about["store"]:
        raise SystemExit("these data, joined, are not those that the detector was trained on: give those, in the same order")
    parts = {name: dict(part) for name, part in data.parts.items()}
    return {**about, "parts": {**parts, "": parts[""] | {"note": about.get("note", "")}}}


def with_generator(about: Mapping[str, Any], store: str) -> dict[str, Any]:
    """Return what a card says of a training on CIFAKE, and of those that it took over from, with the fakes' generator.

    Args:
        about: The card's "trained_on".
        store: CIFAKE's content key; a training on other data stays as it is.

    Example:
        >>> with_generator({"store": "a", "generators": [], "taught_by": {"trained_on": {"store": "b", "generators": []}}}, "a")
        {'store': 'a', 'generators': ['Stable Diffusion 1.4'], 'taught_by': {'trained_on': {'store': 'b', 'generators': []}}}
    """
    named = dict(about)
    if about.get("store") == store:
        named["generators"] = sorted({*about.get("generators", ()), GENERATOR})
    for line in LINES:
        if line in about:
            before = about[line]
            named[line] = {**before, "trained_on": with_generator(before["trained_on"], store)}
    return named


if __name__ == "__main__":
    main()
