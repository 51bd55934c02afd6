"""How soon does preset ``fast`` reach 95.5 % and 97.6 %? ``python benchmarks/fast_preset.py --go 3 --data cifake.tar.xz``.

``--go 3`` trains first, one run after another with seeds 0, 1, 2, into runs/fast-0 and so on; ``--set KEY=VALUE`` changes the
preset, such as max_epochs=2 for a schedule that ends early, and is named in the folders. ``--run RUN`` reads a finished run,
``--against RUN`` compares with one of the notebook preset, or with results/notebook-official.json, which tells of one; with
``--go`` it trains one epoch of that preset here, so that both are timed on one machine in one call. Writes
results/fast_preset.json. Run it alone on the machine.

The accuracy that counts is that of the validation part, epoch by epoch; no test image is looked at before a run is over, and the
finished detector's test accuracy stands beside it. Time is wall time from the decoded data on: what a run took beside its epochs
(scoring the validation part, writing states and detector) is shared out among them where this file started the run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import record

from fauxto.config import TrainConfig, from_mapping, parse_toml, preset, read_toml
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.evaluation import TEST, columns_for
from fauxto.metrics import accuracy, wilson
from fauxto.runs import write_json

TARGETS = {0.955: (5, 2), 0.976: (20, 10)}  # validation accuracy -> minutes: bar, reach for
TIMES_AS_FAST = (10, 30)
WALL = "wall.json"
History = list[dict[str, float]]


def main() -> None:
    arguments = parsed()
    store = load_data(arguments.data)
    changes = parse_toml("\n".join(arguments.set))
    started = [go(store, arguments.out, seed, changes) for seed in range(arguments.go)]
    folders = [*arguments.run, *started]
    if not folders:
        raise SystemExit("there is nothing to read: name finished runs (--run), or train some (--go 3 --out FOLDER)")
    runs = {name: about(folder, store) for name, folder in record.by_name(folders).items()}
    by_schedule: dict[str, list[dict[str, Any]]] = {}
    for run in runs.values():
        by_schedule.setdefault(f"{run['max_epochs']} epochs", []).append(run)
    schedules = {name: of_schedule(some) for name, some in by_schedule.items()}
    result = {"schedules": schedules, "bars": bars(schedules), "runs": runs}
    if arguments.against:
        is_told = arguments.against.suffix == ".json"
        notebook = told(arguments.against) if is_told else about(arguments.against, store)
        if arguments.go:
            notebook |= paced(notebook, one_notebook_epoch(store, arguments.out))
        result["notebook"] = notebook
        result["against_notebook"] = {name: against(notebook, some) for name, some in by_schedule.items()}
    record.write_result("fast_preset", result)


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", default=[], help="finished run; several times")
    parser.add_argument(
        "--against", type=Path, help="finished run of the notebook preset, or what notebook_preset.py wrote of one"
    )
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--go", type=int, default=0, help="train so many runs first")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where --go puts its run folders")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes the preset for --go")
    return parser.parse_args()


def go(store: Store, out: Path, seed: int, changes: dict[str, Any]) -> Path:
    """Train one run and write down how long all of it took; one that is there already is not run again."""
    name = "-".join(["fast", *(f"{key}-{value}" for key, value in changes.items()), str(seed)])
    return timed_run(store, preset("fast", seed=seed, **changes), out / name)


def one_notebook_epoch(store: Store, out: Path) -> float:
    """Return the seconds of one epoch of the notebook preset here, on all cores: its training alone, to be on the safe side."""
    folder = timed_run(store, preset("notebook", max_epochs=1), out / "notebook-epoch")
    with (folder / "history.csv").open(encoding="utf-8") as stream:
        return float(next(csv.DictReader(stream))["seconds"])


def timed_run(store: Store, config: TrainConfig, folder: Path) -> Path:
    """Train and write down the wall time, unless that was done before with this very configuration."""
    if not (folder / WALL).is_file():
        from fauxto.training import train

        load_before, started = record.quiet_load(), time.perf_counter()
        train(store, config, folder)
        write_json(folder / WALL, {"seconds": time.perf_counter() - started, "load_before": load_before})
    if from_mapping(TrainConfig, read_toml(folder / "config.toml")) != config:
        raise SystemExit(f"{folder} holds a run with another configuration: give another --out")
    return folder


def paced(notebook: dict[str, Any], epoch_s: float) -> dict[str, Any]:
    """Return what a whole run of the notebook preset would take here: its epochs to the one that was kept, at this pace."""
    n_cores = os.cpu_count() or 1
    return {"epoch_here_s": epoch_s, "seconds_to_final": epoch_s * notebook["best_epoch"], "n_threads": n_cores}


def about(folder: Path, store: Store) -> dict[str, Any]:
    """Return a run's history as numbers, and its detector's accuracy on the test part."""
    with (folder / "history.csv").open(encoding="utf-8") as stream:
        history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    wall = json.loads((folder / WALL).read_text(encoding="utf-8")) if (folder / WALL).is_file() else None
    if wall:  # else the epochs' own seconds are all that is known
        beside_s = (wall["seconds"] - seconds_until(history, len(history))) / len(history)
        history = [row | {"seconds": row["seconds"] + beside_s} for row in history]
    config = read_toml(folder / "config.toml")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    best_epoch = int(Detector.load(folder).card["trained_on"]["best_epoch"])
    return {
        "seed": config.get("seed"),
        "max_epochs": config.get("max_epochs"),
        "best_epoch": best_epoch,
        "final_validation_accuracy": history[best_epoch - 1]["validation_accuracy"],
        "seconds_to_final": seconds_until(history, best_epoch),
        "seconds_to": {str(target): seconds_to(history, target) for target in TARGETS},
        "test_accuracy": test_accuracy(folder, store),
        "whole_run": wall,
        "n_threads": config.get("n_threads") or run["environment"]["n_cores"],
        "n_images": run["n_images"],
        "device": run.get("device"),
        "machine": {key: run["environment"].get(key) for key in ("processor", "n_cores", "commit")},
        "history": [{key: row[key] for key in ("epoch", "seconds", "validation_accuracy")} for row in history],
    }  # fmt: skip


def told(path: Path) -> dict[str, Any]:
    """Return of a notebook run what ``against`` and ``paced`` need, as benchmarks/notebook_preset.py wrote it down."""
    written = json.loads(path.read_text(encoding="utf-8"))
    history, best_epoch = written["history"], written["best_epoch"]
    return {
        "seed": written["config"]["seed"],
        "best_epoch": best_epoch,
        "final_validation_accuracy": history[best_epoch - 1]["validation_accuracy"],
        "seconds_to_final": seconds_until(history, best_epoch),
        "n_threads": written["config"]["n_threads"],
        "told_by": path.name,
    }


def seconds_until(history: History, epoch: int) -> float:
    """Return the seconds of training up to the end of an epoch, counted from 1."""
    return sum(row["seconds"] for row in history[:epoch])


def seconds_to(history: History, target: float) -> float | None:
    """Return the seconds of training until an epoch ended at or above a validation accuracy; None if none did.

    Example:
        >>> rows = [{"seconds": 60.0, "validation_accuracy": 0.90}, {"seconds": 50.0, "validation_accuracy": 0.96}]
        >>> seconds_to(rows, 0.955), seconds_to(rows, 0.976)
        (110.0, None)
    """
    reached = [at for at, row in enumerate(history, start=1) if row["validation_accuracy"] >= target]
    return seconds_until(history, reached[0]) if reached else None


def test_accuracy(folder: Path, store: Store) -> dict[str, Any]:
    """Return accuracy on the detector's test part at its card's threshold, with Wilson's interval."""
    detector = Detector.load(folder)
    test = columns_for(detector.card, store)[TEST]
    p_fake = detector.p_fake(detector.logits(store.image(at) for at in test.tolist()))
    share = accuracy(store.is_fake[test], p_fake, threshold=detector.threshold)
    return record.plain(wilson(round(share * len(test)), len(test)))


def of_schedule(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return median and range over runs of one length."""
    found: dict[str, Any] = {"n_runs": len(runs)}
    for target in TARGETS:
        times = [run["seconds_to"][str(target)] for run in runs]
        found[f"to {target}"] = spread([seconds / 60 if seconds else None for seconds in times])
    walls = [run["whole_run"]["seconds"] / 60 if run["whole_run"] else None for run in runs]
    found["whole run"] = spread(walls)
    for name in ("final_validation_accuracy", "test_accuracy"):
        values = [run[name]["value"] if name == "test_accuracy" else run[name] for run in runs]
        found[name] = record.plain(record.over_seeds(values))
    return found


def spread(minutes: list[float | None]) -> dict[str, Any]:
    """Return median and range; a run that is missing took forever, so that half of the runs must be there for a median.

    Example:
        >>> spread([2.0, None, 1.0])
        {'median_minutes': 2.0, 'min_minutes': 1.0, 'max_minutes': None, 'n_reached': 2}
    """
    values = [float("inf") if value is None else value for value in minutes]
    found = {"median_minutes": statistics.median(values), "min_minutes": min(values), "max_minutes": max(values)}
    finite = {name: value if np.isfinite(value) else None for name, value in found.items()}
    return finite | {"n_reached": sum(value is not None for value in minutes)}


def bars(schedules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return each target's bar beside the quickest schedule's median; the schedule is picked on validation images only.

    Beside it stands the quickest whole run, from the call to the finished detector, of a schedule that ends at the target.
    """
    found = {}
    for target, limits in TARGETS.items():
        medians = {name: one[f"to {target}"]["median_minutes"] for name, one in schedules.items()}
        best = min(medians, key=lambda name: medians[name] or float("inf"))
        ended = [one for one in schedules.values() if one["final_validation_accuracy"]["value"] >= target]
        whole = [one["whole run"]["median_minutes"] for one in ended]
        bar = record.against_bar(medians[best], *limits, at_most=True)
        found[f"minutes to {target}"] = bar | {"schedule": best, "whole_run": min((m for m in whole if m), default=None)}
    return found


def against(notebook: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many times as fast ``fast`` reaches the validation accuracy that the notebook's run ended with.

    The notebook's clock stops at the epoch that was kept, not at the end of its patience. Each run's accuracy is that of its own
    validation part. Where the two used different numbers of cores, the number per core is the careful one.
    """
    goal = notebook["final_validation_accuracy"]
    times = [seconds_to(run["history"], goal) for run in runs]
    reached = [(seconds, run["n_threads"]) for seconds, run in zip(times, runs, strict=True) if seconds]
    ratios = [notebook["seconds_to_final"] / seconds for seconds, _ in reached]
    per_core = [ratio * notebook["n_threads"] / n for ratio, (_, n) in zip(ratios, reached, strict=True)]
    found: dict[str, Any] = {"goal": goal, "fast": spread([s / 60 if s else None for s in times])}
    if reached:
        found["times_as_fast"] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
        found["times_as_fast_per_core"] = statistics.median(per_core)
    return found | {"bar": record.against_bar(statistics.median(ratios) if reached else None, *TIMES_AS_FAST)}


if __name__ == "__main__":
    main()
