"""CIFAKE from Kaggle, through Kaggle's own client, without an account: ``fauxto data get cifake``."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from fauxto.data.sources import open_source
from fauxto.errors import DataError, FauxtoError, NetworkError, UsageError, missing_extra
from fauxto.runs import disk_errors_named
from fauxto.vocabulary import Label

HANDLE = "birdy654/cifake-real-and-ai-generated-synthetic-images"
N_IMAGES = {
    ("train", Label.REAL): 50_000,
    ("train", Label.FAKE): 50_000,
    ("test", Label.REAL): 10_000,
    ("test", Label.FAKE): 10_000,
}
N_ATTEMPTS = 4
FIRST_WAIT_S = 1.0
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
_BY_HAND = f"or download https://www.kaggle.com/datasets/{HANDLE} with a browser and pass the archive with --data"
_AGAIN = "run the same command again and the download goes on where it stopped"


def get_cifake(folder: Path | None = None, *, shown: bool = True) -> Path:
    """Download CIFAKE (120,000 files) unless it is there already, and check that it is complete.

    Args:
        folder: Where to put it; kagglehub's own cache by default, which other programs share.
        shown: Show progress on stderr.

    Returns:
        The folder that ``open_source`` reads, with train/REAL, train/FAKE, test/REAL and test/FAKE.

    Raises:
        MissingExtraError: kagglehub is not installed.
        NetworkError: Kaggle cannot be reached, refuses, or sent a damaged file (which is removed).
        DiskFullError: There is no room; what has arrived stays, and the next call goes on from there.
        DataError: What Kaggle sent is not CIFAKE.
        UsageError: The folder cannot be written, or the Kaggle credentials on this machine cannot be read.
    """
    kagglehub = _client()
    with _settings(kagglehub, folder, shown=shown):
        from kagglehub.config import get_cache_folder

        cache = Path(folder or get_cache_folder())
        with disk_errors_named(cache):
            download = partial(kagglehub.dataset_download, HANDLE)
            found = Path(_patiently(download, cache, n_attempts=N_ATTEMPTS, wait_s=FIRST_WAIT_S, shown=shown))
    _check_complete(found)
    return found


def _client() -> ModuleType:
    try:
        import kagglehub
    except ImportError as error:
        raise missing_extra("train", "kagglehub") from error
    return kagglehub  # type: ignore[no-any-return]


@contextmanager
def _settings(kagglehub: ModuleType, folder: Path | None, *, shown: bool) -> Iterator[None]:
    """Give the client its folder, time limits and one place to talk to, and take all of it back at the end.

    It has no arguments for these: its cache is named by the environment, and its ``output_dir`` cannot resume.
    """
    with ExitStack() as undo:
        if folder is not None:
            undo.enter_context(_swapped(os.environ, "KAGGLEHUB_CACHE", str(folder)))
        if not shown:
            undo.enter_context(_swapped(vars(kagglehub.clients), "tqdm", partial(kagglehub.clients.tqdm, disable=True)))
        undo.enter_context(_logging_to_stderr(level=logging.INFO if shown else logging.WARNING))
        undo.enter_context(redirect_stdout(sys.stderr))  # stdout is for answers
        undo.enter_context(_bounded_waits())
        yield


@contextmanager
def _swapped(place: Any, name: str, value: Any) -> Iterator[None]:
    missing = object()
    before = place.get(name, missing)
    place[name] = value
    try:
        yield
    finally:
        if before is missing:
            del place[name]
        else:
            place[name] = before


@contextmanager
def _logging_to_stderr(*, level: int) -> Iterator[None]:
    log = logging.getLogger("kagglehub")
    before = log.level, log.handlers
    log.setLevel(level)
    log.handlers = [logging.StreamHandler(sys.stderr)]
    try:
        yield
    finally:
        log.setLevel(before[0])
        log.handlers = before[1]


@contextmanager
def _bounded_waits() -> Iterator[None]:
    """Give every request a time limit, and close every answer.

    The client sets no limit on its calls to the API, so that a silent server would hold us for ever; hence this hack.
    """
    from requests.adapters import HTTPAdapter

    send = HTTPAdapter.send
    answers = []

    def bounded(self: HTTPAdapter, *args: Any, **options: Any) -> Any:
        options["timeout"] = options.get("timeout") or (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        answers.append(send(self, *args, **options))
        return answers[-1]

    HTTPAdapter.send = bounded  # type: ignore[method-assign]
    try:
        yield
    finally:
        HTTPAdapter.send = send  # type: ignore[method-assign]
        for answer in answers:
            answer.close()


def _patiently(download: Callable[[], str], cache: Path, *, n_attempts: int, wait_s: float, shown: bool) -> str:
    """Try again after a cut connection or a busy server, each time from where the last try stopped."""
    try:
        return download()
    except Exception as error:  # the client, requests, zipfile and the system each raise their own kinds
        told = _told(error, cache)
        if told is None:
            raise
        if n_attempts == 1 or not _is_passing(error):
            raise told from error
        if shown:
            print(f"the connection broke ({type(error).__name__}); going on in {wait_s:.0f} s", file=sys.stderr)
    time.sleep(wait_s)
    return _patiently(download, cache, n_attempts=n_attempts - 1, wait_s=2 * wait_s, shown=shown)


def _is_passing(error: Exception) -> bool:
    import requests

    status = _status(error)
    return (
        status == 429 or status >= 500
        if status
        else isinstance(error, requests.RequestException) and not isinstance(error, ValueError)
    )


def _told(error: Exception, cache: Path) -> FauxtoError | None:
    """Return one sentence for what went wrong, or None for what is not ours to explain."""
    import requests
    from kagglehub.exceptions import DataCorruptionError

    if isinstance(error, requests.HTTPError) and _status(error):
        return _refused(_status(error))
    is_not_an_archive = isinstance(error, ValueError) and "archive type" in str(error)
    if is_not_an_archive or isinstance(error, (DataCorruptionError, zipfile.BadZipFile, tarfile.TarError, EOFError)):
        _remove_archives(cache)
        return NetworkError(f"the download was damaged on its way and has been removed: run the same command again, {_BY_HAND}")
    if isinstance(error, ValueError) and "credentials" in str(error):
        return UsageError(f"{error}: mend or remove that file; CIFAKE is public and needs no account")
    if isinstance(error, ValueError):
        return NetworkError(f"Kaggle did not answer as expected ({_short(error)}): try again later, {_BY_HAND}")
    if isinstance(error, requests.RequestException):
        return NetworkError(f"Kaggle cannot be reached ({_short(error)}): check the connection, then {_AGAIN}; {_BY_HAND}")
    if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return UsageError(f"{cache} cannot be written ({error.strerror or error}): name another folder with --out")
    return None


def _refused(status: int) -> NetworkError:
    why = {
        401: "does not accept the credentials on this machine (CIFAKE needs none: remove ~/.kaggle/kaggle.json or mend it)",
        403: "refuses the download",
        404: "does not know this data set any more",
        429: "asks to wait, too many downloads: try again in some minutes",
    }.get(status, "has trouble of its own: try again later" if status >= 500 else "does not answer as expected")
    return NetworkError(f"Kaggle {why} (HTTP {status}); {_BY_HAND}")


def _status(error: Exception) -> int:
    response = getattr(error, "response", None)
    return int(response.status_code) if response is not None else 0


def _remove_archives(cache: Path) -> None:
    """A damaged archive that the client kept would be taken for a finished download the next time."""
    owner, name = HANDLE.split("/")
    for archive in (cache / "datasets" / owner / name).glob("*.archive"):
        archive.unlink(missing_ok=True)


def _check_complete(folder: Path) -> None:
    found = Counter((record.split, record.label) for record in open_source(folder).records)
    if found != N_IMAGES:
        counts = ", ".join(f"{found[part]} of {n} {part[0]}/{part[1].name}" for part, n in N_IMAGES.items())
        raise DataError(f"{folder} is not CIFAKE whole ({counts}): delete this folder and run the same command again")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
