"""A run's card: what the detector was trained on, how its logits become verdicts, and for which images; fitted on validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fauxto import config as configs
from fauxto.calibration import fit_temperature, needed_per_class, operating_points, to_p_fake, unsure_band
from fauxto.data.loaders import squares
from fauxto.data.splits import Positions, fingerprint
from fauxto.runs import environment_record
from fauxto.scope import MIN_SIZE, NEEDED, fit_statistics
from fauxto.training.processes import device_name

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from fauxto.config import TrainConfig
    from fauxto.data.splits import Split
    from fauxto.data.store import Store
    from fauxto.preprocess import PreprocessSpec
    from fauxto.training.state import Position

THRESHOLD = 0.5
ALPHA = 0.015  # highest share of wrong verdicts in each class; outside of it the detector says "unsure"
STABLE_UNDER = ["jpeg-90"]  # a save that nobody sees: a verdict that it turns round was none
N_SAMPLED = 5000  # images of each part; more do not move twelve means
_SAMPLED_PIXELS = 2**26


class Run(Protocol):
    """What a card tells of a run: the loop of a network, or the training of a head."""

    store: Store
    split: Split
    spec: PreprocessSpec
    config: TrainConfig
    fabric: Fabric
    ancestors: dict[str, Any]
    parts: Mapping[str, Mapping[str, Any]]


def make_card(run: Run, position: Position, logits: np.ndarray, *, name: str, note: str, model: dict[str, Any]) -> dict[str, Any]:
    """Return the card, all but its format and checksums; what too few validation images can't say is left out.

    Args:
        run: The finished run.
        position: Where it ended.
        logits: The network's answers on the validation part.
        name: The detector's name.
        note: A sentence about the data.
        model: The network's name and what it is built from.
    """
    is_fake, n_validation = run.store.is_fake[run.split.validation], len(run.split.validation)
    temperature = fit_temperature(is_fake, logits)
    p_fake = to_p_fake(logits, temperature=temperature)
    return {
        "name": name,
        "model": model,
        "trained_on": _trained_on(run, position, note),
        "preprocessing": run.spec.to_dict(),
        "calibration": {"method": "temperature", "temperature": temperature, "fitted_on": f"{n_validation} validation images"},
        "threshold": THRESHOLD,
        **_operating_points(is_fake, p_fake),
        **_unsure(is_fake, p_fake),
        "scope": _sides(run) | _statistics(run) | {"stable_under": STABLE_UNDER},
        "metrics": {"validation_accuracy": float(np.mean((p_fake >= THRESHOLD) == is_fake))},
        "environment": environment_record() | {"device": device_name(run.fabric)},
    }


def _trained_on(run: Run, position: Position, note: str) -> dict[str, Any]:
    store, split = run.store, run.split
    return (
        {
            "store": store.folder.name,
            "note": _with_notes_before(note, run.ancestors),
            "n_train": len(split.train),
            "n_validation": len(split.validation),
            "pixels": fingerprint(store, np.arange(len(store))),
            "test_part": fingerprint(store, split.test),
            "generators": sorted({store.records[at].generator for at in split.train} - {""}),
            "best_epoch": position.best_epoch,
            "config": configs.to_dict(run.config),
        }
        | (
            {"parts": {name: dict(part) | ({} if name else {"note": note}) for name, part in run.parts.items()}}
            if run.parts
            else {}
        )
        | run.ancestors
    )


def _with_notes_before(note: str, ancestors: dict[str, Any]) -> str:
    """What must be said of the data that a detector comes from, such as that they are simulated, stays true of it."""
    for ancestor in ancestors.values():
        before = str(ancestor["trained_on"].get("note", ""))
        note = note if before in note else "; before that: ".join(filter(None, (note, before)))
    return note


def _operating_points(is_fake: np.ndarray, p_fake: np.ndarray) -> dict[str, Any]:
    points = operating_points(is_fake, p_fake)
    if not points:
        return {}
    n_real, n_fake = int((~is_fake).sum()), int(is_fake.sum())
    said = f"the {n_real} real and {n_fake} fake validation images that also chose the thresholds; 95 % intervals (Wilson)"
    return {"operating_points": {**points, "measured_on": said}}


def _unsure(is_fake: np.ndarray, p_fake: np.ndarray) -> dict[str, Any]:
    """Below the number that the guarantee needs, every image would be unsure, and the threshold alone says more."""
    if min(int(is_fake.sum()), int((~is_fake).sum())) < needed_per_class(ALPHA):
        return {}
    low, high = unsure_band(is_fake, p_fake, alpha=ALPHA, threshold=THRESHOLD)
    guarantee = (
        f"Of images like the validation images, at most {100 * ALPHA:g} % of the real ones and at most {100 * ALPHA:g} % of the "
        "fake ones get a wrong verdict; on average over validation sets of this size."
    )
    method = "class-conditional split conformal"
    return {"unsure": {"method": method, "alpha": ALPHA, "low": low, "high": high, "guarantee": guarantee}}


def _sides(run: Run) -> dict[str, int]:
    """An image far from the training images' size is out of scope: the answer is then "unsure"."""
    sides = np.concatenate([run.store.height[run.split.train], run.store.width[run.split.train]])
    return {"min_side": int(sides.min()) // 2, "max_side": int(sides.max()) * 2}


def _statistics(run: Run) -> dict[str, Any]:
    parts = run.split.train, run.split.validation
    if run.spec.size < MIN_SIZE or min(map(len, parts)) < NEEDED:
        return {}
    train, validation = (squares(run.store, sampled(part, run.config.seed, size=run.spec.size), run.spec) for part in parts)
    perturbed = run.config.perturb_share > 0
    return {"statistics": fit_statistics(train, validation, perturbed=perturbed, seed=run.config.seed)}


def sampled(positions: Positions, seed: int, *, size: int) -> Positions:
    """Return at most ``N_SAMPLED`` of the positions, fewer of large images, drawn without replacement and sorted."""
    n = min(N_SAMPLED, max(NEEDED, _SAMPLED_PIXELS // size**2))
    if len(positions) <= n:
        return positions
    return np.sort(np.random.default_rng(seed).choice(positions, n, replace=False))
