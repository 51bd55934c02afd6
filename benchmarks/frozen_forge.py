"""What heads on frozen features learn from forged images: other generators of 32x32 pixels, and large images.

``python benchmarks/frozen_forge.py --small clip-forge --large clip --extractor clip_encoder.int8.onnx --data cifake.tar.xz
--lossless cifar10_lossless_train.npz --generators generators32.tar --hires hires_dev.tar --forge forged-large`` writes
results/frozen_forge.json, .csv (generators32) and _pairs.csv (large images, each source of fakes against each of photographs).
Both detectors are heads on that extractor (docs/generalisation.md says how they were trained); neither saw an image that it is
asked about. ``--forge`` is a folder that ``fauxto forge`` made of the photographs of --hires; the photographs of the source that
is asked about, and what was made of them, are left out each time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import frozen_features
import generalisation
import numpy as np
import record
from frozen_features import Key, Sources

from fauxto.checkpoint import MODEL
from fauxto.data.store import load_data
from fauxto.detector import Detector

ALONE, BOTH = (0.60, 0.75), (frozen_features.BAR, frozen_features.REACH)
TAUGHT, ALL = "CIFAKE and the forge alone", "mean of all heads and that one"
EVERYTHING = "mean of all heads, that one and those of the forge"
RECONSTRUCTED, TOWER = "the forge of large photographs alone", "the forge of large photographs alone, mean of all heads"
NOTES = [
    f"'{TAUGHT}': no image larger than 32x32 pixels and no other generator in training. '{ALL}': the heads of "
    "frozen_features.json, taught by the other sources, whose five kinds of features have equal weights in the mean, and that "
    "one as a sixth; its spread within sources is 1, a little more than a mean of heads has. Large images are asked for logits: "
    "the card of a detector taught by small ones calls them unsure.",
    f"'{RECONSTRUCTED}': autoencoders' reconstructions of the photographs, with their spectrum, teach the head of 'fauxto train "
    f"--backbone'; '{TOWER}': linear discriminants on embedding, first and mean tokens, as in frozen_features.json. "
    f"'{EVERYTHING}': these three kinds beside the six.",
    "What is said of small images is the forge alone: the head never saw a fake of CIFAKE. That CIFAKE's fakes lower it was seen "
    "on these generators.",
]

Scores = dict[Any, dict[frozenset[Key], np.ndarray]]  # of all large images, by head and what it never saw


def main() -> None:
    arguments = parsed()
    small, large = Detector.load(arguments.small), Detector.load(arguments.large)
    rows, of_small = on_generators(small, arguments)
    pairs, of_large = on_large(large, arguments)
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
    parser.add_argument("--forge", type=Path, required=True, help="what 'fauxto forge' made of its photographs")
    frozen_features.ask_for_extractor(parser)
    return parser.parse_args()


def on_generators(detector: Detector, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the AUC on each small generator, and mean and minimum against the bars of the forge alone."""
    reals, _ = generalisation.divided_reals(load_data(arguments.data), arguments.lossless)
    material = generalisation.Material(load_data(arguments.generators), generalisation.formerly_jpeg(arguments.generators), reals)
    rows = material.rows(detector)
    return rows, generalisation.overall(rows) | material.controls(detector)


def on_large(detector: Detector, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the AUC on each pair of sources, by heads of forges alone and beside heads taught by the others, and means."""
    store = load_data(arguments.hires)
    sources = frozen_features.sources_of(store, arguments.hires)
    pairs = frozen_features.pairs_of(sources, n_left_out=1)
    features = frozen_features.features_of(store, arguments.extractor, arguments.out)
    taught = evened(detector.logits(store.image(at) for at in range(len(store))), sources)
    by_taught: Scores = {("taught",): dict.fromkeys(pairs, taught)}
    plain, by_forge = of_forge(features, sources, pairs, arguments)
    by_others = {(name, *how): of_pairs for name, some in features.items()
                 for how, of_pairs in frozen_features.heads_of(some, sources, pairs).items()}  # fmt: skip
    said = {
        TAUGHT: dict.fromkeys(pairs, taught), ALL: averaged(by_others | by_taught, pairs),
        RECONSTRUCTED: plain, TOWER: averaged(by_forge, pairs), EVERYTHING: averaged(by_others | by_taught | by_forge, pairs),
    }  # fmt: skip
    rows = [
        frozen_features.pair_row(head, pair, frozen_features.auc_of(of_pairs[pair], sources, pair), sources)
        for head, of_pairs in said.items() for pair in pairs
    ]  # fmt: skip
    means = {head: float(np.mean([row["auc"] for row in rows if row["head"] == head])) for head in said}
    return rows, {head: record.against_bar(means[head], *(ALONE if "alone" in head else BOTH)) for head in said}


def of_forge(
    features: dict[str, np.ndarray], sources: Sources, pairs: list[frozenset[Key]], arguments: argparse.Namespace
) -> tuple[dict[frozenset[Key], np.ndarray], Scores]:
    """Return what heads say of all large images that learned from a forge, without the pair's photographs and their likes.

    The first is that of ``fauxto train --backbone``; the others are linear discriminants on what the tower's blocks say.
    """
    store = load_data(arguments.forge)
    names = [name for name, is_fake in sources.keys() if not is_fake]  # noqa: SIM118 - a method of ours
    behind = [next(name for name in names if f"/{name}/" in f"/{group}") for group in store.group.tolist()]
    forged = Sources(np.array(behind), store.is_fake)
    learned = frozen_features.features_of(store, arguments.extractor, arguments.out)
    without = {pair: frozenset((name, is_fake) for name, fake in pair if not fake for is_fake in (False, True)) for pair in pairs}
    plain = {
        left: frozen_features.plain_scores(learned["embedding"], forged, left, features["embedding"])
        for left in dict.fromkeys(without.values())
    }
    scores: Scores = {}
    for name in (name for name in learned if name not in frozen_features.SIMPLE):
        heads = frozen_features.heads_of(learned[name], forged, list(plain), asked=features[name])
        scores |= {(f"forged-{name}", *how): {pair: found[without[pair]] for pair in pairs} for how, found in heads.items()}
    return {pair: plain[without[pair]] for pair in pairs}, scores


def averaged(scores: Scores, pairs: list[frozenset[Key]]) -> dict[frozenset[Key], np.ndarray]:
    """Return the mean of heads for each pair; kinds of features weigh the same."""
    return {pair: frozen_features.averaged(scores, pair) for pair in pairs}


def evened(scores: np.ndarray, sources: Sources) -> np.ndarray:
    """Return scores with a spread of 1 within sources, which weigh as for the heads."""
    weights = [weight for is_fake in (False, True) for weight in sources.weights(frozenset(), is_fake=is_fake).items()]
    within = sum(weight / 2 * scores[sources.images(key)].var() for key, weight in weights)
    found: np.ndarray = scores / np.sqrt(within)
    return found


if __name__ == "__main__":
    main()
