"""A head on frozen features: ``fauxto train --backbone timm:resnet50.a1_in1k --data DIR --out RUN``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from fauxto.checkpoint import MODEL, WEIGHTS, save_tensors, write_card
from fauxto.config import TrainConfig
from fauxto.data.joined import Joined
from fauxto.data.splits import Split
from fauxto.data.store import Store
from fauxto.errors import ConfigError
from fauxto.export import export_grafted, export_onnx
from fauxto.models.backbones import Backbone, FrozenNet, open_backbone
from fauxto.models.factory import preprocess_spec
from fauxto.models.grafting import Extractor, Layers, answers
from fauxto.preprocess import PreprocessSpec
from fauxto.runs import sweep_parts, write_text
from fauxto.training.card import make_card
from fauxto.training.features import FeatureMaker
from fauxto.training.folder import open_run
from fauxto.training.heads import Examples, fit_head, weights_of
from fauxto.training.logs import EpochBar
from fauxto.training.processes import open_fabric
from fauxto.training.state import Position

STRENGTHS = "strengths.csv"


@dataclass
class HeadRun:
    """What a card tells of the training of a head (``training.card.Run``), and how much each training image counts, (n,)."""

    fabric: Fabric
    store: Store
    split: Split
    spec: PreprocessSpec
    config: TrainConfig
    ancestors: dict[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weight: np.ndarray | None = None


def train_head(
    store: Store,
    split: Split,
    config: TrainConfig,
    folder: Path,
    *,
    data: Joined | None = None,
    resume: bool = False,
    shown: bool = True,
    name: str = "",
    note: str = "",
) -> Path:
    """Train a head on a backbone's features.

    A run that is resumed takes from the cache what was computed before, and does the rest of its seconds again.

    Args:
        store: Decoded images.
        split: How they are divided.
        config: As for ``training.train``, and so are all that follow but ``data``.
        folder: The run's.
        data: Where guests joined the store, whose training images count as they say; None without.
        resume: Go on with an interrupted run.
        shown: Show progress.
        name: The detector's.
        note: About the data.

    Returns:
        The detector folder.

    Raises:
        ConfigError: There is no such backbone, or several processes were asked for.
        MissingExtraError: timm or open_clip is not installed.
        NetworkError: The weights cannot be fetched.
        UsageError, DataError, TrainingError, DiskFullError: As for ``training.train``.
    """
    weight = data.wanted(split) if data else None
    backbone = open_backbone(config)
    fabric = open_fabric(config)
    if fabric.world_size > 1:
        raise ConfigError("a head on a frozen backbone is trained by one process: leave n_devices out")
    open_run(fabric, folder, store, split, config, resume=resume)
    # The card goes to strangers, who need not know where the file lay.
    told = replace(config, backbone=backbone.name)
    parts = data.parts if data else {}
    run = HeadRun(fabric, store, split, preprocess_spec(config, base=backbone.spec), told, parts=parts, weight=weight)
    bar = EpochBar(shown=shown)
    maker = FeatureMaker(store, backbone, run.spec, config, fabric.device)
    layers, logits = _head(maker, run, folder, bar)
    _write_detector(run, backbone, layers, logits, folder / "detector", name=name or folder.resolve().name, note=note)
    bar.say(f"detector written to {folder / 'detector'}")
    return folder / "detector"


def _head(maker: FeatureMaker, run: HeadRun, folder: Path, bar: EpochBar) -> tuple[Layers, np.ndarray]:
    """Return the head and its answers on the validation part."""
    train, validation, config = run.split.train, run.split.validation, run.config
    views = [
        maker.features(train, bar, title=f"features, view {view + 1}/{config.views}", view=view) for view in range(config.views)
    ]
    seen = maker.features(validation, bar, title="features of the validation part")
    is_fake, weight = (np.tile(column, config.views) for column in (run.store.is_fake[train], _weights(run)))
    learned = Examples(np.concatenate(views), is_fake, weight)
    judging = Examples(seen, run.store.is_fake[validation], weights_of(run.store, validation, balanced=config.balanced))
    layers, rows = fit_head(config.head, learned, judging, seed=config.seed)
    _write_rows(folder / STRENGTHS, rows)
    best = min(rows, key=lambda row: row["validation_loss"])
    bar.say(f"strength {best['strength']:g}  loss {best['train_loss']:.4f}  validation loss {best['validation_loss']:.4f}")
    return layers, answers(layers, seen)


def _weights(run: HeadRun) -> np.ndarray:
    """Return how much each training image counts: 1 on average."""
    if run.weight is None:
        return weights_of(run.store, run.split.train, balanced=run.config.balanced)
    return run.weight / np.mean(run.weight)  # type: ignore[no-any-return]


def _write_rows(path: Path, rows: list[dict[str, float]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _write_detector(
    run: HeadRun, backbone: Backbone, layers: Layers, logits: np.ndarray, folder: Path, *, name: str, note: str
) -> None:
    """Write the graph of backbone and head, the head's weights, and, last, the card."""
    sweep_parts(folder)
    save_tensors(folder / WEIGHTS, {f"head.{at}.{key}": value for at, layer in enumerate(layers) for key, value in _named(layer)})
    if isinstance(backbone.network, Extractor):
        export_grafted(backbone.network, layers, run.spec, folder / MODEL)
    else:
        network = FrozenNet(backbone.network.cpu(), layers, has_map=backbone.has_map).eval()
        export_onnx(network, run.spec, folder / MODEL)
    pool = {"pool": run.config.pool} if isinstance(backbone.network, Extractor) else {}
    model = {"name": run.config.model, "head": run.config.head, **backbone.about(), **pool}
    position = Position(epoch=1, best_epoch=1, is_done=True)
    write_card(folder, make_card(run, position, logits, name=name, note=note, model=model))


def _named(layer: tuple[np.ndarray, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return list(zip(("weight", "bias"), layer, strict=True))
