"""What reconstructions of large photographs teach heads on frozen features about generators that nobody showed them.

``python benchmarks/frozen_reconstructions.py --data hires_dev.tar --forge forged-large --extractor clip_encoder.int8.onnx``
writes results/frozen_reconstructions.json and _pairs.csv. ``--forge`` is what ``fauxto forge`` made of the photographs of
``--data``; no other fake is learned from. Each source of fakes is asked about against each of photographs, as in
frozen_features.py; the photographs of the pair, and what was made of them, are left out each time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import frozen_features
import numpy as np
import record
from frozen_features import SIMPLE, Key, Sources

from fauxto.data.store import Store, load_data
from fauxto.runs import sha256_of

BAR, REACH = 0.60, 0.75
PLAIN, TOWER = "reconstructions alone, logistic regression on the embedding", "reconstructions alone, mean of all heads"
NOTES = [
    f"'{PLAIN}': the head of 'fauxto train --backbone'. '{TOWER}': linear discriminants on embedding, first and mean tokens, as "
    "in frozen_features.json, averaged; nothing is chosen.",
    "That reconstructions with the spectrum of their originals teach more was seen on these pairs (hires_probe.csv).",
]

Pair = frozenset[Key]


def main() -> None:
    arguments = parsed()
    asked, forged = load_data(arguments.data), load_data(arguments.forge)
    sources = frozen_features.sources_of(asked, arguments.data)
    features, learned = (
        frozen_features.features_of(store, arguments.extractor, arguments.out) for store in (asked, forged)
    )  # fmt: skip
    pairs = frozen_features.pairs_of(sources, n_left_out=1)
    said = scores_of(features, learned, behind(forged, sources), pairs)
    rows = [
        frozen_features.pair_row(head, pair, frozen_features.auc_of(found[pair], sources, pair), sources)
        for head, found in said.items() for pair in pairs
    ]  # fmt: skip
    record.write_table("frozen_reconstructions_pairs", rows)
    means = {head: float(np.mean([row["auc"] for row in rows if row["head"] == head])) for head in said}
    bars = {head: record.against_bar(mean, BAR, REACH) for head, mean in means.items()}
    about: dict[str, Any] = {"extractor": arguments.extractor.name, "extractor_sha256": sha256_of(arguments.extractor)}
    about |= {"n_reconstructions": int(forged.is_fake.sum()), "n_photographs": int((~forged.is_fake).sum())}
    record.write_result("frozen_reconstructions", {"notes": NOTES, **about, "mean_auc": bars})


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="hires_dev.tar")
    parser.add_argument("--forge", type=Path, required=True, help="what 'fauxto forge' made of its photographs")
    frozen_features.ask_for_extractor(parser)
    return parser.parse_args()


def behind(forged: Store, sources: Sources) -> Sources:
    """Return of which source's photographs the images of a forge are, or were made."""
    names = [name for name, is_fake in sources.keys() if not is_fake]  # noqa: SIM118 - a method of ours
    found = [[name for name in names if f"/{name}/" in f"/{group}"] for group in forged.group.tolist()]
    if any(len(of_group) != 1 for of_group in found):
        raise SystemExit("expected a forge of the photographs of --data: its groups do not name their sources")
    return Sources(np.array([name for (name,) in found]), forged.is_fake)


def reconstructed(pair: Pair) -> Pair:
    """Return a pair's photographs and what was made of them, as a forge's sources."""
    return frozenset((name, made) for name, is_fake in pair if not is_fake for made in (False, True))


def scores_of(
    features: dict[str, np.ndarray], learned: dict[str, np.ndarray], forged: Sources, pairs: list[Pair]
) -> dict[str, dict[Pair, np.ndarray]]:
    """Return what both heads say of all images that are asked about, for each pair whose photographs they never saw.

    Args:
        features: Of the images that are asked about, by kind.
        learned: Of the forge's images, the same kinds.
        forged: Whose photographs those are.
        pairs: A source of fakes and one of photographs each.
    """
    without = {pair: reconstructed(pair) for pair in pairs}
    left_outs = list(dict.fromkeys(without.values()))
    name = "embedding"
    plain = {left: frozen_features.plain_scores(learned[name], forged, left, features[name]) for left in left_outs}
    heads: dict[Any, dict[Pair, np.ndarray]] = {}
    for name in (name for name in learned if name not in SIMPLE):
        found = frozen_features.heads_of(learned[name], forged, left_outs, asked=features[name])
        heads |= {(name, *settings): of_left_out for settings, of_left_out in found.items()}
    mean = {left: frozen_features.averaged(heads, left) for left in left_outs}
    return {head: {pair: found[without[pair]] for pair in pairs} for head, found in ((PLAIN, plain), (TOWER, mean))}


if __name__ == "__main__":
    main()
