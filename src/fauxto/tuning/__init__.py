"""A study of training runs that picks, say, batch size and learning rate: ``fauxto tune --config tune.toml --data DIR``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fauxto.data.store import Store
from fauxto.errors import DiskFullError, UsageError
from fauxto.runs import environment_record, new_folder, write_json, write_text
from fauxto.tuning.outputs import write_results, write_trials
from fauxto.tuning.progress import StudyBar
from fauxto.tuning.space import TuneConfig, read_tune_config, to_toml, tune_config
from fauxto.tuning.study import Study, opened

__all__ = ["TuneConfig", "read_tune_config", "tune", "tune_config"]

_LOOK_EVERY_S = 2.0


def tune(store: Store, tune_config: TuneConfig, folder: Path, *, resume: bool = False, shown: bool = True) -> Path:
    """Run a study, or what is left of it.

    Trials are compared by the validation loss of their best epoch; test images play no part.

    Args:
        store: Decoded images.
        tune_config: What to vary and how.
        folder: Study folder; new, or with ``resume`` the one of an interrupted or running study. Several processes may
            work on one folder at once: each takes trials that no other has, and all wait for the last.
        resume: Go on with the folder's study or join it; an interrupted trial is run again from its start.
        shown: Show progress on stderr.

    Returns:
        ``folder / "winner.toml"``, a configuration for ``fauxto train --config``; beside it lie trials.csv, heatmap.png
        and parallel.png.

    Raises:
        UsageError: The folder is taken, or its study has another configuration or other data.
        TrainingError: No trial ended well, or the device is not there.
        DataError: The split cannot be made.
        DiskFullError: There was no room; the study can be resumed.
        MissingExtraError: Optuna is not installed.
    """
    _open_folder(folder, store, tune_config, resume=resume)
    bar = StudyBar(tune_config.n_slots, shown=shown)
    with _full_disk_named(folder), opened(folder, tune_config) as study:
        try:
            with bar.live():
                _run_all(study, store, bar)
        except KeyboardInterrupt:
            bar.say(f"stopped; what has ended is kept in {folder}: go on with --resume")
            raise
        with study.locked():
            winner = write_results(folder, tune_config, study.rows())
    bar.say(f"winner written to {winner}")
    return winner


def _run_all(study: Study, store: Store, bar: StudyBar) -> None:
    """Run trials until all have ended, also those of other processes: if one of these dies, its trial is run here."""
    from fauxto.tuning.trial import run_trial  # torch is loaded only now: a wrong configuration is refused at once

    bar.begin(study.rows())
    while True:
        claim = study.claim()
        if claim is not None:
            with closing(claim.lock):  # whatever happens, the trial can be dealt out again
                run_trial(study, claim, store, bar)
            _keep_table(study)
        elif any(row.state == "running" for row in study.rows()):
            bar.waiting(study.rows())
            time.sleep(_LOOK_EVERY_S)
        else:
            return


def _keep_table(study: Study) -> None:
    with study.locked():
        write_trials(study.folder, study.tune, study.rows())


def _open_folder(folder: Path, store: Store, tune_config: TuneConfig, *, resume: bool) -> None:
    text = to_toml(tune_config)
    if resume:
        _check_same_study(folder, store, text)
        return
    new_folder(folder, overwrite_hint="choose another --out, or pass --resume to go on with that study")
    write_json(folder / "study.json", {"store": store.folder.name, "environment": environment_record()})
    write_text(folder / "study.toml", text)


def _check_same_study(folder: Path, store: Store, text: str) -> None:
    try:
        before = (folder / "study.toml").read_text(encoding="utf-8")
        stored = json.loads((folder / "study.json").read_text(encoding="utf-8"))["store"]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"there is no study to resume in {folder} ({error}): start it without --resume") from error
    if before != text:
        changed = sorted(set(text.splitlines()) ^ set(before.splitlines()))
        raise UsageError(f"{folder} holds another study (unlike it: {'; '.join(changed)}): give the same, or a new --out")
    if stored != store.folder.name:
        raise UsageError(f"{folder} holds a study of other data: give the same --data, or a new --out")


@contextmanager
def _full_disk_named(folder: Path) -> Iterator[None]:
    """Recognise SQLite's "database or disk is full", which Optuna wraps in an error of its own."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if "disk is full" in str(cause) and not isinstance(cause, DiskFullError):
                message = f"the disk is full: the study in {folder} was not written on; free some space and go on with --resume"
                raise DiskFullError(message) from error
            cause = cause.__cause__
        raise
