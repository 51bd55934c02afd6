"""The package itself: what is visible, and that looking at it costs next to nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

import fauxto
from fauxto import detector, vocabulary

HEAVY = ("torch", "torchvision", "onnxruntime", "PIL", "numpy", "sklearn", "scipy", "matplotlib", "optuna", "rich")


def loaded_after(statement: str) -> set[str]:
    """Return which heavy packages a fresh Python has loaded after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return {name.split(".")[0] for name in done.stdout.split()} & set(HEAVY)


def test_import_is_light() -> None:
    assert loaded_after("import fauxto") == set()


def test_the_detector_needs_no_torch() -> None:
    # numpy and Pillow are what an image is made of; ONNX Runtime is loaded when the first image is asked about.
    assert loaded_after("from fauxto import Detector") == {"numpy", "PIL"}


def test_the_command_line_starts_light() -> None:
    assert loaded_after("import fauxto.cli") <= {"rich"}


def test_all_is_what_is_visible() -> None:
    assert fauxto.__all__ == ["Detector", "Label", "Prediction", "Verdict"]
    assert fauxto.Detector is detector.Detector
    assert [getattr(fauxto, name) for name in fauxto.__all__[1:]] == [vocabulary.Label, vocabulary.Prediction, vocabulary.Verdict]
    public = {name for name in vars(fauxto) if not name.startswith("_")} - set(fauxto.__all__)
    modules = {name for name in public if getattr(fauxto, name).__class__.__name__ == "module"}
    assert public - modules <= {"annotations", "TYPE_CHECKING", "Any"}


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'fauxto' has no attribute 'Detecter'"):
        fauxto.Detecter  # noqa: B018 - looking it up is the test


def test_the_version_is_the_installed_one() -> None:
    assert fauxto.__version__ == metadata.version("fauxto")
