"""Call the command line inside the test's own process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxto.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _no_data_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAUXTO_DATA", raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command line in this process; return exit code, stdout and stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["fauxto", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out = capsys.readouterr()
        return int(stopped.value.code or 0), out.out, out.err

    return call


@pytest.fixture
def images(image_folder: Path) -> tuple[Path, Path]:
    """A real and a fake image."""
    real, fake = (next(iter(sorted((image_folder / "test" / name).iterdir()))) for name in ("REAL", "FAKE"))
    return real, fake


@pytest.fixture
def simulated_folder(image_folder: Path, tmp_path: Path) -> Path:
    """A data set whose fakes say that they come from the embedded generator."""
    from fauxto.data.synthetic import GENERATOR

    folder = tmp_path / "simulated"
    folder.mkdir()
    lines = ["path,label,generator"]
    for label, generator in (("real", ""), ("fake", GENERATOR)):
        for source in sorted((image_folder / "train" / label.upper()).iterdir())[:6]:
            shutil.copy(source, folder / f"{label}-{source.name}")
            lines.append(f"{label}-{source.name},{label},{generator}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder
