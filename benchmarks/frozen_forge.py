"""What heads on frozen features learn from forged images of 32x32 pixels: other generators of that size, and large images.

``python benchmarks/frozen_forge.py --small clip-forge --large clip --extractor clip_encoder.int8.onnx --data cifake.tar.xz
--lossless cifar10_lossless_train.npz --generators generators32.tar --hires hires_dev.tar`` writes results/frozen_forge.json, .csv
(generators32) and _pairs.csv (large images, each source of fakes against each of photographs). Both detectors are heads on that
extractor (docs/generalisation.md says how they were trained); neither saw an image that it is asked about.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import frozen_features
import generalisation
import numpy as np
import record
from frozen_features import Sources

from fauxto.checkpoint import MODEL
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector

ALONE, BOTH = (0.60, 0.75), (frozen_features.BAR, frozen_features.REACH)
TAUGHT, ALL = "CIFAKE and the forge alone", "mean of all heads and that one"
NOTES = [
    f"'{TAUGHT}': no image larger than 32x32 pixels and no other generator in training. '{ALL}': the heads of "
    "frozen_features.json, taught by the other sources, whose five kinds of features have equal weights in the mean, and that "
    "one as a sixth; its spread within sources is 1, a little more than a mean of heads has. Large images are asked for logits: "
    "the card of a detector taught by small ones calls them unsure.",
    "What is said of small images is the forge alone: the head never saw a fake of CIFAKE. That CIFAKE's fakes lower it was seen "
    "on these generators.",
]


def main() -> None:
    arguments = parsed()
    small, large = Detector.load(arguments.small), Detector.load(arguments.large)
    rows, of_small = on_generators(small, arguments)
    pairs, of_large = on_large(large, load_data(arguments.hires), arguments)
    record.write_table("frozen_forge", rows)
    record.write_table("frozen_forge_pairs", pairs)
    models = {name: detector.card["sha256"][MODEL] for name, detector in (("small", small), ("large", large))}
    record.write_result("frozen_forge", {"notes": NOTES, "model_sha256": models, "generators32": of_small, "mean_auc": of_large})


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", required=True, help="detector to ask about images of 32x32 pixels")
    parser.add_argument("--large", required=True, help="detector to ask about large ones")
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--lossless", type=Path, required=True, help="cifar10_lossless_train.npz")
    parser.add_argument("--generators", type=Path, required=True, help="generators32.tar")
    parser.add_argument("--hires", type=Path, required=True, help="hires_dev.tar")
    frozen_features.ask_for_extractor(parser)
    return parser.parse_args()


def on_generators(detector: Detector, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the AUC on each small generator, and mean and minimum against the bars of the forge alone."""
    reals, _ = generalisation.divided_reals(load_data(arguments.data), arguments.lossless)
    material = generalisation.Material(load_data(arguments.generators), generalisation.formerly_jpeg(arguments.generators), reals)
    rows = material.rows(detector)
    return rows, generalisation.overall(rows) | material.controls(detector)


def on_large(detector: Detector, store: Store, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the AUC on each pair of sources, by the detector and by it beside heads taught by the others, and the means."""
    sources = frozen_features.sources_of(store, arguments.hires)
    pairs = frozen_features.pairs_of(sources, n_left_out=1)
    taught = evened(detector.logits(store.image(at) for at in range(len(store))), sources)
    scores: dict[Any, Any] = {("taught",): dict.fromkeys(pairs, taught)}
    features = frozen_features.features_of(store, arguments.extractor, arguments.out)
    for name, some in features.items():
        found = frozen_features.heads_of(some, sources, pairs)
        scores |= {(name, *settings): of_pairs for settings, of_pairs in found.items()}
    said = {TAUGHT: dict.fromkeys(pairs, taught), ALL: {pair: frozen_features.averaged(scores, pair) for pair in pairs}}
    rows = [
        frozen_features.pair_row(head, pair, frozen_features.auc_of(of_pairs[pair], sources, pair), sources)
        for head, of_pairs in said.items() for pair in pairs
    ]  # fmt: skip
    means = {head: float(np.mean([row["auc"] for row in rows if row["head"] == head])) for head in said}
    return rows, {head: record.against_bar(means[head], *bars) for head, bars in ((TAUGHT, ALONE), (ALL, BOTH))}


def evened(scores: np.ndarray, sources: Sources) -> np.ndarray:
    """Return scores with a spread of 1 within sources, which weigh as for the heads."""
    weights = [weight for is_fake in (False, True) for weight in sources.weights(frozenset(), is_fake=is_fake).items()]
    within = sum(weight / 2 * scores[sources.images(key)].var() for key, weight in weights)
    found: np.ndarray = scores / np.sqrt(within)
    return found


if __name__ == "__main__":
    main()
