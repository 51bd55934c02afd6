"""The study on disk: Optuna's trials in SQLite, dealt out to any number of processes, each combination once."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fauxto.config import TrainConfig
from fauxto.errors import missing_extra
from fauxto.tuning.locks import held, take
from fauxto.tuning.space import Range, TuneConfig

if TYPE_CHECKING:
    import optuna

DATABASE = "study.db"
# Seconds that a process waits while another one writes.
_SQLITE: dict[str, Any] = {"timeout": 120}


@dataclass(frozen=True)
class TrialRow:
    """One trial as the table shows it.

    Attributes:
        trial: Number from 1; its folder is ``trials/0001``.
        values: What varied.
        state: "complete", "pruned", "failed" or "running".
        validation_loss: Of the best epoch; None before the first.
        validation_accuracy: Of that epoch.
        best_epoch: That epoch, counted from 1.
        n_epochs: Epochs done.
        seconds: Wall clock.
        error: Why it failed.
    """

    trial: int
    values: dict[str, Any]
    state: str
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    best_epoch: int | None = None
    n_epochs: int | None = None
    seconds: float | None = None
    error: str = ""


@dataclass
class Claim:
    """A trial that this process, and no other, runs; the lock says so for as long as the process lives."""

    slot: int
    values: dict[str, Any]
    config: TrainConfig
    trial: optuna.Trial
    lock: sqlite3.Connection


class Study:
    """Deals out the trials of one study folder.

    A study has a fixed number of slots. Optuna's GridSampler may give one point to two processes and counts a killed trial
    as done; so the slots are dealt out here, under a lock, and a running trial whose own lock is free is dealt again.
    """

    def __init__(self, folder: Path, tune: TuneConfig, study: optuna.Study) -> None:
        self.folder, self.tune, self.study = folder, tune, study

    def claim(self) -> Claim | None:
        """Take the next trial, or return None if every one has ended or runs elsewhere."""
        with self.locked():
            self._close_abandoned()
            slot = self._enqueued()
            if slot is None:
                return None
            lock = take(self._lock_path(slot), wait_s=10)
            assert lock is not None, "a slot is dealt only when nobody runs it"
            try:
                # One seed per slot: parallel samplers never draw the same point, and a repeated slot draws it again.
                self.study.sampler = _sampler(self.tune, slot)
                trial = self.study.ask()
                values = {key: _suggest(trial, key, wanted) for key, wanted in self.tune.search.items()}
                shutil.rmtree(self.trial_folder(slot), ignore_errors=True)
                return Claim(slot, values, self.tune.trial_config(values), trial, lock)
            except BaseException:
                lock.close()
                raise

    def finish(self, claim: Claim, state: str, **result: Any) -> None:
        """Write how a trial ended.

        Args:
            claim: The trial.
            state: "complete", "pruned" or "failed".
            result: Fields of TrialRow.
        """
        with self.locked():
            claim.trial.set_user_attr("result", result | {"state": state})
            self._tell(claim.trial.number, result | {"state": state})
            claim.lock.close()
            self._lock_path(claim.slot).unlink(missing_ok=True)

    def rows(self) -> list[TrialRow]:
        """Return all trials that have begun, in the order of their numbers; interrupted ones are left out."""
        return sorted((_row(trial, self.tune) for trial in self._begun()), key=lambda row: row.trial)

    def trial_folder(self, slot: int) -> Path:
        """Return where a trial keeps its configuration and history."""
        return self.folder / "trials" / f"{slot:04d}"

    def locked(self) -> Any:
        """Hold the study against the other processes for a moment."""
        return held(self.folder / "study.lock")

    def _lock_path(self, slot: int) -> Path:
        return self.folder / "trials" / f"{slot:04d}.lock"

    def _begun(self) -> list[Any]:
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING))
        failed = self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return trials + [trial for trial in failed if "result" in trial.user_attrs]

    def _tell(self, number: int, result: dict[str, Any]) -> None:
        from optuna.trial import TrialState

        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        loss = result["validation_loss"] if result["state"] == "complete" else None
        self.study.tell(number, loss, state=states[result["state"]])

    def _close_abandoned(self) -> None:
        """Close trials whose process is gone: nobody holds their lock. Without a result they count as never begun."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = take(self._lock_path(trial.user_attrs["slot"]), wait_s=0)
            if lock is not None:
                self._tell(trial.number, trial.user_attrs.get("result", {"state": "failed"}))
                lock.close()

    def _enqueued(self) -> int | None:
        """Return the slot of the trial that ``ask`` will hand out, putting one in line if none waits there."""
        from optuna.trial import TrialState

        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if waiting:  # left by a process that was killed between the two
            return int(waiting[0].user_attrs["slot"])
        taken = {trial.user_attrs["slot"] for trial in self._begun()}
        slot = next((slot for slot in range(1, self.tune.n_slots + 1) if slot not in taken), None)
        if slot is not None:
            point = self.tune.point(slot) if self.tune.sampler == "grid" else {}
            self.study.enqueue_trial(point, user_attrs={"slot": slot})
        return slot


@contextmanager
def opened(folder: Path, tune: TuneConfig) -> Iterator[Study]:
    """Open the folder's study, making it if need be; Optuna's own log lines are silenced meanwhile.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    try:
        import optuna
        from sqlalchemy.engine import URL
    except ImportError as error:
        raise missing_extra("train", "optuna") from error
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with held(folder / "study.lock"):
            url = URL.create("sqlite", database=str(folder / DATABASE)).render_as_string(hide_password=False)
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": _SQLITE})
            study = optuna.create_study(
                storage=storage, study_name="fauxto", direction="minimize", pruner=_pruner(tune), load_if_exists=True
            )
        try:
            yield Study(folder, tune, study)
        finally:
            storage.remove_session()
            storage.engine.dispose()
    finally:
        optuna.logging.set_verbosity(before)


def _sampler(tune: TuneConfig, slot: int) -> Any:
    from optuna.samplers import RandomSampler, TPESampler

    seed = int(np.random.default_rng([tune.seed, slot]).integers(2**31))
    # constant_liar counts other processes' running trials as bad, so that they are not tried a second time.
    return TPESampler(seed=seed, constant_liar=True) if tune.sampler == "tpe" else RandomSampler(seed=seed)


def _pruner(tune: TuneConfig) -> Any:
    from optuna import pruners

    wanted = tune.search.get("max_epochs", (tune.base.max_epochs,))
    longest = int(wanted.high if isinstance(wanted, Range) else max(wanted))
    if tune.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=tune.startup_trials, n_warmup_steps=tune.warmup_epochs)
    if tune.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=longest)
    return pruners.SuccessiveHalvingPruner(min_resource=1) if tune.pruner == "successive-halving" else pruners.NopPruner()


def _suggest(trial: optuna.Trial, key: str, wanted: Any) -> Any:
    if not isinstance(wanted, Range):
        return trial.suggest_categorical(key, wanted)
    if isinstance(wanted.low, int):
        return trial.suggest_int(key, int(wanted.low), int(wanted.high), log=wanted.log)
    return trial.suggest_float(key, wanted.low, wanted.high, log=wanted.log)


def _row(trial: Any, tune: TuneConfig) -> TrialRow:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
    # In the order of [search], and only what it names: a trial read at its very beginning has no values yet.
    values = {key: trial.params.get(key) for key in tune.search}
    result = {key: value for key, value in trial.user_attrs.get("result", {}).items() if key != "state"}
    return TrialRow(trial.user_attrs["slot"], values, names[trial.state.name], **result)
