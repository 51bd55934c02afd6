"""Measure the shipped detector and its seeds against every bar, from their run folders.

``python benchmarks/best_detector.py --run best-1 --run best-2 --run best-3 --plain plain-1 --beside fast-0 --data cifake.tar.xz
--lossless cifar10_lossless_train.npz --docs`` writes results/best.json, results/best.csv and, with --docs, docs/robustness.png.
Answers are kept in the cache folder: a second call takes a minute. Nothing here chooses anything.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lossless
import numpy as np
import record
from rich.progress import track

from fauxto.checkpoint import MODEL
from fauxto.cli.terminal import counting_bar
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.evaluation import TEST
from fauxto.evaluation.answering import AS_THEY_ARE, Answers, Stored, answers, n_cores
from fauxto.metrics import Interval, accuracy
from fauxto.perturb import STANDARD
from fauxto.runs import write_whole

CLEAN, SEED = "clean", 0
NAMED_BARS = {"noise-0.1": (0.965, 0.975), "jpeg-40": (0.96, 0.97), "blur-0.6": (0.90, 0.94), "blur-1.0": (0.75, 0.85)}
STRENGTHS = {"jpeg": "quality", "webp": "quality", "blur": "sigma, pixels", "noise": "sigma, white is 1", "crop": "side kept"}


def main() -> None:
    arguments = parsed()
    folders = record.by_name([*arguments.run, *arguments.plain, *arguments.beside])
    detectors = {name: Detector.load(folder) for name, folder in folders.items()}
    store = load_data(arguments.data)
    columns = record.official_columns(detectors, store)
    best, plain = (list(record.by_name(some)) for some in (arguments.run, arguments.plain))
    found = measured(detectors, store, columns, n_resamples=arguments.resamples, briefly=plain)
    twins = lossless.rows({name: detectors[name] for name in best}, store, arguments.lossless)
    rows = [*run_rows(found), *mean_rows(found)]
    result = {
        "runs": {name: about(detector) for name, detector in detectors.items()},
        "n_images": {column: len(at) for column, at in columns.items()},
        "perturbations": list(STANDARD),
        "seed_of_perturbations": SEED,
        "n_resamples": {CLEAN: arguments.resamples, "perturbed": arguments.resamples // 5},
        "bars": bars(found, best, plain, twins, detectors[best[0]]),
        "clean": {name: {column: scores[CLEAN] for column, scores in one.items()} for name, one in found.items()},
        "unsure": {name: {kind: scores["unsure"] for kind, scores in one[TEST].items()} for name, one in found.items()},
        "lossless": {"note": lossless.NOTE, "rows": twins},
    }
    record.write_table("best", rows)
    if arguments.docs:
        draw(record.DOCS / "robustness.png", rows)
    record.write_result("best", result)


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, action="append", required=True, help="run folder of the best preset, one per seed")
    parser.add_argument("--plain", type=Path, action="append", default=[], help="the same, trained without perturbations")
    parser.add_argument("--beside", type=Path, action="append", default=[], help="other runs for table and picture")
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--lossless", type=Path, required=True, help="cifar10_lossless_train.npz")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--docs", action="store_true", help="also draw docs/robustness.png")
    return parser.parse_args()


def measured(
    detectors: dict[str, Detector], store: Store, columns: dict[str, np.ndarray], *, n_resamples: int, briefly: Iterable[str] = ()
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return run -> column -> perturbation -> numbers; those to be measured briefly under the perturbations with a bar only."""
    test = columns[TEST]
    inside = {column: np.searchsorted(test, at) for column, at in columns.items()}
    found: dict[str, dict[str, dict[str, Any]]] = {name: {column: {} for column in columns} for name in detectors}
    for name, detector in detectors.items():
        kinds = {CLEAN: AS_THEY_ARE} | {kind: kind for kind in (NAMED_BARS if name in briefly else STANDARD)}
        with counting_bar(name) as progress:
            said = answers(detector, Stored(store, test), list(kinds.values()), seed=SEED, n_workers=n_cores(), progress=progress)
        for column, at in inside.items():
            for kind, perturbation in track(kinds.items(), description=column):
                n = n_resamples if kind == CLEAN else n_resamples // 5
                found[name][column][kind] = numbers(detector, store.is_fake[test], said[perturbation], at, n_resamples=n)
    return found


def numbers(detector: Detector, is_fake: np.ndarray, said: Answers, at: np.ndarray, *, n_resamples: int) -> dict[str, Any]:
    """Return scores of forced answers at the card's threshold, how often it is unsure and why, and how right it is otherwise."""
    is_fake, p_fake, kinds = is_fake[at], said.p_fake[at], said.kind[at]
    scores = record.score_intervals(is_fake, p_fake, threshold=detector.threshold, n_resamples=n_resamples)
    answered = kinds == ""
    sure = accuracy(is_fake[answered], p_fake[answered], threshold=detector.threshold) if answered.any() else None
    reasons = {kind: n / len(at) for kind, n in Counter(kinds[~answered].tolist()).items()}
    is_wrong = answered & ((p_fake >= detector.threshold) != is_fake)  # what the card's guarantee bounds, of each class
    wrong = {"real": float(is_wrong[~is_fake].mean()), "fake": float(is_wrong[is_fake].mean())}
    unsure = {"share": float(np.mean(~answered)), "reasons": reasons, "accuracy_of_answered": sure, "wrong_verdicts": wrong}
    return {name: record.plain(value) for name, value in scores.items()} | {"unsure": unsure}


def about(detector: Detector) -> dict[str, Any]:
    """Return what a reader must know of a run to read its numbers."""
    facts = {key: detector.card["trained_on"].get(key) for key in ("best_epoch", "n_train", "n_validation", "config")}
    parts = {
        "model_sha256": detector.card["sha256"][MODEL],
        "threshold": detector.threshold,
        "temperature": detector.temperature,
        "unsure": detector.card.get("unsure"),
    }
    return parts | {"n_parameters": record.n_parameters(detector)} | facts


def bars(
    found: dict[str, Any], best: list[str], plain: list[str], twins: list[dict[str, Any]], detector: Detector
) -> dict[str, Any]:
    """Return every bar beside what was measured: the mean over the best runs with its t interval over seeds."""

    def beside(values: list[float], bar: float, reach: float | None = None, *, at_most: bool = False) -> dict[str, Any]:
        mean = record.over_seeds(values)
        return record.against_bar(mean.value, bar, reach, at_most=at_most) | {"low": mean.low, "high": mean.high}

    def of(column: str, kind: str, name: str, runs: list[str] = best) -> list[float]:
        return [found[run][column][kind][name]["value"] for run in runs]

    def ece_of_perturbed(column: str) -> list[float]:
        return [float(np.mean([found[run][column][kind]["ece"]["value"] for kind in STANDARD])) for run in best]

    result: dict[str, Any] = {
        column: {
            "accuracy": beside(of(column, CLEAN, "accuracy"), 0.98, 0.988),
            "tpr_at_fpr1": beside(of(column, CLEAN, "tpr_at_fpr1"), 0.97, 0.985),
            "ece": beside(of(column, CLEAN, "ece"), 0.01, 0.005, at_most=True),
            "ece_mean_over_perturbations": beside(ece_of_perturbed(column), 0.03, 0.02, at_most=True),
        } | {f"accuracy {kind}": beside(of(column, kind, "accuracy"), *limits) for kind, limits in NAMED_BARS.items()}
        for column in found[best[0]]
    }  # fmt: skip
    paid = float(np.mean(of(TEST, CLEAN, "accuracy", plain)) - np.mean(of(TEST, CLEAN, "accuracy"))) if plain else None
    result["clean accuracy paid for robustness"] = record.against_bar(paid, 0.003, 0.0, at_most=True)
    for label in ("real", "fake"):
        wrong = [found[run][TEST][CLEAN]["unsure"]["wrong_verdicts"][label] for run in best]
        result[f"wrong verdicts on {label} images, promised"] = beside(wrong, promise_of(detector), at_most=True)
    result |= twin_bars([row for row in twins if row["runs"] == best])
    result["unsure on clean images"] = beside([found[run][TEST][CLEAN]["unsure"]["share"] for run in best], 0.02, at_most=True)
    result["parameters"] = record.against_bar(record.n_parameters(detector), 1_000_000, at_most=True)
    result["model bytes"] = record.against_bar((detector.folder / MODEL).stat().st_size, 4_000_000, at_most=True)
    return result


def twin_bars(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the bar on lossless images for each set of pictures."""
    return {
        f"false alarms, lossless to JPEG: {row['pictures']}": record.against_bar(row["ratio"]["value"], 1.2, 1.0, at_most=True)
        | record.plain(Interval(**row["ratio"]))
        for row in rows
    }


def promise_of(detector: Detector) -> float:
    """Return the highest share of wrong verdicts in a class that the card promises; 0 without a promise."""
    return float(detector.card.get("unsure", {}).get("alpha", 0.0))


def group_of(run: str) -> str:
    """Return a run's name without its seed.

    Example:
        >>> group_of("best-seed2"), group_of("best-0"), group_of("notebook")
        ('best', 'best', 'notebook')
    """
    return re.sub(r"[-_](seed)?\d+$", "", run)


def run_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one line per run, column and perturbation."""
    rows = []
    for run, columns in found.items():
        for column, kinds in columns.items():
            for kind, scores in kinds.items():
                row = {"group": group_of(run), "run": run, "column": column, "perturbation": kind}
                for name in record.SCORES:
                    row |= {name: scores[name]["value"], f"{name}_low": scores[name]["low"], f"{name}_high": scores[name]["high"]}
                rows.append(row | {"unsure": scores["unsure"]["share"]})
    return rows


def mean_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one line per group of runs, column and perturbation: means with t intervals over seeds."""
    together: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in run_rows(found):
        together.setdefault((row["group"], row["column"], row["perturbation"]), []).append(row)
    rows = []
    for (group, column, kind), some in together.items():
        mean = {"group": group, "run": f"mean of {len(some)}", "column": column, "perturbation": kind}
        for name in record.SCORES:
            over = record.over_seeds([row[name] for row in some])
            mean |= {name: over.value, f"{name}_low": over.low, f"{name}_high": over.high}
        rows.append(mean | {"unsure": float(np.mean([row["unsure"] for row in some]))})
    return rows


def families(kinds: Iterable[str]) -> dict[str, list[tuple[float, str]]]:
    """Return perturbations by what they do, each with its strengths in rising order; of two in a row the first is the strength.

    Example:
        >>> families(["blur-1.0", "resize-0.5+jpeg-70", "blur-0.6"])
        {'blur': [(0.6, 'blur-0.6'), (1.0, 'blur-1.0')], 'resize+jpeg': [(0.5, 'resize-0.5+jpeg-70')]}
    """
    found: dict[str, list[tuple[float, str]]] = {}
    for kind in kinds:
        strength = re.search(r"-([\d.]+)", kind)
        assert strength is not None, f"{kind} names no strength"
        found.setdefault(re.sub(r"-[\d.]+", "", kind), []).append((float(strength[1]), kind))
    return {family: sorted(some) for family, some in found.items()}


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw accuracy over strength, one picture per kind of perturbation and one line per group; dots are its runs."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["column"] == TEST]
    groups, shown = list(dict.fromkeys(row["group"] for row in rows)), families(STANDARD)
    n_down = -(-len(shown) // 3)
    figure = Figure(figsize=(10.2, 2.9 * n_down), layout="constrained")
    panels = figure.subplots(n_down, 3, sharey=True, squeeze=False).ravel()
    for axes, (family, strengths) in zip(panels, shown.items(), strict=False):
        for colour, marker, group in zip(record.COLOURS, "oDsv^<>", groups, strict=False):
            own = [row for row in rows if row["group"] == group]
            for is_mean in (True, False):
                points = [(x, row["accuracy"]) for x, kind in strengths for row in own
                          if row["perturbation"] == kind and row["run"].startswith("mean of ") == is_mean]  # fmt: skip
                line = {"label": group} if is_mean else {"linestyle": "", "alpha": 0.5}
                if points:
                    axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5 if is_mean else 3, **line)
            clean = [row["accuracy"] for row in own if row["perturbation"] == CLEAN and row["run"].startswith("mean of ")]
            axes.axhline(clean[0], color=colour, linewidth=0.8, linestyle=":")
        axes.set(title=family, xlabel=STRENGTHS.get(family, "strength"), ylabel="accuracy")
        axes.grid(color="#d5dae1", linewidth=0.6)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    panels[0].legend(frameon=False)
    figure.suptitle("Accuracy on CIFAKE's official test part under perturbations; dotted: untouched images", fontsize=11)
    write_whole(path, lambda part: figure.savefig(part, dpi=130, format="png"))


if __name__ == "__main__":
    main()
