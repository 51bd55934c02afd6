"""Which detectors are bundled, where a detector is found by its name, and which bundled one answers an image of a given size."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fauxto.checkpoint import CARD
from fauxto.errors import DetectorError

ASSETS = Path(str(resources.files("fauxto"))) / "assets"
DEFAULT = "cifake"  # used when none is named
GENERAL = "general"  # answers images that are too large for the other, where it is bundled
MAX_SMALL_SIDE = 64  # in pixels, of the longer side


def find(where: str | Path | None) -> Path:
    """Return the folder of a detector.

    Args:
        where: A detector folder, a run folder that holds one, or the name of a bundled one; None is the bundled default.

    Raises:
        DetectorError: None is bundled, or the path makes no sense; that nothing lies there is told by who reads the card.
    """
    if where is None:
        if not (ASSETS / DEFAULT / CARD).is_file():
            raise DetectorError(
                "no detector is bundled with this version: train one with 'fauxto train', "
                "then name its folder (--detector FOLDER)"
            )
        return ASSETS / DEFAULT
    if (ASSETS / str(where) / CARD).is_file() and not Path(where).exists():
        return ASSETS / str(where)
    try:
        folder = Path(where).expanduser()
    except RuntimeError as error:  # "~name" of a user that does not exist
        raise DetectorError(f"there is no detector at {where} ({error}): give a folder") from error
    inside = folder / "detector"
    return inside if (inside / CARD).is_file() and not (folder / CARD).is_file() else folder


def by_size() -> bool:
    """Return whether two detectors are bundled, so that an image's size decides which of them answers."""
    return all((ASSETS / name / CARD).is_file() for name in (DEFAULT, GENERAL))


def name_for(height: int, width: int) -> str:
    """Return the name of the bundled detector that answers an image of this size, where two are bundled.

    Example:
        >>> name_for(32, 64), name_for(32, 65)
        ('cifake', 'general')
    """
    return DEFAULT if max(height, width) <= MAX_SMALL_SIDE else GENERAL
