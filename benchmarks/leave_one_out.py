"""What other generators' images, joined to the training, help on a generator that was left out.

``python benchmarks/leave_one_out.py --run RUN --data cifake.tar.xz --generators generators32.tar`` writes
results/leave_one_out.json and .csv (``--by source``: leave_one_out_by_source). Each fold gives a copy of the run's network some
more steps with all generators but the left-out ones among the fakes; finished folds stay in --out. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
import unseen
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track
from torch import nn

from fauxto import perturb
from fauxto.checkpoint import CARD
from fauxto.config import TrainConfig, from_mapping
from fauxto.data import loaders
from fauxto.data.archives import list_archive
from fauxto.data.splits import Positions, Split
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.evaluation import TEST
from fauxto.explain.cam import Explainer
from fauxto.metrics import Interval, accuracy, all_metrics, false_alarm_rate
from fauxto.models import nets
from fauxto.networks import load_network
from fauxto.preprocess import normalised
from fauxto.runs import cache_folder, sha256_of, write_text
from fauxto.training import loop, optimizers
from fauxto.training.logs import EpochBar
from fauxto.training.processes import open_fabric
from fauxto.training.teacher import targets

KINDS = AS_IS, ALONE, JOINED, ALL = "as it is", "CIFAKE alone", "others joined", "all joined"
CODEC = "jpeg-75"  # 4:2:0, as CIFAKE's files are
FEW = 100  # below, the interval of a share of 50 % is wider than 10 points to each side
SETTINGS = ("by", "steps", "joined_share", "rate_share", "n_test", "seed")
MEASURES = {"auc": "roc_auc", "called_fake": "recall", "tpr_at_fpr1": "tpr_at_fpr1"}
NOTES = [
    f"Groups are small (64 to 256 images; few: under {FEW}); intervals are 95 % bootstrap intervals over images. Generators of"
    " one source may resemble each other: see --by source. Temperature and threshold are the run's own throughout.",
    f"'{AS_IS}' is the run; '{ALONE}' did the same steps on CIFAKE only: what it changes is no merit of joining. '{JOINED}' has "
    f"never seen the generator of its line; '{ALL}' leaves none out, so that it tells only what CIFAKE pays.",
    "Generated images are encoded here as CIFAKE's are, but by another encoder, which a network could learn in their place. "
    "'same_encoder' is measured on real images encoded here too: if AUC rises against CIFAKE's real images only, or these are "
    "called fake more often, it was the encoder. The archive's own real images may be among those that CIFAKE trains on.",
]


@dataclass(frozen=True, eq=False)
class Material:
    """What all folds share: the run, positions in its store, and the archive's images, encoded: uint8, (n, size, size, 3)."""

    arguments: argparse.Namespace
    detector: Detector
    config: TrainConfig
    store: Store
    split: Split
    test: Positions
    validation: Positions
    images: np.ndarray
    generator: np.ndarray  # of each image; "" for a real one
    source: dict[str, str]  # generator -> where its images come from
    reals: np.ndarray  # real images encoded in the same way


def main() -> None:
    arguments = parsed()
    material = material_of(arguments)
    rows = sorted(rows_of(material), key=lambda row: (not row["generator"], row["generator"], KINDS.index(row["training"])))
    name = "leave_one_out" if arguments.by == "generator" else "leave_one_out_by_source"
    record.write_table(name, rows)
    about = {"detector": material.detector.card["name"]} | {key: vars(arguments)[key] for key in SETTINGS}
    record.write_result(name, {"notes": NOTES, **about, "n_same_encoder": len(material.reals), **overall(rows)})


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="finished run, with nothing of the archive in its training")
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--generators", type=Path, required=True, help="generators32.tar")
    parser.add_argument("--lossless", type=Path, help="cifar10_lossless_train.npz: more real images to encode in the same way")
    parser.add_argument("--by", choices=("generator", "source"), default="generator", help="what is left out together")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--joined-share", type=float, default=0.25, help="of a batch, taken from the fakes' half: at most 0.5")
    parser.add_argument("--rate-share", type=float, default=0.1, help="of the run's learning rate")
    parser.add_argument("--n-test", type=int, default=4000, help="test images, and validation images; 0 takes all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=cache_folder() / "leave_one_out", help="folder for finished folds")
    return parser.parse_args()


def material_of(arguments: argparse.Namespace) -> Material:
    """Read run, data and archive; refuse a run that has seen the test part or the archive's generators."""
    detector, store, archive = Detector.load(arguments.run), load_data(arguments.data), load_data(arguments.generators)
    official, split = record.official_columns({detector.card["name"]: detector}, store)[TEST], record.split_of(detector, store)
    _, manifest = list_archive(arguments.generators, "tar")
    if split is None or manifest is None:
        raise SystemExit("expected --data that the run was trained on, and --generators with a manifest.csv: give those")
    source = {row["generator"]: row["source"] for row in csv.DictReader(io.StringIO(manifest[1])) if row["label"] == "fake"}
    if seen := sorted(set(source) & set(detector.card["trained_on"].get("generators", []))):
        raise SystemExit(f"{arguments.run} was trained on {', '.join(seen)}: give a run without the archive's generators")
    images = perturb.perturbed(loaders.squares(archive, np.arange(len(archive)), detector.spec), CODEC)
    reals = images[~archive.is_fake]
    if arguments.lossless:
        reals = np.concatenate([reals, perturb.perturbed(unseen.lossless_reals(detector, store, arguments.lossless), CODEC)])
    config = from_mapping(TrainConfig, detector.card["trained_on"]["config"] | {"n_devices": 1, "n_threads": 0})
    parts = (sampled(part, arguments.n_test, arguments.seed) for part in (official, split.validation))
    return Material(arguments, detector, config, store, split, *parts, images, archive.generator, source, reals)


def sampled(positions: Positions, n: int, seed: int) -> Positions:
    """Return n of the positions, drawn without replacement and sorted; all of them for n = 0 or where there are fewer."""
    return np.sort(np.random.default_rng(seed).permutation(positions)[: n or None])


def folds_of(source: dict[str, str], *, by: str) -> dict[str, tuple[str, ...]]:
    """Return each fold's name and the generators that it measures, none of which it trains on."""
    everything, group = tuple(sorted(source)), source if by == "source" else {name: name for name in source}
    groups = {kind: tuple(name for name in everything if group[name] == kind) for kind in sorted(set(group.values()))}
    return {AS_IS: everything, ALONE: everything, ALL: ()} | groups


def rows_of(material: Material) -> list[dict[str, Any]]:
    """Return every fold's rows; those that are not in --out yet are measured now."""
    files = [material.detector.folder / CARD, *(Path(code.__file__) for code in (perturb, loaders, nets, loop, optimizers))]
    decides = [*(vars(material.arguments)[key] for key in SETTINGS), *map(sha256_of, [*files, Path(__file__)])]
    digest = hashlib.sha256(f"{decides} {material.store.folder.name} {material.generator.tolist()}".encode())
    digest.update(material.images.tobytes() + material.reals.tobytes())
    path = material.arguments.out / f"folds-{digest.hexdigest()[:16]}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    done, folds = {row["fold"] for row in rows}, folds_of(material.source, by=material.arguments.by)
    fabric = open_fabric(material.config)
    for name in track([name for name in folds if name not in done], description="folds", console=Console(stderr=True)):
        joined = np.flatnonzero((material.generator != "") & ~np.isin(material.generator, folds[name]))
        network = load_network(material.detector.folder)[0].to(fabric.device)
        network = network if name == AS_IS else trained_further(network, material, joined, fabric)
        rows += measured(network, material, name, folds[name])
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def trained_further(network: nn.Module, material: Material, joined: Positions, fabric: Fabric) -> nn.Module:
    """Return the network after some more steps of the run's own training, at a small constant learning rate."""
    config = replace(material.config, learning_rate=material.arguments.rate_share * material.config.learning_rate)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    network = network.to(memory_format=layout).train()
    averaged = optimizers.averaged_copy(network, decay=config.ema_decay) if config.ema_decay else None
    model, optimizer = fabric.setup(network, optimizers.build_optimizer(network, config))
    # Only the loop's step is used: loss, smoothing, precision and averaging are then the run's own.
    parts = material.store, material.split, material.detector.spec, config, Path(), EpochBar(shown=False)
    own = loop.Loop(fabric, model, optimizer, averaged, *parts)
    for step in range(material.arguments.steps):
        images, labels = mixed_batch(material, joined, np.random.default_rng([material.arguments.seed, step]))
        labels = labels.to(fabric.device)
        own.step(images.to(fabric.device, memory_format=layout), labels, targets(labels, None, material.config))
    return own.answering.eval()


def mixed_batch(material: Material, joined: Positions, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an augmented batch: first CIFAKE's real images, one half of it, then CIFAKE's fakes, then the joined ones.

    Joined images take the place of fakes: more fakes than before would by themselves raise every p_fake.
    """
    store, spec, train, n = material.store, material.detector.spec, material.split.train, material.config.batch_size
    n_joined = round(material.arguments.joined_share * n) if len(joined) else 0
    real, fake = (train[store.is_fake[train] == label] for label in (False, True))
    own = np.concatenate([rng.choice(real, n // 2), rng.choice(fake, n - n // 2 - n_joined)])
    others = joined[balanced(material.generator[joined], n_joined, rng)]
    images = np.concatenate([loaders.squares(store, own, spec), material.images[others]])
    labels = (np.arange(n) >= n // 2).astype(np.float32)
    images = loaders.augmented(images, spec, material.config, rng)
    return torch.from_numpy(normalised(images, spec)), torch.from_numpy(labels)


def balanced(names: np.ndarray, n: int, rng: np.random.Generator) -> Positions:
    """Return n indices into ``names``, every name equally likely however often it stands there."""
    _, kind, counts = np.unique(names, return_inverse=True, return_counts=True)
    return rng.choice(len(names), n, p=1 / (counts[kind] * len(counts))) if n else np.zeros(0, np.int64)


def measured(network: nn.Module, material: Material, fold: str, left_out: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row per left-out generator, each with what became of CIFAKE; one with CIFAKE only if none is left out."""
    store, detector, at = material.store, material.detector, {"threshold": material.detector.threshold}
    explainer = Explainer(detector, network, ())  # answers in float32, as the exported model does

    def ask(images: np.ndarray) -> np.ndarray:
        return detector.p_fake(explainer.logits(images))

    p_test, p_validation = (ask(loaders.squares(store, part, detector.spec)) for part in (material.test, material.validation))
    p_encoded, is_fake = ask(material.reals), store.is_fake[material.test]
    shared = columns({"test_accuracy": all_metrics(is_fake, p_test, **at)["accuracy"]}) | {
        "false_alarms": false_alarm_rate(is_fake, p_test, **at),
        "validation_accuracy": accuracy(store.is_fake[material.validation], p_validation, **at),
        "false_alarms_same_encoder": false_alarm_rate(np.zeros(len(p_encoded), bool), p_encoded, **at),
    }
    rows = []
    for name in left_out or ("",):
        fakes = ask(material.images[material.generator == name]) if name else np.zeros(0)
        about = {"generator": name, "source": material.source.get(name, ""), "n": len(fakes), "few": 0 < len(fakes) < FEW}
        found, same = (against(p_real, fakes, **at) for p_real in (p_test[~is_fake], p_encoded))
        numbers = columns({short: found.get(long, Interval(None)) for short, long in MEASURES.items()})
        numbers["auc_same_encoder"] = same.get("roc_auc", Interval(None)).value
        rows.append(about | {"training": fold if fold in KINDS else JOINED, "fold": fold} | numbers | shared)
    return rows


def against(p_real: np.ndarray, fakes: np.ndarray, *, threshold: float) -> dict[str, Interval]:
    """Return every metric of fake images beside real ones; none where there are no fakes."""
    is_fake = np.repeat([False, True], [len(p_real), len(fakes)])
    return all_metrics(is_fake, np.concatenate([p_real, fakes]), threshold=threshold) if len(fakes) else {}


def columns(found: dict[str, Interval]) -> dict[str, float | None]:
    """Return each interval as three columns."""
    ends = {"": "value", "_low": "low", "_high": "high"}
    return {f"{name}{end}": getattr(interval, key) for name, interval in found.items() for end, key in ends.items()}


def overall(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and minimum over generators, each counting alike, what joining the others changes, and what CIFAKE pays."""
    kinds = {kind: {row["generator"]: row for row in rows if row["training"] == kind} for kind in (AS_IS, ALONE, JOINED)}
    names, found = sorted(kinds[JOINED]), {}

    def spread(values: list[float]) -> dict[str, Any]:
        return {"mean": float(np.mean(values)), "min": min(values), "lowest": names[int(np.argmin(values))]}

    for kind, by_name in kinds.items():
        found[kind] = {key: spread([by_name[name][key] for name in names]) for key in (*MEASURES, "auc_same_encoder")}
        added = [kinds[JOINED][name]["auc"] - by_name[name]["auc"] for name in names]
        found[kind]["auc_added_by_joining"] = spread(added) | {"n_better": sum(change > 0 for change in added)}
    shared = list(rows[0])[list(rows[0]).index("test_accuracy") :]
    whole = {row["fold"]: {key: row[key] for key in shared} for row in rows if row["fold"] in KINDS}
    return {"n_generators": len(names), "generators": found, "cifake": whole}


if __name__ == "__main__":
    main()
