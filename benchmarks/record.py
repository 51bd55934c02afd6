"""What all measurements share: repeat, summarise, and write one JSON with the command, the commit and the machine."""

from __future__ import annotations

import csv
import io
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fauxto.checkpoint import WEIGHTS, load_tensors
from fauxto.config import TrainConfig, from_mapping
from fauxto.data.splits import Split, make_split
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.evaluation import TEST, columns_for
from fauxto.evaluation.seen import training_on, was_guest
from fauxto.metrics import Interval, all_metrics, ece_interval
from fauxto.runs import environment_record, write_json, write_text

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"
SCORES = ("accuracy", "roc_auc", "tpr_at_fpr1", "ece")
# Okabe and Ito (2008): eight colours that people with any kind of colour vision tell apart; black stays for text.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")


def timed(work: Callable[[], object], *, n_runs: int) -> list[float]:
    """Return the wall seconds of each run."""
    seconds = []
    for _ in range(n_runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def quiet_load(*, limit: float = 0.35, patience_s: float = 300.0) -> float:
    """Wait until the machine does nothing else, as far as its load over the last minute tells; return that load."""
    deadline = time.monotonic() + patience_s
    while os.getloadavg()[0] > limit:
        if time.monotonic() > deadline:
            raise SystemExit(f"the machine is busy (load {os.getloadavg()[0]:.2f}): time nothing beside other work")
        time.sleep(5)
    return os.getloadavg()[0]


def summary(seconds: list[float]) -> dict[str, float | int]:
    """Return median and range."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds), "n_runs": len(seconds)}


def score_intervals(
    is_fake: np.ndarray, p_fake: np.ndarray, *, threshold: float, n_resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Return accuracy, AUC, TPR at 1 % FPR and calibration error (15 bins), with 95 % intervals over images."""
    found = all_metrics(is_fake, p_fake, threshold=threshold, n_resamples=n_resamples, seed=seed)
    return {name: found[name] for name in SCORES if name in found} | {"ece": ece_interval(is_fake, p_fake)}


def n_parameters(detector: Detector) -> int:
    """Return how many numbers training has moved; the running means of batch normalisation are none."""
    tensors, _ = load_tensors(detector.folder / WEIGHTS)
    counted = ("running_mean", "running_var", "num_batches_tracked")
    return sum(value.size for name, value in tensors.items() if not name.endswith(counted))


def over_seeds(values: Sequence[float]) -> Interval:
    """Return the mean of several runs with its 95 % t interval; a single run gives no interval.

    Example:
        >>> over_seeds([0.5])
        Interval(value=0.5, low=None, high=None, reason='one run alone has no spread over seeds')
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, reason="one run alone has no spread over seeds")
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def by_name(folders: Iterable[Path]) -> dict[str, Path]:
    """Return run folders under their own names, by which results call them; two of one name are refused."""
    folders = [folder.resolve() for folder in folders]
    if len({folder.name for folder in folders}) < len(folders):
        raise SystemExit("two of the run folders have the same name, which stands for them in the results: rename one")
    return {folder.name: folder for folder in folders}


def official_columns(detectors: Mapping[str, Detector], store: Store) -> dict[str, np.ndarray]:
    """Return the official test part, whole and without pixels that stand in train; refuse runs that were trained on it."""
    official = np.flatnonzero(store.split == "test")
    columns: dict[str, np.ndarray] = {}
    for name, detector in detectors.items():
        columns = {column: np.sort(at) for column, at in columns_for(detector.card, store).items()}
        if TEST not in columns or not np.array_equal(columns[TEST], official):
            raise SystemExit(f"{name} was not trained with the official split and may have seen these images: give another run")
    return columns


def split_of(detector: Detector, store: Store) -> Split | None:
    """Return how the store was split when the detector was trained on it; None if it was trained on other data."""
    about = training_on(detector.card, store)
    if about is None or was_guest(about):
        return None
    return make_split(store, from_mapping(TrainConfig, about["config"]))


def order_of(known: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where each wanted path stands among the known ones; folders above PART/CLASS/NAME do not matter.

    Example:
        >>> order_of(["test/REAL/1.jpg", "test/FAKE/1.jpg"], ["cifake/test/FAKE/1.jpg"])
        [1]
    """
    place = {PurePosixPath(path).parts[-3:]: at for at, path in enumerate(known)}
    if len(place) != len(known):
        raise SystemExit("two of the paths to choose from are the same: give the data as they were published")
    keys = [PurePosixPath(path).parts[-3:] for path in wanted]
    missing = [path for path, key in zip(wanted, keys, strict=True) if key not in place]
    if missing:
        raise SystemExit(f"{len(missing)} of {len(wanted)} images are not there, such as {missing[0]!r}: give the whole CIFAKE")
    return [place[key] for key in keys]


def against_bar(value: float | None, bar: float, reach: float | None = None, *, at_most: bool = False) -> dict[str, Any]:
    """Return a value beside what was asked of it; a value that is missing has reached nothing.

    Example:
        >>> against_bar(0.97, 0.98)
        {'value': 0.97, 'bar': 0.98, 'reached': False}
    """

    def holds(limit: float) -> bool:
        return value is not None and (value <= limit if at_most else value >= limit)

    found = {"value": value, "bar": bar, "reached": holds(bar)}
    return found if reach is None else found | {"reach_for": reach, "reach_for_reached": holds(reach)}


def plain(interval: Interval) -> dict[str, Any]:
    """Return an interval as JSON takes it, without an empty reason."""
    return {key: value for key, value in asdict(interval).items() if key != "reason" or value}


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write results/NAME.json; the command is the one that is running, without this machine's paths."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    path = RESULTS / f"{name}.json"
    write_json(path, {"command": command, **result, "environment": environment_record()})
    print(path.read_text(encoding="utf-8"))
    return path


def write_table(name: str, rows: Iterable[dict[str, Any]]) -> Path:
    """Write results/NAME.csv with the columns of the first row; numbers keep six digits."""
    rows = [{key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = RESULTS / f"{name}.csv"
    write_text(path, text.getvalue())
    return path


def filled(page: str, name: str, table: str) -> str:
    r"""Return the page with what stands between a table's two marks replaced.

    Example:
        >>> filled("a <!-- table: x --> old <!-- end: x --> b", "x", "new")
        'a <!-- table: x -->\n\nnew\n\n<!-- end: x --> b'
    """
    begin, end = f"<!-- table: {name} -->", f"<!-- end: {name} -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"
