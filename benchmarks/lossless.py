"""False alarms on lossless real images beside those on the JPEG files of the same pictures; read by best_detector.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import record

from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.evaluation.answering import AS_THEY_ARE, Loose, answers
from fauxto.metrics import Interval

NOTE = (
    "The pictures stand in CIFAKE's train part: the networks were trained on the JPEG files of those that are not in a run's own "
    "validation part, so that their false alarms on those JPEG files are too few. The validation rows compare like with like. "
    "Saving every image as JPEG first was chosen by the validation pictures of seed 0, and its limit by all: development numbers."
)


def rows(detectors: dict[str, Detector], store: Store, file: Path) -> list[dict[str, Any]]:
    """Return false alarms on lossless real images beside those on the JPEG files of the same pictures."""
    with np.load(file, allow_pickle=False) as stored:
        pixels, at = stored["image"], np.array(record.order_of(store.path.tolist(), stored["cifake_path"].tolist()))
    alarms = {name: (alarm(one, pixels), alarm(one, store.batch(at))) for name, one in detectors.items()}
    splits = {name: record.split_of(one, store) for name, one in detectors.items()}
    parts = {"all pictures": {name: np.ones(len(at), bool) for name in detectors}}
    if all(splits.values()):
        parts["validation, never trained on"] = {name: np.isin(at, split.validation) for name, split in splits.items() if split}
        parts["trained on as JPEG"] = {name: np.isin(at, split.train) for name, split in splits.items() if split}
    groups = [*([name] for name in detectors), *([list(detectors)] if len(detectors) > 1 else [])]
    return [
        {"pictures": part, "runs": group} | alarm_ratio(*(np.stack([alarms[name][k] for name in group]) for k in (0, 1)),
                                                        np.stack([counted[name] for name in group]))
        for part, counted in parts.items() for group in groups
    ]  # fmt: skip


def alarm(detector: Detector, images: np.ndarray) -> np.ndarray:
    """Return which images are called fake at the card's threshold: bool, shape (n,)."""
    return answers(detector, Loose(images))[AS_THEY_ARE].called_fake


def alarm_ratio(
    lossless: np.ndarray, jpeg: np.ndarray, counted: np.ndarray, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Return both false alarm rates and their ratio, with a paired bootstrap over pictures.

    Args:
        lossless: Bool, shape (n_runs, n_pictures): called fake as a lossless image.
        jpeg: The same, as JPEG.
        counted: The same: whether the picture counts for the run.
        n_resamples: Sets of pictures drawn with replacement; a picture brings all runs and both its forms along.
        seed: Of the bootstrap.
    """
    used = counted.any(axis=0)
    lossless, jpeg, counted = (values[:, used] for values in (lossless & counted, jpeg & counted, counted))
    tops, bottoms, n = (values.sum(axis=0) for values in (lossless, jpeg, counted))
    rng = np.random.default_rng(seed)
    ratios = np.full(n_resamples, np.nan)
    for at in range(n_resamples):
        drawn = rng.integers(n.size, size=n.size)
        if bottoms[drawn].any():
            ratios[at] = tops[drawn].sum() / bottoms[drawn].sum()
    rates = {"lossless": float(tops.sum() / n.sum()), "jpeg": float(bottoms.sum() / n.sum())}
    changed = float((lossless != jpeg).sum() / n.sum())
    return {"n_answers": int(n.sum()), "rates": rates, "verdict_changes": changed, "ratio": record.plain(_ratio(rates, ratios))}


def _ratio(rates: dict[str, float], ratios: np.ndarray) -> Interval:
    if not rates["jpeg"]:
        return Interval(None, reason="there is no false alarm on the JPEG files")
    value = rates["lossless"] / rates["jpeg"]
    if np.isnan(ratios).mean() > 0.02:
        return Interval(value, reason="too few false alarms on the JPEG files for an interval")
    return Interval(value, *np.nanquantile(ratios, [0.025, 0.975]).tolist())
