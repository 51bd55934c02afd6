"""What a card says of answers over tiles: their calibration and range of unsure answers, from sources that were left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from frozen_features import FEW, Key, Sources
from tile_experts import MOST, SIDE, Pair

from fauxto.calibration import operating_points, to_p_fake, unsure_band
from fauxto.checkpoint import TILES_MODEL
from fauxto.recalibration.platt import fit_platt

RULE = "mean"  # its scale does not hang on how many tiles an image has, as those of the highest tiles do; here are 1 or 4
ALPHA, THRESHOLD = 0.05, 0.5
MEASURED_BY = "benchmarks/tile_model.py"
FITTED_ON = (
    "all sources of hires_dev.tar, which weigh the same from 30 images on; the finest traces are the detector's own; calibration "
    "and what follows on sources left out"
)

Scores = dict[Pair, np.ndarray]  # of all images


def section_of(by_change: dict[str, Scores], sources: Sources, aucs: dict[str, float]) -> dict[str, Any]:
    """Return the card's "tiles": calibrated on sources left out, 30 images of each in each pair, as they came and changed."""
    asked = [(name, pair, key) for name, scores in by_change.items() for pair in scores for key in sorted(pair)]
    logits = np.concatenate([by_change[name][pair][some_of(sources, key)] for name, pair, key in asked])
    is_fake = np.repeat([key[1] for *_, key in asked], FEW)
    slope, bias = fit_platt(is_fake, logits)
    p_fake = to_p_fake(logits, temperature=1 / slope, bias=bias)
    low, high = unsure_band(is_fake, p_fake, alpha=ALPHA, threshold=THRESHOLD)
    came, *changes = by_change
    where = (
        f"{len(by_change[came])} pairs of a source of fakes and one of photographs of hires_dev.tar, both left out of the "
        f"training, {FEW} images of each, {came} and changed in {len(changes)} ways ({'; '.join(changes)})"
    )
    wrong = np.where(is_fake, p_fake < low, p_fake >= high)
    is_unsure = (p_fake >= low) & (p_fake < high)
    unsure = {"method": "class-conditional split conformal", "alpha": ALPHA, "low": low, "high": high,
              "guarantee": guarantee_of(where, asked, wrong.reshape(-1, FEW).mean(axis=1))}  # fmt: skip
    calibration = {"method": "temperature and bias (Platt 1999)", "temperature": 1 / slope, "bias": bias, "fitted_on": where}
    recur = f"{where}; images recur from pair to pair and in each way, so that the intervals are too narrow"
    return {
        "side": SIDE, "most": MOST, "rule": RULE, "model": TILES_MODEL,
        "fitted_on": FITTED_ON,
        "calibration": calibration, "threshold": THRESHOLD, "unsure": unsure,
        "operating_points": {**operating_points(is_fake, p_fake), "measured_on": recur},
        "scope": {"min_side": SIDE, "max_side": 20000, "stable_under": []},
        "metrics": {"measured_by": MEASURED_BY, **aucs, **shares_of(is_fake, is_unsure, wrong, n_ways=len(by_change))},
    }  # fmt: skip


def shares_of(is_fake: np.ndarray, is_unsure: np.ndarray, wrong: np.ndarray, *, n_ways: int) -> dict[str, float]:
    """Return shares of verdicts: of all images, and of those that are as they came, which are the first."""
    found = {}
    for name, some in (("", slice(None)), ("_as_they_came", slice(len(is_fake) // n_ways))):
        right = ~is_unsure[some] & ~wrong[some]
        found[f"share_unsure{name}"] = float(is_unsure[some].mean())
        for kind, fake in (("fakes", True), ("photographs", False)):
            found[f"share_right_of_{kind}{name}"] = float(right[is_fake[some] == fake].mean())
    return found


def guarantee_of(where: str, asked: list[tuple[str, Pair, Key]], wrong: np.ndarray) -> str:
    """Return how often verdicts were wrong, on average and at worst, in words; each of ``asked`` stands for 30 verdicts."""
    of_source, of_way, of_both = (
        worst_of([(group, key[1]) for group, key in zip(groups, (key for *_, key in asked), strict=True)], wrong)
        for groups in ([key for *_, key in asked], [way for way, *_ in asked], [(way, key) for way, _, key in asked])
    )
    return (
        f"On {where}, at most {100 * ALPHA:g} % of each class got a wrong verdict, on average; of single sources up to "
        f"{of_source}, changed in single ways up to {of_way}, of a single source in a single way up to {of_both}. No promise for "
        "another source."
    )


def worst_of(groups: list[tuple[Any, bool]], wrong: np.ndarray) -> str:
    """Return the largest share of wrong verdicts of a group of photographs and of one of fakes, in words."""
    shares: dict[tuple[Any, bool], list[float]] = {}
    for group, share in zip(groups, wrong.tolist(), strict=True):
        shares.setdefault(group, []).append(share)
    real, fake = (max(float(np.mean(found)) for group, found in shares.items() if group[1] == kind) for kind in (False, True))
    return f"{100 * real:.0f} % of the photographs and {100 * fake:.0f} % of the fakes"


def some_of(sources: Sources, key: Key) -> np.ndarray:
    """Return 30 images of a source, evenly spread over its list."""
    images = sources.images(key)
    return images[np.linspace(0, len(images) - 1, FEW).astype(int)]
