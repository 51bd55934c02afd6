"""Run folders, whole-or-nothing writes, seeds, and a record of the machine that did the work."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numpy as np

from fauxto.errors import DiskFullError, FauxtoError, UsageError

PART = ".part"  # how the name of a file under way ends
RECORDED_PACKAGES = ("fauxto", "numpy", "pillow", "onnxruntime", "torch", "torchvision", "lightning-fabric", "optuna")


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """Turn "no space left", in whatever library it happens, into one sentence.

    Raises:
        DiskFullError: The disk or the quota is full.
    """
    try:
        yield
    except FauxtoError:
        raise
    except Exception as error:  # safetensors and onnx wrap the system's error in their own classes
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if is_full or "No space left" in str(error):
            raise DiskFullError(f"the disk is full: {path} was not written; free some space and go on") from error
        raise


@contextmanager
def _write_errors_named(path: Path) -> Iterator[None]:
    try:
        with disk_errors_named(path):
            yield
    except OSError as error:
        if error.errno is None:  # not the system's, but a library's own complaint about what it was given
            raise
        raise UsageError(f"{path} cannot be written ({error.strerror}): choose a place that can") from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a neighbour of ``path``, then move it into place; a reader sees all of it or nothing.

    Args:
        path: Final place; its folder is made.
        write: Called with a temporary path in the same folder.

    Raises:
        DiskFullError: There was no room; nothing is left behind, and what stood at ``path`` still does.
        UsageError: The place cannot be written; likewise.
    """
    with _write_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
        os.close(handle)
        part = Path(name)
        try:
            write(part)
            _flush(part)
            part.chmod(0o666 & ~_umask())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def sweep_parts(folder: Path) -> None:
    """Remove what ``write_whole`` could not when its process was killed; call it where nobody else is writing."""
    for left in folder.glob(f".*{PART}"):
        left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    r"""Write ``text`` as UTF-8, whole or not at all; a stray byte of a file name is written as ``\udc..`` and ends nothing."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8", errors="backslashreplace"))


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex (FIPS 180-4)."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def new_folder(path: Path, *, overwrite_hint: str) -> Path:
    """Make an empty folder, or refuse one that already holds something.

    Raises:
        UsageError: The folder exists and is not empty, or cannot be made.
        DiskFullError: There was no room for it.
    """
    with _write_errors_named(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} already exists and is not empty: {overwrite_hint}")
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a private folder to fill and move it to ``folder`` at the end; an error leaves nothing behind.

    Raises:
        UsageError: The folder exists.
        DiskFullError: There was no room.
    """
    if folder.exists():
        raise UsageError(f"{folder} already exists: name a new folder, or remove this one first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with disk_errors_named(folder):
            (private / "whole").mkdir()  # unlike mkdtemp's own, others may read it
            yield private / "whole"
            (private / "whole").rename(folder)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def cache_folder() -> Path:
    """Return where decoded stores live: FAUXTO_CACHE, else the user's cache folder."""
    named = os.environ.get("FAUXTO_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fauxto"


def seed_everything(seed: int) -> None:
    """Seed Python's and numpy's global generators; torch is seeded by training, which owns it."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for libraries that use the global generator; ours never does


def environment_record() -> dict[str, object]:
    """Return versions and hardware, as kept beside every measured number."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "n_cores": os.cpu_count(),
        "packages": {name: version for name in RECORDED_PACKAGES if (version := _version_of(name))},
        "commit": _commit(),
    }


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _commit() -> str | None:
    """Return the commit of the checkout that this package runs from, if it is one; never that of a project around it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "src" / "fauxto").is_dir() or not (root / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
