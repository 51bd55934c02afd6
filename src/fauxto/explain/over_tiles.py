"""The map of an image that is answered over tiles: the tiles' own answers, on the image, for one target."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fauxto.detector import Detector
from fauxto.explain.explanation import Explanation, scaled
from fauxto.tiles import aggregate

METHOD = "answers of tiles at native pixels"
LAYER = "tiles"
SHOWN_SIDE = 640  # pixels of the longer side of the image in a picture


def explain_over_tiles(
    detector: Detector, image: np.ndarray, target: str | None, *, name: str = "", source: str = ""
) -> Explanation:
    """Return where an image's tiles speak for a target: how far each lies on its side of one half, in units of the logit.

    Args:
        detector: One that answers this image over tiles.
        image: uint8, shape (h, w, 3).
        target: "fake" or "real"; None takes the predicted class.
        name: The detector's, for the explanation.
        source: The image's path, likewise.

    Raises:
        UsageError: The image is not answered over tiles.
    """
    logits, rules = detector.tile_logits(image), detector.over_tiles
    (said,) = detector.predict([image], logits=[aggregate(logits, detector.tiles.rule if detector.tiles else "mean")])
    chosen = target or ("fake" if said.p_fake >= rules.threshold else "real")
    for_fake = logits + np.float32(rules.bias * rules.temperature)
    shown = Image.fromarray(image)
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BILINEAR)
    return Explanation(
        np.asarray(shown), *scaled(for_fake if chosen == "fake" else -for_fake), chosen, target is None, LAYER,
        said.p_fake, said.logit, said.verdict, name, source, METHOD,
    )  # fmt: skip
