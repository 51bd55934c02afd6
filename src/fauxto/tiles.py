"""TileRule: how a large image is answered over tiles of its own pixels, never shrunk, and how these become one logit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fauxto.checkpoint import MODEL, TILES_MODEL
from fauxto.errors import DetectorError, ScoreError
from fauxto.metrics import roc_auc

SIDE, MOST = 96, 64
ALIGN = 8  # corners lie on multiples of it, so that a tile keeps the grid of the codec that saved the image
MIN_SIDE, MAX_SIDE, MAX_TILES = 16, 1024, 1024
MAX_PIXELS = 2**22  # of all tiles of an image together: a card from a stranger must not make us work without end
# What the card's "tiles" may say otherwise than the card itself, for the images that are answered over tiles.
_OWN = ("calibration", "threshold", "unsure", "operating_points", "scope", "metrics")
_VERDICTS = ("threshold", "unsure", "operating_points")


def _highest(share: float) -> Callable[[np.ndarray], float]:
    return lambda logits: float(np.sort(logits)[-math.ceil(share * logits.size) :].mean())


def _middle_half(logits: np.ndarray) -> float:
    n_cut = logits.size // 4
    return float(np.sort(logits)[n_cut : logits.size - n_cut].mean())


# Name -> one logit out of an image's, at least one; ``choose_rule`` lets the first of equals win.
RULES: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda logits: float(logits.mean()),
    "median": lambda logits: float(np.median(logits)),
    "upper-half": _highest(1 / 2),
    "upper-quarter": _highest(1 / 4),
    "trimmed": _middle_half,
}


@dataclass(frozen=True)
class TileRule:
    """How a large image is answered over tiles.

    The cost has a ceiling: the network sees ``most`` tiles of an image of any size, with the defaults 0.6 megapixels.

    Attributes:
        side: Of a tile, in pixels; a multiple of 8.
        most: Tiles of an image at most.
        rule: How the tiles' logits become the image's: a key of ``RULES``.
        model: The file of the network that is asked about tiles: the detector's own, or "tiles.onnx" beside it.
    """

    side: int = SIDE
    most: int = MOST
    rule: str = "mean"
    model: str = MODEL

    @staticmethod
    def from_card(values: Mapping[str, Any]) -> TileRule:
        """Read the rule as a card holds it.

        Args:
            values: The card's "tiles".

        Raises:
            DetectorError: A value is missing, impossible, or would make an answer too expensive.

        Example:
            >>> TileRule.from_card({"side": 96, "most": 64, "rule": "mean", "fitted_on": "..."})
            TileRule(side=96, most=64, rule='mean', model='model.onnx')
        """
        try:
            side, most, rule = values["side"], values["most"], values["rule"]
        except (KeyError, TypeError) as error:
            raise DetectorError(f"the card's tiles lack a value ({error!r}): export the detector again") from error
        model = values.get("model", MODEL)
        if model not in (MODEL, TILES_MODEL):
            raise DetectorError(
                f"the card's tiles name the model {model!r}, not {MODEL} or {TILES_MODEL}: export the detector again"
            )
        is_whole = type(side) is int and type(most) is int
        if not (
            is_whole and MIN_SIDE <= side <= MAX_SIDE and not side % ALIGN and 1 <= most <= MAX_TILES
            and side**2 * most <= MAX_PIXELS and isinstance(rule, str) and rule in RULES
        ):  # fmt: skip
            raise DetectorError(
                f"the card's tiles are impossible (side {side!r}, most {most!r}, rule {rule!r}): expected a side from {MIN_SIDE} "
                f"to {MAX_SIDE} that is a multiple of {ALIGN}, 1 to {MAX_TILES} tiles of at most {MAX_PIXELS:,} pixels together, "
                f"and one of {', '.join(RULES)}: export the detector again"
            )
        return TileRule(side, most, rule, model)

    def lattice(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of tiles for an image of at least ``side`` pixels a side.

        As many as cover it, where these are not too many; else as many as there may be, in the image's own proportions.

        Example:
            >>> TileRule().lattice(96, 96), TileRule().lattice(256, 104), TileRule().lattice(3000, 4000)
            ((1, 1), (3, 2), (7, 9))
        """
        rows, columns = (math.ceil(length // ALIGN * ALIGN / self.side) for length in (height, width))
        if rows * columns <= self.most:
            return rows, columns
        n_down = min(max(round(math.sqrt(self.most * height / width)), 1), self.most, rows)
        n_across = min(self.most // n_down, columns)
        return min(self.most // n_across, rows), n_across

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return an image's tiles: uint8, shape (rows, columns, side, side, 3), its own pixels.

        They are spread evenly from edge to edge: apart in a large image; with as much overlap as needed to see all of a small
        one, but for at most 7 pixels at the right and the lower edge, since every corner is a multiple of 8.

        Args:
            image: uint8, shape (h, w, 3), at least ``side`` pixels a side.

        Example:
            >>> TileRule(side=16).cut(np.zeros((24, 56, 3), np.uint8)).shape
            (2, 4, 16, 16, 3)
        """
        n_down, n_across = self.lattice(*image.shape[:2])
        tops, lefts = _spread(image.shape[0], n_down, self.side), _spread(image.shape[1], n_across, self.side)
        return np.stack([[image[y : y + self.side, x : x + self.side] for x in lefts] for y in tops])


def aggregate(logits: np.ndarray, rule: str) -> float:
    """Return one logit out of an image's tiles'.

    Args:
        logits: Float, any shape with at least one value.
        rule: "mean", "median", "upper-half" or "upper-quarter" (the mean of the highest half or quarter, rounded up), or
            "trimmed" (the mean without the highest and the lowest quarter, rounded down).

    Example:
        >>> [aggregate(np.array([0.0, 1.0, 2.0, 9.0]), rule) for rule in RULES]
        [3.0, 1.5, 5.5, 9.0, 1.5]
    """
    return RULES[rule](np.asarray(logits, np.float64).ravel())


def choose_rule(tile_logits: Sequence[np.ndarray], is_fake: np.ndarray) -> str:
    """Return the rule whose logits rank validation images best, by ROC AUC; of equals the first in ``RULES``.

    Args:
        tile_logits: Per image the logits of its tiles, float, any shape with at least one value.
        is_fake: Bool, shape (n,).

    Raises:
        ScoreError: Another number of labels, or one class is missing.

    Example:
        >>> choose_rule([np.array([3.0, -3.0]), np.array([0.5, 0.5])], np.array([True, False]))
        'upper-half'
    """
    is_fake = np.asarray(is_fake)
    if len(tile_logits) != len(is_fake) or is_fake.all() or not is_fake.any():
        raise ScoreError(
            f"need the tiles of fake and of real images to choose a rule, got {int(is_fake.sum())} fake of {len(is_fake)} labels "
            f"for {len(tile_logits)} images"
        )
    found = {rule: _auc(is_fake, np.array([aggregate(each, rule) for each in tile_logits])) for rule in RULES}
    return max(found, key=lambda rule: found[rule])


def tile_card(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card as it holds for the images that are answered over tiles.

    What the card's "tiles" says of calibration, verdicts and scope takes the place of what the card says: the verdicts together
    (threshold, unsure range, operating points), so that no range of one scale meets the threshold of another. The statistics of
    familiar images are those of the network's squares, and are not asked.

    Example:
        >>> card = {"threshold": 0.5, "unsure": {}, "scope": {"min_side": 16}, "tiles": {"side": 96, "threshold": 0.7}}
        >>> tile_card(card)
        {'scope': {'min_side': 16}, 'tiles': {'side': 96}, 'threshold': 0.7}
    """
    tiles = card["tiles"]
    own = {key: tiles[key] for key in _OWN if key in tiles}
    replaced = set(_VERDICTS if "threshold" in own else ()) | set(own)
    kept = {key: value for key, value in card.items() if key not in replaced}
    scope = own.get("scope", card["scope"])
    own["scope"] = {key: scope[key] for key in scope if key != "statistics"} if isinstance(scope, Mapping) else scope
    return kept | {"tiles": {key: value for key, value in tiles.items() if key not in _OWN}} | own


def with_tile_rules(card: Mapping[str, Any], rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card whose "tiles" have the calibration and verdicts of another, which stands as ``tile_card`` returns it.

    What was measured with those that are replaced is kept under another name.

    Example:
        >>> with_tile_rules({"name": "x", "tiles": {"side": 96, "threshold": 0.7}}, {"threshold": 0.6, "calibration": {}})
        {'name': 'x', 'tiles': {'side': 96, 'calibration': {}, 'threshold': 0.6}}
    """
    names = ("calibration", *_VERDICTS)
    kept = {key: value for key, value in card["tiles"].items() if key not in names}
    if "metrics" in kept:
        kept["metrics_before_calibration"] = kept.pop("metrics")
    return {**card, "tiles": kept | {key: rules[key] for key in names if key in rules}}


def _spread(length: int, n_tiles: int, side: int) -> list[int]:
    """Return where the tiles begin along one axis; a single one lies in the middle."""
    free = length // ALIGN * ALIGN - side
    starts = [free // 2] if n_tiles == 1 else [free * at // (n_tiles - 1) for at in range(n_tiles)]
    return [start // ALIGN * ALIGN for start in starts]


def _auc(is_fake: np.ndarray, logits: np.ndarray) -> float:
    ranks = np.unique(logits, return_inverse=True)[1]  # AUC knows the order alone; a sigmoid would make equals of the largest
    return float(roc_auc(is_fake, ranks / ranks.size))
