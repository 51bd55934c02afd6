"""What all measurements share: repeat, summarise, and write one JSON with the command, the commit and the machine."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fauxto.runs import environment_record, write_json

RESULTS = Path(__file__).parent / "results"


def timed(work: Callable[[], object], *, n_runs: int) -> list[float]:
    """Return the wall seconds of each run."""
    seconds = []
    for _ in range(n_runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def summary(seconds: list[float]) -> dict[str, float | int]:
    """Return median and range."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds), "n_runs": len(seconds)}


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write results/NAME.json; the command is the one that is running, without this machine's paths."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    path = RESULTS / f"{name}.json"
    write_json(path, {"command": command, **result, "environment": environment_record()})
    print(path.read_text(encoding="utf-8"))
    return path
