"""What a run takes over from detectors that were trained before: one's weights, another's answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fauxto.checkpoint import LINES, WEIGHTS, trainings, verified
from fauxto.config import TrainConfig, from_mapping
from fauxto.data.joined import Share
from fauxto.data.splits import fingerprint, make_split
from fauxto.detector import Detector
from fauxto.errors import ConfigError, DetectorError, UsageError
from fauxto.evaluation.seen import was_guest
from fauxto.models import factory, nets
from fauxto.models.general import GeneralNet
from fauxto.networks import load_network
from fauxto.runs import sha256_of

_GROWN_FROM = {"routed": "evidence", "general": "routed"}  # a model -> what it goes on from
_SPLIT = ("split", "subset", "limit", "validation_share", "test_share")  # the keys that decide it
_TOLD = ("store", "note", "generators", "config", "best_epoch", "n_train", "pixels", "test_part", "parts", *LINES)


def first_network(config: TrainConfig, init: str | Path | None) -> nn.Module:
    """Return the network that training begins with: a new one, or with ``init`` that detector's.

    One that is "evidence" may become "routed", and that "general".

    Raises:
        DetectorError: There is no such detector, or it is damaged.
        UsageError: It holds another kind of network than the configuration asks for.
    """
    if init is None:
        if config.model in _GROWN_FROM:
            before = _GROWN_FROM[config.model]
            raise UsageError(f"model {config.model!r} goes on from a trained detector with model {before!r}: name it with --init")
        return factory.build(config.model, **factory.options(config))
    detector = Detector.load(init)
    network, card = load_network(detector.folder)
    wanted = {"name": config.model, **factory.options(config)}
    if (card["model"]["name"], config.model) == ("evidence", "routed"):
        return nets.RoutedNet(network)  # type: ignore[arg-type]
    if (card["model"]["name"], config.model) == ("routed", "general"):
        return GeneralNet(network, temperature=detector.temperature)  # type: ignore[arg-type]
    if card["model"] != wanted:
        raise UsageError(f"{init} holds the network {card['model']}, the configuration asks for {wanted}: give the same for both")
    return network


def ancestor(where: str | Path | None, *shares: Share) -> dict[str, Any] | None:
    """Return what a card says of a detector that this run takes over from; None where there is none.

    Args:
        where: The detector, as ``Detector.load`` takes it, or None.
        shares: The data sets of this run.

    Raises:
        DetectorError: There is no such detector, or it is damaged.
        UsageError: It, or one that it took over from itself, was trained on this very set of images, and on some that this run
            keeps for validation or testing. Of other sets nothing is known, not even of this one with an image more.
    """
    if where is None:
        return None
    detector = Detector.load(where)
    before = detector.card["trained_on"]
    for about in trainings(detector.card):
        for share in shares:
            _check_unseen(about, share, where)
    told = {key: before[key] for key in _TOLD if key in before}
    weights = sha256_of(verified(detector.folder, detector.card, WEIGHTS))
    # ``fauxto calibrate`` makes teachers of one network that answer otherwise; training itself calibrates in one way.
    anew = {"calibration": [detector.temperature, detector.bias]} if "bias" in detector.card["calibration"] else {}
    return {"name": detector.card["name"], "weights": weights, "trained_on": told} | anew


def _check_unseen(before: Mapping[str, Any], share: Share, where: str | Path) -> None:
    """On other data there is nothing to compare; of the same data, what was learned must not be asked again."""
    store, split, _ = share
    if before.get("store") != store.folder.name and before.get("pixels") != fingerprint(store, np.arange(len(store))):
        return
    if was_guest(before):
        _check_divided_alike(before, share, where)
        return
    try:
        config = from_mapping(TrainConfig, before["config"])
        was = make_split(store, config)
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DetectorError(
            f"the card of {where} does not say how its data were split ({error!r}): begin with another"
        ) from error
    if before.get("test_part") != fingerprint(store, was.test):
        raise UsageError(
            f"{where} was trained by a fauxto that splits these data otherwise: begin with another, or take other data"
        )
    for part in ("validation", "test"):
        n_known = int(np.isin(getattr(split, part), was.train).sum())
        if n_known:
            same = " ".join(f"--set {key}={getattr(config, key)}" for key in _SPLIT) + f" --set split_seed={config.drawn_by}"
            raise UsageError(
                f"{where} was trained on {n_known:,} of this run's {part} images, whose scores would be too good: "
                f"take its split ({same}), or other data"
            )


def _check_divided_alike(before: Mapping[str, Any], share: Share, where: str | Path) -> None:
    """A card does not say which of a guest's images trained, only whether they were divided in the same way."""
    n_asked = len(share.split.validation) + len(share.split.test)
    if n_asked and before["divided"] != share.told.get("divided"):
        raise UsageError(
            f"{where} was trained beside other data on some that this run validates or tests with ({n_asked:,} images), and they "
            "were divided otherwise: take the same --data, split and --leave-out as then, or other data"
        )
