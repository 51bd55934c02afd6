"""Where a run's first weights come from: chance, or a detector that was trained before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fauxto.checkpoint import WEIGHTS
from fauxto.config import TrainConfig, from_mapping
from fauxto.data.splits import Split, fingerprint, make_split
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.errors import UsageError
from fauxto.models import factory
from fauxto.networks import load_network
from fauxto.runs import sha256_of


def first_network(config: TrainConfig, init: str | Path | None) -> nn.Module:
    """Return the network that training begins with: a new one, or with ``init`` that detector's.

    Raises:
        DetectorError: There is no such detector, or it is damaged.
        UsageError: It holds another kind of network than the configuration asks for.
    """
    if init is None:
        return factory.build(config.model, **factory.options(config))
    network, card = load_network(Detector.load(init).folder)
    wanted = {"name": config.model, **factory.options(config)}
    if card["model"] != wanted:
        raise UsageError(f"{init} holds the network {card['model']}, the configuration asks for {wanted}: give the same for both")
    return network


def begun_from(init: str | Path | None, store: Store, split: Split) -> dict[str, Any] | None:
    """Return what a card says of the detector that training begins with; None where there is none.

    Raises:
        DetectorError: There is no such detector, or it is damaged.
        UsageError: It was trained on images that this run keeps for validation or testing.
    """
    if init is None:
        return None
    detector = Detector.load(init)
    before = detector.card["trained_on"]
    _check_unseen(before, store, split, init)
    told = {key: before[key] for key in ("config", "best_epoch", "n_train", "pixels", "begun_from") if key in before}
    return {"name": detector.card["name"], "weights": sha256_of(detector.folder / WEIGHTS), "trained_on": told}


def _check_unseen(before: dict[str, Any], store: Store, split: Split, init: str | Path) -> None:
    """On other data there is nothing to compare; of the same data, what was learned must not be asked again."""
    if before.get("pixels") != fingerprint(store, np.arange(len(store))):
        return
    learned = make_split(store, from_mapping(TrainConfig, before["config"])).train
    for part in ("validation", "test"):
        n_known = int(np.isin(getattr(split, part), learned).sum())
        if n_known:
            raise UsageError(
                f"{init} was trained on {n_known:,} of this run's {part} images, whose scores would be too good: take its "
                f"split and seed (--set split={before['config']['split']} --seed {before['config']['seed']}), or other data"
            )
