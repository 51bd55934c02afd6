"""Which perturbations ``fauxto evaluate --perturb`` goes through: the standard ones, longer ways, or names of one's own."""

from __future__ import annotations

from collections.abc import Iterable

from fauxto.errors import ConfigError
from fauxto.perturb import STANDARD, steps

# What several hands do to an image, one after the other.
CHAINS: tuple[str, ...] = (
    "resize-1.5+crop-0.95",  # a screenshot: shown larger, cut out roughly, saved without loss
    "resize-1.5+crop-0.95+jpeg-85",  # the same, saved as a phone saves it
    "jpeg-85+jpeg-60",  # saved twice
    "webp-80+jpeg-75",  # from a web page into a messenger
    "crop-0.9+contrast-1.25+jpeg-80",  # cut and brushed up, then uploaded
    "resize-0.75+jpeg-75+resize-0.75+jpeg-70",  # a messenger, and sent on through it
)
SUITES: dict[str, tuple[str, ...]] = {"standard": STANDARD + CHAINS}
# The severity that changes nothing; a codec has none.
NEUTRAL = {
    "blur": 0.0, "noise": 0.0, "resize": 1.0, "resize_any": 1.0, "crop": 1.0, "crop_any": 1.0,
    "brightness": 1.0, "contrast": 1.0, "saturation": 1.0,
}  # fmt: skip


def perturbations(words: Iterable[str]) -> tuple[str, ...]:
    """Return the names that words stand for, each once, in the order in which they came.

    Args:
        words: Each a perturbation's name, a suite's (``SUITES``), or several of these with commas between them.

    Raises:
        ConfigError: Nothing is named, or a name is impossible; the text says what is possible.

    Example:
        >>> perturbations(["jpeg-40,blur-0.6", "jpeg-40"])
        ('jpeg-40', 'blur-0.6')
        >>> len(perturbations(["standard"]))
        33
    """
    parts = [part.strip() for word in words for part in word.split(",") if part.strip()]
    if not parts:
        raise ConfigError("no perturbation is named: write 'standard', or names such as 'jpeg-40,blur-0.6'")
    names = [name for part in parts for name in SUITES.get(part, (part,))]
    for name in names:
        steps(name)
    return tuple(dict.fromkeys(names))
