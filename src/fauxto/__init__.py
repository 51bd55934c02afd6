"""fauxto tells photographs from AI-generated images.

Example:
    >>> import fauxto
    >>> "Detector" in fauxto.__all__
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fauxto.detector import Detector
    from fauxto.vocabulary import Label, Prediction, Verdict

__all__ = ["Detector", "Label", "Prediction", "Verdict"]
__version__ = "0.1.0"
_HOMES = {
    "Detector": "fauxto.detector",
    "Label": "fauxto.vocabulary",
    "Prediction": "fauxto.vocabulary",
    "Verdict": "fauxto.vocabulary",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import fauxto`` costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fauxto' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
