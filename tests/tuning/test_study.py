from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fauxto.errors import UsageError
from fauxto.tuning import TuneConfig, space, tune_config
from fauxto.tuning.locks import held, take
from fauxto.tuning.study import Study, opened

GRID = {"search": {"batch_size": [16, 32], "learning_rate": [1e-4, 1e-3]}}
WORKER = """
import sys, time
from pathlib import Path
from fauxto.tuning import read_tune_config
from fauxto.tuning.study import opened
folder = Path(sys.argv[1])
with opened(folder, read_tune_config(folder / "study.toml")) as study:
    claim = study.claim()  # kept: without it the lock would go with the claim
    print(claim.slot, flush=True)
    time.sleep(60)
"""


def drawn(folder: Path, tune: TuneConfig, n_claims: int) -> list[dict[str, Any]]:
    """Claim and finish trials; the loss is the learning rate."""
    values = []
    with opened(folder, tune) as study:
        for _ in range(n_claims):
            claim = study.claim()
            assert claim is not None
            values.append(claim.values)
            finish(study, claim)
    return values


def finish(study: Study, claim: Any) -> None:
    loss = claim.config.learning_rate
    study.finish(claim, "complete", validation_loss=loss, validation_accuracy=0.5, best_epoch=1, n_epochs=1, seconds=1.0)


def test_lock_is_exclusive_until_closed(tmp_path: Path) -> None:
    first = take(tmp_path / "x.lock", wait_s=0)
    assert first is not None
    assert take(tmp_path / "x.lock", wait_s=0) is None
    with pytest.raises(UsageError, match="another process has held"), held(tmp_path / "x.lock", wait_s=0.01):
        pass
    first.close()
    with held(tmp_path / "x.lock", wait_s=0):
        assert take(tmp_path / "x.lock", wait_s=0) is None


def test_grid_is_dealt_out_once_and_ends(tmp_path: Path) -> None:
    tune = tune_config(GRID)
    assert drawn(tmp_path, tune, 4) == [tune.point(slot) for slot in (1, 2, 3, 4)]
    with opened(tmp_path, tune) as study:
        assert study.claim() is None
        assert [(row.trial, row.state) for row in study.rows()] == [(slot, "complete") for slot in (1, 2, 3, 4)]
    assert not list(tmp_path.glob("trials/*.lock"))


def test_a_kill_between_result_and_end_loses_no_result(tmp_path: Path) -> None:
    tune = tune_config(GRID)
    with opened(tmp_path, tune) as study:
        claim = study.claim()
        assert claim is not None
        result = {"validation_loss": 0.25, "validation_accuracy": 0.9, "best_epoch": 1, "n_epochs": 1, "seconds": 1.0}
        claim.trial.set_user_attr("result", result | {"state": "complete"})  # and here the process was killed
        claim.lock.close()
        following = study.claim()
        assert following is not None
        assert following.slot == 2
        first = study.rows()[0]
        assert (first.trial, first.state, first.validation_loss) == (1, "complete", 0.25)
        following.lock.close()


def test_trial_of_a_killed_process_is_run_again(tmp_path: Path) -> None:
    tune = tune_config(GRID)
    (tmp_path / "study.toml").write_text(space.to_toml(tune), encoding="utf-8")
    with opened(tmp_path, tune) as study:
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        try:
            assert worker.stdout.readline() == "1\n"
            while_alive = study.claim()
        finally:
            worker.kill()
            worker.wait()
            worker.stdout.close()
        after_kill = study.claim()
        assert while_alive is not None
        assert after_kill is not None
        assert (while_alive.slot, after_kill.slot) == (2, 1)
        assert after_kill.values == tune.point(1)
        assert [(row.trial, row.state) for row in study.rows()] == [(1, "running"), (2, "running")]
        while_alive.lock.close()
        after_kill.lock.close()


@pytest.mark.parametrize("kill_at", ["ask", "_suggest"])
def test_killed_while_claiming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: str) -> None:
    tune = tune_config(GRID)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with opened(tmp_path, tune) as study, monkeypatch.context() as patch:
        patch.setattr(study.study if kill_at == "ask" else sys.modules["fauxto.tuning.study"], kill_at, killed)
        with pytest.raises(KeyboardInterrupt):
            study.claim()
    assert drawn(tmp_path, tune, 4) == [tune.point(slot) for slot in (1, 2, 3, 4)]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_draws_depend_on_seed_and_slot_alone(tmp_path: Path, sampler: str) -> None:
    search = {"batch_size": {"low": 4, "high": 64, "log": True}, "learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}}
    tune = tune_config({"sampler": sampler, "n_trials": 3, "search": search})
    for name in "ab":
        (tmp_path / name).mkdir()
    through = drawn(tmp_path / "a", tune, 3)
    with opened(tmp_path / "b", tune) as study:
        claim = study.claim()
        assert claim is not None
        claim.lock.close()  # interrupted
    in_pieces = drawn(tmp_path / "b", tune, 2) + drawn(tmp_path / "b", tune, 1)
    assert in_pieces == through
    assert len({values["learning_rate"] for values in through}) == 3
    assert all(isinstance(values["batch_size"], int) and 4 <= values["batch_size"] <= 64 for values in through)
