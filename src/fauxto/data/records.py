"""One line of a data set."""

from __future__ import annotations

from dataclasses import dataclass

from fauxto.vocabulary import Label


@dataclass(frozen=True)
class ImageRecord:
    """What is known of one image before it is decoded.

    Attributes:
        path: Place inside the source, with forward slashes; never absolute.
        label: Label.REAL or Label.FAKE.
        generator: What made it; empty for real images and where it is unknown.
        group: Images of one group never stand on two sides of a split; empty means that only equal pixels do.
        split: The source's own "train", "val" or "test"; empty if it has none.
    """

    path: str
    label: Label
    generator: str = ""
    group: str = ""
    split: str = ""
