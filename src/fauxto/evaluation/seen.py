"""Which images a detector may have been trained on, as far as its card tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fauxto.checkpoint import trainings
from fauxto.data.splits import fingerprint
from fauxto.data.store import Store

SEEN = "If they hold images of its training set all the same, "


def training_on(card: Mapping[str, Any], store: Store) -> Mapping[str, Any] | None:
    """Return the training on these images, whatever they are packed in: the detector's own, or of one that it began with.

    Where they were trained on beside others, it is what the card says of these alone (``data.joined``). A card knows its data as
    a whole. A part of them, or these with an image more, is not recognised: None, as for other data.
    """
    told = list(trainings(card))
    by_name = next((about for about in told if about.get("store") == store.folder.name), None)
    if by_name is not None or not told:
        return by_name
    pixels = fingerprint(store, np.arange(len(store)))
    return next((about for about in told if about.get("pixels") == pixels), None)


def was_guest(about: Mapping[str, Any]) -> bool:
    """Tell whether data joined the training beside the main ones: then the card does not say how they were divided."""
    return "divided" in about


def may_be_seen(
    card: Mapping[str, Any], store: Store, *, what: str = "These", then: str = "these numbers are too good"
) -> list[str]:
    """Say of other data than those of the training that nobody knows whether they hold a part of these.

    Args:
        card: The detector's.
        store: Images that it is asked about.
        what: How the sentence calls these images.
        then: What is wrong if it was trained on some of them.

    Returns:
        One sentence, or none where the data are those of the training and are split as they were there.
    """
    about = training_on(card, store)
    if about is not None and was_guest(about):
        return [f"{what} joined the detector's training beside its main data: but for a test part of their own, {then}."]
    if about is not None:
        return []
    return [f"{what} are not the data that the detector was trained on, as far as their content key tells. {SEEN}{then}."]
