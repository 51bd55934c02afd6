"""What a forge is asked for: everything that decides its images, and so may not change when it goes on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from fauxto.errors import ConfigError
from fauxto.mapping import bounded, checked_values
from fauxto.perturb import steps

CODECS = {"jpeg": (".jpg", "JPEG", {"subsampling": 2}), "jpeg444": (".jpg", "JPEG", {"subsampling": 0}),
          "webp": (".webp", "WEBP", {"method": 4})}  # fmt: skip


@dataclass(frozen=True)
class ForgeSettings:
    """What decides the images of a forge.

    Attributes:
        recipe: Table of members.
        size: Height and width of all images, pixels: a power of two.
        fit: How a larger photograph comes to that size: "crop" cuts at native resolution, "shrink" resizes.
        crops: Crops of one larger photograph, at most.
        limit: Real images at most; 0 takes all.
        align: What reconstructions are given of their originals before they are saved: "none", or "spectrum", so that
            sharpness does not tell them apart.
        encode: How every image is saved, real or fake: "png", or a codec with its quality such as "jpeg-75".
        seed: Decides the crops, all weights and all samples.

    Example:
        >>> ForgeSettings(encode="jpeg-75").size
        32
    """

    recipe: Literal["quick", "full", "guided", "patient"] = "quick"
    size: Literal[16, 32, 64, 128, 256] = 32
    fit: Literal["crop", "shrink"] = "crop"
    crops: int = bounded(1, low=1, high=1000)
    limit: int = bounded(0, low=0)
    align: Literal["none", "spectrum"] = "none"
    encode: str = "png"
    seed: int = bounded(0, low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        checked_values(type(self), dataclasses.asdict(self))
        codec_of(self.encode)


def codec_of(encode: str) -> tuple[str, str, dict[str, int]]:
    """Return suffix, Pillow's format and its options for the name of an encoding.

    Raises:
        ConfigError: No such encoding.

    Example:
        >>> codec_of("jpeg-75")
        ('.jpg', 'JPEG', {'subsampling': 2, 'quality': 75})
    """
    if encode == "png":
        return ".png", "PNG", {}
    kind = encode.partition("-")[0]
    if kind not in CODECS or "+" in encode:
        raise ConfigError(
            f"images cannot be saved as {encode!r}: write png, or {', '.join(CODECS)} with a quality, as in jpeg-75"
        )
    ((_, quality),) = steps(encode)
    suffix, file_format, options = CODECS[kind]
    return suffix, file_format, {**options, "quality": int(quality)}
