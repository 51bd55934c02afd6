"""Does a grid confirm the notebook's batch size and learning rate? ``python benchmarks/tune_grid.py --data PATH --out RUN``.

Every cell is trained to its end on a subset of CIFAKE's official training part and judged on validation images of that part.
Writes results/tune_grid.csv (the table) and results/tune_grid.json (the answer); a killed measurement goes on with --resume.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path
from typing import Any

import record

from fauxto.data.store import load_data
from fauxto.runs import write_text
from fauxto.tuning import TuneConfig, tune, tune_config

SEARCH = {"batch_size": [16, 32, 64, 128], "learning_rate": [1e-4, 5e-4, 1e-3, 5e-3]}
NOTEBOOK = {"batch_size": "16", "learning_rate": "0.0005"}


def main() -> None:
    arguments = parsed()
    base = {"subset": arguments.subset, "max_epochs": arguments.max_epochs, "seed": arguments.seed, "device": arguments.device}
    base |= {"n_threads": arguments.n_threads}
    study = tune_config({"sampler": "grid", "pruner": "none", "seed": arguments.seed, "base": base, "search": SEARCH})
    tune(load_data(arguments.data), study, arguments.out, resume=arguments.resume)
    write_text(record.RESULTS / "tune_grid.csv", (arguments.out / "trials.csv").read_text(encoding="utf-8"))
    record.write_result("tune_grid", answer(arguments.out, study))


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--out", type=Path, required=True, help="study folder")
    parser.add_argument("--subset", type=float, default=0.1, help="share of the training part")
    parser.add_argument("--max-epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--n-threads", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with, or join, the study in --out")
    return parser.parse_args()


def answer(folder: Path, study: TuneConfig) -> dict[str, Any]:
    """Return the winner, where the notebook's cell stands, and how large a difference may be chance."""
    rows = list(csv.DictReader((folder / "trials.csv").read_text(encoding="utf-8").splitlines()))
    ranked = sorted((row for row in rows if row["state"] == "complete"), key=lambda row: float(row["validation_loss"]))
    notebook = next((row for row in ranked if all(row[key] == value for key, value in NOTEBOOK.items())), None)
    images = json.loads((folder / "trials" / "0001" / "run.json").read_text(encoding="utf-8"))["n_images"]
    best = ranked[0]
    return {
        "data": "CIFAKE, official training part",
        "seed": study.base.seed,
        "subset": study.base.subset,
        "max_epochs": study.base.max_epochs,
        "n_train": images["train"],
        "n_validation": images["validation"],
        "n_trials": len(rows),
        "n_complete": len(ranked),
        "winner": numbers(best),
        "notebook": numbers(notebook) if notebook else None,
        "notebook_rank": ranked.index(notebook) + 1 if notebook else None,
        "confirms_notebook": notebook is best,
        "notebook_loss_above_winner": float(notebook["validation_loss"]) - float(best["validation_loss"]) if notebook else None,
        "accuracy_half_width_95": half_width(float(best["validation_accuracy"]), images["validation"]),
    }


def numbers(row: dict[str, str]) -> dict[str, float]:
    """Return one line of the table as numbers."""
    names = ("batch_size", "learning_rate", "validation_loss", "validation_accuracy", "best_epoch", "seconds")
    return {name: float(row[name]) for name in names}


def half_width(accuracy: float, n_images: int) -> float:
    """Return half of the normal 95 % interval of an accuracy; smaller differences between cells may be chance."""
    return 1.96 * math.sqrt(accuracy * (1 - accuracy) / n_images)


if __name__ == "__main__":
    main()
