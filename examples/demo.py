"""The whole path on the embedded data, offline, in a few minutes: ``make demo`` or ``python examples/demo.py FOLDER``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

FAUXTO = Path(sysconfig.get_path("scripts")) / ("fauxto.exe" if os.name == "nt" else "fauxto")
FAKE_FOUND = 10
MARK = ".fauxto-demo"  # says that the folder may be made anew


def main(folder: Path) -> None:
    """Make data, look at them, train, evaluate, explain, and ask the detector about two images."""
    started = time.monotonic()
    make_anew(folder)
    data, run = folder / "data", folder / "run"
    fauxto("data", "synthetic", data, "--n-per-photo", "80")
    fauxto("data", "info", data, "--out", folder / "info")
    fauxto("train", "--data", data, "--out", run, "--preset", "notebook-cifar-stem", "--max-epochs", "8")
    fauxto("evaluate", run, "--data", data, "--out", folder / "report")
    fauxto("explain", run, "--data", data, "--out", folder / "maps")
    real, fake = (data / "test" / label / "coffee_0003.jpg" for label in ("real", "fake"))
    fauxto("check", real, fake, "--detector", run, allowed=(0, FAKE_FOUND))
    print(f"\ndone in {time.monotonic() - started:.0f} s; the data are simulated, so the scores say nothing of real generators")
    for what, path in {
        "report": folder / "report" / "report.html",
        "maps": folder / "maps" / "gallery.html",
        "contact sheet": folder / "info" / "contact-sheet.png",
        "training curves": run / "curves.png",
        "detector": run / "detector",
    }.items():
        print(f"  {what:<16} {path}")


def make_anew(folder: Path) -> None:
    """Empty the folder of an earlier demo; one that holds anything else is left alone."""
    if folder.exists() and not (folder / MARK).is_file() and any(folder.iterdir()):
        sys.exit(f"{folder} holds something else than a demo: name a new folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def fauxto(*words: str | Path, allowed: tuple[int, ...] = (0,)) -> None:
    """Show a command and run it."""
    call = [str(word) for word in words]
    print(f"\n$ fauxto {' '.join(call)}", flush=True)
    done = subprocess.run([str(FAUXTO), *call], check=False)
    if done.returncode not in allowed:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
