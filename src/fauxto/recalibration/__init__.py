"""A detector for other images, from a few of them: ``fauxto calibrate DETECTOR --data MINE --out NEW_DETECTOR``.

The network stays as it is. What changes is how its logits become probabilities, and the thresholds that hang on these.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fauxto.calibration import MAX_BIAS, POINTS, log_odds, needed_per_class, operating_points, to_p_fake, unsure_band
from fauxto.checkpoint import WEIGHTS, models_of, write_card
from fauxto.detector import Detector
from fauxto.errors import ScoreError
from fauxto.metrics import Interval, confusion, wilson
from fauxto.recalibration.platt import MIN_SLOPE, fit_platt
from fauxto.recalibration.prior import check_prior, prior_shift, share_interval
from fauxto.runs import whole_folder
from fauxto.tiles import tile_card, with_tile_rules
from fauxto.verdicts import MEASURED_ON, VerdictRule, points_of
from fauxto.vocabulary import OVER_ONE

THRESHOLD = 0.5
CALIBRATED = "-calibrated"
ENOUGH = 100  # images of a class; below, what is measured on them is warned of
# From this many times 1 / target photographs on, a new threshold replaces the card's.
PER_FALSE_ALARM = 3
MAX_HASHES = 5000


@dataclass(frozen=True)
class Sample:
    """The user's own images, as a detector sees them.

    Attributes:
        logit: Float, shape (n,).
        is_fake: Bool, shape (n,); None where nobody knows.
        pixel_hash: Of each image, as in ``Store``; kept on the card, so that a later evaluation can tell these images.
        data: Where they came from, in words.
        left_out: Reason -> how many of the user's images are not among these.
        caveats: Each a sentence that the user must read.
        over_tiles: They are large, and were answered over tiles.
    """

    logit: np.ndarray
    is_fake: np.ndarray | None
    pixel_hash: tuple[str, ...]
    data: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    over_tiles: bool = False


@dataclass(frozen=True)
class Recalibration:
    """A new card, and what the user must know of it.

    Attributes:
        card: The detector's, with calibration, threshold, unsure range and operating points replaced.
        share: Share of fakes that p_fake now stands for; with an interval where it was estimated.
        false_alarm_rate: Of the sample's photographs at the new threshold, with Wilson's interval; None without labels.
        warnings: Each a sentence.
        over_tiles: The sample's images were answered over tiles, and what is new are the rules for these.
    """

    card: dict[str, Any]
    share: Interval
    false_alarm_rate: Interval | None
    warnings: tuple[str, ...]
    over_tiles: bool = False

    @property
    def rules(self) -> dict[str, Any]:
        """The card as it holds for images like the sample's."""
        return tile_card(self.card) if self.over_tiles else self.card


def recalibrate(detector: Detector, sample: Sample | None, *, prevalence: float | None = None, date: str = "") -> Recalibration:
    """Return the card of the same network, calibrated for other images.

    With labels, temperature and bias are fitted (``platt.fit_platt``). Without, the share of fakes is estimated and everything
    else is taken on trust (``prior.estimated_share``). Without a sample, only the share is set. Images that are answered over
    tiles make new rules for these, and leave those for small images alone; the share alone is set for both.

    Args:
        detector: Which network.
        sample: The user's own images; None with a prevalence alone.
        prevalence: Share of fakes that p_fake is to stand for, in (0, 1); with labels, that of the card by default.
        date: When, in ISO 8601.

    Raises:
        ScoreError: There is neither a sample nor a prevalence; or a prevalence and images without labels, which would only
            estimate it; or one that is impossible, or too close to 0 or 1 for a card; or a sample of one class, or without labels
            one that tells nothing.
    """
    if sample is not None and sample.over_tiles:
        made = _recalibrated(detector.over_tiles, sample, prevalence, date)
        card = {key: value for key, value in detector.card.items() if key not in ("format", "sha256")}
        return replace(made, card=with_tile_rules(card | {"name": made.card["name"]}, made.card), over_tiles=True)
    made = _recalibrated(detector, sample, prevalence, date)
    if sample is None and detector.tiles:
        large = _recalibrated(detector.over_tiles, None, prevalence, date)
        return replace(made, card=with_tile_rules(made.card, large.card))
    return made


def _recalibrated(detector: Detector, sample: Sample | None, prevalence: float | None, date: str) -> Recalibration:
    old = dict(detector.card["calibration"])
    old_share = float(old.get("prevalence", 0.5))
    check_prior(old_share if prevalence is None else prevalence)
    if sample is None:
        if prevalence is None:
            raise ScoreError("nothing to calibrate with: give images (--data) or the share of fakes (--prevalence)")
        share, method, slope, bias = Interval(prevalence), "prior set by the user", 1.0, 0.0
    elif sample.is_fake is None:
        if prevalence is not None:
            raise ScoreError("images without labels only tell the share of fakes: give them or --prevalence, not both")
        share = _estimated(detector, sample, old_share)
        method, slope, bias = "prior shift, expectation-maximisation (Saerens et al. 2002)", 1.0, 0.0
    else:
        balanced = log_odds(detector.p_fake(sample.logit)) - prior_shift(0.5, old_share)
        slope, bias = fit_platt(sample.is_fake, balanced)
        share = Interval(old_share if prevalence is None else prevalence)
        method = "temperature and bias (Platt 1999)" if slope != 1 else "bias"
    stands_for = _inside(share.value) if prevalence is None else prevalence
    new = _affine(detector, slope, bias, old_share, stands_for)
    new |= {"method": method, "prevalence": stands_for, "date": date, "replaced": _short(old)}
    new |= {"fitted_on": _fitted_on(sample), "sample": _about(sample)} if sample else {"fitted_on": "no image"}
    card = _new_card(detector, sample, new)
    return Recalibration(card, share, _false_alarms(card, sample), _warnings(sample, slope, share))


def write_detector(detector: Detector, card: Mapping[str, Any], folder: Path) -> None:
    """Write a detector folder with another card: the same models and weights, new checksums of them.

    Raises:
        UsageError: The folder exists.
        DetectorError: The model is not the one that its card describes, or is missing.
        DiskFullError: There was no room.
    """
    from fauxto.checkpoint import verified

    with whole_folder(folder) as private:
        for name in models_of(detector.card):
            shutil.copyfile(verified(detector.folder, detector.card, name), private / name)
        if (detector.folder / WEIGHTS).exists():
            shutil.copyfile(verified(detector.folder, detector.card, WEIGHTS), private / WEIGHTS)
        write_card(private, card)


def _affine(detector: Detector, slope: float, bias: float, old_share: float, share: float) -> dict[str, Any]:
    """Return temperature and bias of: old log-odds for equal classes, mended, then for the new share."""
    to_half = prior_shift(old_share, 0.5)
    new_bias = slope * (detector.bias + to_half) + bias + prior_shift(0.5, share)
    if abs(new_bias) > MAX_BIAS:
        raise ScoreError(
            f"with {share:.3g} as the share of fakes the log-odds of all answers would move by {new_bias:.0f}, a card holds at "
            f"most {MAX_BIAS:g}: give a share less close to 0 or 1 (--prevalence), or begin with the detector as it was trained"
        )
    return {"temperature": detector.temperature / slope, "bias": new_bias, "certain_logit": detector.certain_logit}


def _estimated(detector: Detector, sample: Sample, old_share: float) -> Interval:
    share = share_interval(detector.p_fake(sample.logit), prior=old_share)
    if share.low == 0 and share.high == 1:
        raise ScoreError(
            f"of these {sample.logit.size} images anything from 0 to 100 % may be fake, as far as the answers tell: give more of "
            "them, or the share itself (--prevalence)"
        )
    return share


def _inside(share: float | None) -> float:
    """Keep an estimate of 0 or 1 from making every answer certain: it is no more than the images can say."""
    return min(max(share or 0.0, 1e-4), 1 - 1e-4)


def _short(old: Mapping[str, Any]) -> dict[str, Any]:
    """The calibration that was replaced, without its sample and without what that one had replaced."""
    return {key: value for key, value in old.items() if key not in ("sample", "replaced")}


def _fitted_on(sample: Sample) -> str:
    if sample.is_fake is None:
        return f"{sample.logit.size} unlabelled images"
    return f"{int((~sample.is_fake).sum())} real and {int(sample.is_fake.sum())} fake images of the user"


def _about(sample: Sample) -> dict[str, Any]:
    hashes = sorted({each[:16] for each in sample.pixel_hash})
    about: dict[str, Any] = {"data": sample.data, "n": int(sample.logit.size), "left_out": dict(sample.left_out)}
    if sample.is_fake is not None:
        about |= {"n_real": int((~sample.is_fake).sum()), "n_fake": int(sample.is_fake.sum())}
    return about | {"pixel_hashes": hashes if len(hashes) <= MAX_HASHES else [], "n_distinct": len(hashes)}


def _new_card(detector: Detector, sample: Sample | None, new: dict[str, Any]) -> dict[str, Any]:
    card = {key: value for key, value in detector.card.items() if key not in ("format", "sha256")}
    moved = _Moved(detector, new)
    card |= {"calibration": new, "threshold": THRESHOLD, "name": str(card["name"]).removesuffix(CALIBRATED) + CALIBRATED}
    if "metrics" in card:  # they were measured with the calibration that is replaced
        card["metrics_before_calibration"] = card.pop("metrics")
    labelled = sample if sample is not None and sample.is_fake is not None else None
    points = _points(detector, labelled, moved)
    card.pop("operating_points", None)
    return card | ({"operating_points": points} if points else {}) | _band(detector, labelled, moved)


class _Moved:
    """Where a probability of the old calibration lies in the new one: the same logit, so that no image changes sides."""

    def __init__(self, detector: Detector, new: Mapping[str, Any]) -> None:
        self._old, self._new = detector, new

    def __call__(self, p_fake: float) -> float:
        if p_fake <= 0 or p_fake >= 1:
            return min(max(p_fake, 0.0), OVER_ONE)
        logit = self._old.temperature * (log_odds(p_fake) - self._old.bias)
        return float(self.p_fake(np.array(logit)))

    def p_fake(self, logit: np.ndarray) -> np.ndarray:
        return to_p_fake(logit, temperature=self._new["temperature"], bias=self._new["bias"])


def _points(detector: Detector, sample: Sample | None, moved: _Moved) -> dict[str, Any]:
    """The card's points at their old logits; where the sample has photographs enough, thresholds of its own."""
    old = {name: dict(point) | {"threshold": moved(point["threshold"])} for name, point in points_of(detector.card).items()}
    said = str(detector.card.get("operating_points", {}).get(MEASURED_ON, "validation images"))
    if sample is None or sample.is_fake is None:
        return {**old, MEASURED_ON: said} if old else {}
    n_real, n_fake = int((~sample.is_fake).sum()), int(sample.is_fake.sum())
    fresh = operating_points(sample.is_fake, moved.p_fake(sample.logit))
    fresh = {name: point for name, point in fresh.items() if n_real * POINTS[name] >= 100 * PER_FALSE_ALARM}
    kept = {name: point for name, point in old.items() if name not in fresh}
    words = [f"{', '.join(fresh)}: the {n_real} real and {n_fake} fake images that also calibrated the detector"] if fresh else []
    words += [f"{', '.join(kept)}, kept at the old logits: {said}"] if kept else []
    return {**kept, **fresh, MEASURED_ON: "; ".join(words)} if words else {}


def _band(detector: Detector, sample: Sample | None, moved: _Moved) -> dict[str, Any]:
    """A new unsure range where the sample is large enough for the card's promise, else the old one at its old logits."""
    old = detector.card.get("unsure")
    if not old:
        return {}
    alpha = float(old["alpha"])
    if sample is not None and sample.is_fake is not None:
        counts = int((~sample.is_fake).sum()), int(sample.is_fake.sum())
        if min(counts) >= needed_per_class(alpha):
            low, high = unsure_band(sample.is_fake, moved.p_fake(sample.logit), alpha=alpha, threshold=THRESHOLD)
            guarantee = (
                f"Of images like the {sum(counts)} that calibrated the detector, at most {100 * alpha:g} % of the real ones and "
                f"at most {100 * alpha:g} % of the fake ones get a wrong verdict; on average over samples of this size."
            )
            return {"unsure": dict(old) | {"low": low, "high": high, "guarantee": guarantee}}
    rule = VerdictRule.from_card(detector.card)
    # A wrong verdict needs a logit beyond the old range; the threshold lies elsewhere now, and the range reaches up to it.
    low, high = (moved(end) for end in (rule.low, rule.high))
    return {"unsure": dict(old) | {"low": min(low, THRESHOLD), "high": max(high, THRESHOLD)}}


def _false_alarms(card: Mapping[str, Any], sample: Sample | None) -> Interval | None:
    if sample is None or sample.is_fake is None:
        return None
    made = card["calibration"]
    p_fake = to_p_fake(sample.logit, temperature=made["temperature"], bias=made["bias"])
    counts = confusion(sample.is_fake, p_fake, threshold=card["threshold"])
    return wilson(counts.fp, counts.fp + counts.tn)


def _warnings(sample: Sample | None, slope: float, share: Interval) -> tuple[str, ...]:
    found = list(sample.caveats) if sample else []
    if sample is None or sample.is_fake is None:
        found.append("Only the share of fakes was changed; that these images are otherwise like the training images is assumed.")
        if sample is not None and (share.high or 1.0) - (share.low or 0.0) > 0.2:
            found.append(f"The sample is small for this: the share of fakes may lie anywhere from {_percent(share)}.")
        return tuple(found)
    n_real, n_fake = int((~sample.is_fake).sum()), int(sample.is_fake.sum())
    if min(n_real, n_fake) < ENOUGH:
        alarms = wilson(round(0.01 * n_real), n_real)
        found.append(
            f"The sample is small ({n_real} real, {n_fake} fake): even if only 1 in 100 photographs were called fake here, the "
            f"rate of false alarms on others could lie anywhere from {_percent(alarms)}. Give {ENOUGH} or more of each."
        )
    if slope <= MIN_SLOPE:
        found.append("On these images the detector's answers say nothing, or the opposite: calibration cannot mend that.")
    return tuple(found)


def _percent(interval: Interval) -> str:
    low, high = interval.low or 0.0, interval.high if interval.high is not None else math.nan
    return f"{100 * low:.1f} to {100 * high:.1f} %"
