"""Explanation: one image's map for one target, with all that a picture and a manifest say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fauxto.explain import pictures
from fauxto.runs import whole_folder, write_json
from fauxto.vocabulary import Label

METHOD = "Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391)"
TARGETS = {"fake": Label.FAKE, "real": Label.REAL}
NO_EVIDENCE = "no positive evidence for this target at this layer"


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where one image holds evidence for one target, and what the detector says of the image.

    Attributes:
        image: uint8, shape (h, w, 3), in the network's size, before the card's preprocessing; over tiles shrunk for the picture.
        map: float32, shape (h', w') as the layer gives it, in [0, 1]; 1 is the strongest evidence of this very map.
        peak: The map's maximum before it was scaled to 1; 0 where there is no positive evidence at all.
        target: "fake" or "real": the answer that the map speaks for.
        is_predicted_target: Nobody asked for a target, so that it is the predicted class.
        layer: Where in the network the map was taken.
        p_fake: Calibrated probability in [0, 1] that the image is AI-generated.
        logit: The network's raw answer; larger is more fake.
        verdict: As ``Detector.predict`` says it.
        detector: The detector's name and the first characters of its weights' checksum.
        source: The image's path, or empty.
        method: How the map was made.
    """

    image: np.ndarray
    map: np.ndarray
    peak: float
    target: str
    is_predicted_target: bool
    layer: str
    p_fake: float
    logit: float
    verdict: str
    detector: str = ""
    source: str = ""
    method: str = METHOD

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the map before enlargement."""
        return self.map.shape[0], self.map.shape[1]

    @property
    def note(self) -> str:
        """What to know about this map; empty if nothing."""
        return "" if self.peak > 0 else NO_EVIDENCE

    @property
    def caption(self) -> str:
        """The line that stands on every picture: map size, layer, target."""
        height, width = self.map_size
        chosen = " (the predicted class)" if self.is_predicted_target else ""
        return f"map {height}x{width}, layer {self.layer}, target {self.target}{chosen}"

    def upsampled(self) -> np.ndarray:
        """Return the map enlarged to the image: float32, shape (h, w), bilinear, in [0, 1]."""
        return pictures.enlarged(self.map, height=self.image.shape[0], width=self.image.shape[1])

    def overlay(self) -> Image.Image:
        """Return the picture: image, overlay and colour bar, with the answer above and the caption below."""
        headline = f"p_fake {self.p_fake:.3f}, verdict {self.verdict}"
        return pictures.picture(self.image, self.map, headline=headline, caption=self.caption, note=self.note)

    def to_dict(self) -> dict[str, object]:
        """Return everything but the arrays, ready for JSON."""
        names = ("target", "is_predicted_target", "layer", "p_fake", "logit", "verdict", "peak", "note", "detector", "source")
        return {"method": self.method, "map_size": list(self.map_size), **{name: getattr(self, name) for name in names}}

    def save(self, folder: str | Path) -> Path:
        """Write ``map.npy``, ``overlay.png`` and ``manifest.json`` into a new folder, all of them or nothing.

        Raises:
            UsageError: The folder exists.
            DiskFullError: There was no room; nothing is left behind.
        """
        with whole_folder(Path(folder)) as inside:
            np.save(inside / "map.npy", self.map)
            self.overlay().save(inside / "overlay.png")
            write_json(inside / "manifest.json", {**self.to_dict(), "files": ["map.npy", "overlay.png"]})
        return Path(folder)


def scaled(raw: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a map's positive part divided by its maximum, and that maximum; all zero where nothing is positive.

    Example:
        >>> scaled(np.array([[-1.0, 1.0], [2.0, 0.0]]))[0].tolist()
        [[0.0, 0.5], [1.0, 0.0]]
    """
    positive = np.maximum(raw, 0).astype(np.float32)
    peak = float(positive.max())
    return (positive / np.float32(peak) if peak > 0 else positive), peak
