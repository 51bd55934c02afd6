"""Put fauxto beside published detectors: ``python benchmarks/peers.py --run RUN --data cifake.tar.xz --peers PEERS.npz --docs``.

PEERS.npz holds what others' published weights answer on CIFAKE's official test part: one array of P(fake) per detector, and
``path``. Writes results/peers.json and results/peers.csv; with --docs also docs/peers.png and the table in docs/peers.md.
Images are matched by path, never by position.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import record
from rich.progress import track

from fauxto import metrics
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.evaluation import TEST
from fauxto.report.versus_page import short_p
from fauxto.runs import write_text, write_whole

THRESHOLD = 0.5
CAVEAT = (
    "What the peers were trained on is known only as far as their authors say: some may have chosen an epoch by these test "
    "images, or trained on some of them."
)


def main() -> None:
    arguments = parsed()
    store = load_data(arguments.data)
    detectors = {name: Detector.load(run) for name, run in record.by_name(arguments.run).items()}
    columns = record.official_columns(detectors, store)
    test = columns[TEST]
    ours = {name: of_detector(detector, store, test) for name, detector in detectors.items()}
    p_fake = ours | of_peers(arguments.peers, store.path[test].tolist())
    is_fake = store.is_fake[test]
    found = {
        name: measured(is_fake[inside], {who: p[inside] for who, p in p_fake.items()}, list(ours), n=arguments.resamples)
        for name, inside in ((name, np.searchsorted(test, at)) for name, at in columns.items())
    }
    result = {"threshold": THRESHOLD, "seed": 0, "n_resamples": arguments.resamples, "caveat": CAVEAT, "columns": found}
    record.write_result("peers", result)
    record.write_table("peers", [row for name, column in found.items() for row in flat(name, column)])
    if arguments.docs:
        draw(record.DOCS / "peers.png", found[TEST])
        page = record.DOCS / "peers.md"
        write_text(page, record.filled(page.read_text(encoding="utf-8"), "peers", markdown(found)))


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, action="append", required=True, help="run folder; more of them: several seeds")
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--peers", type=Path, required=True, help="cifake_test_p_fake.npz")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--docs", action="store_true", help="also write docs/peers.png and the table in docs/peers.md")
    return parser.parse_args()


def of_detector(detector: Detector, store: Store, test: np.ndarray) -> np.ndarray:
    """Return a detector's calibrated p_fake: float64, shape (n,)."""
    return detector.p_fake(detector.logits(store.image(at) for at in test.tolist()))


def of_peers(file: Path, paths: list[str]) -> dict[str, np.ndarray]:
    """Return every peer's P(fake) in the order of ``paths``: float64, shape (n,) each."""
    with np.load(file, allow_pickle=False) as stored:
        order = record.order_of(stored["path"].tolist(), paths)
        return {name: stored[name].astype(np.float64)[order] for name in stored.files if name != "path"}


def measured(is_fake: np.ndarray, p_fake: dict[str, np.ndarray], ours: list[str], *, n: int) -> dict[str, Any]:
    """Return everybody's numbers on the same images, and the paired tests of each of ours against each peer."""
    scores = {
        who: record.score_intervals(is_fake, p, threshold=THRESHOLD, n_resamples=n)
        for who, p in track(p_fake.items(), description=f"{len(is_fake):,} images")
    }
    is_right = {who: (p >= THRESHOLD) == is_fake for who, p in p_fake.items()}
    peers = [who for who in p_fake if who not in ours]
    tests = {own: {peer: mcnemar(is_right[own], is_right[peer]) for peer in peers} for own in ours}
    best = max(peers, key=lambda peer: scores[peer]["accuracy"].value or 0)
    return {
        "n_images": len(is_fake),
        "ours": ours,
        "best_peer": best,
        "scores": {who: {key: record.plain(value) for key, value in row.items()} for who, row in scores.items()},
        "against_best_peer": {own: tests[own][best] for own in ours},
        "mcnemar": tests,
    }


def mcnemar(own_right: np.ndarray, other_right: np.ndarray) -> dict[str, Any]:
    """Return McNemar's exact test of equal accuracy on the same images (McNemar 1947), two-sided.

    The test is ``fauxto.metrics.mcnemar``; beside it stands the gain in accuracy with its 95 % interval (Bonett and Price 2012).

    Example:
        >>> mcnemar(np.array([True] * 5 + [False]), np.array([False] * 5 + [False]))["p_value"]
        0.0625
    """
    own, other, p_value, _ = metrics.mcnemar(own_right, other_right)
    gain = record.plain(metrics.paired_change(own, other, len(own_right)))
    return {"only_own_right": own, "only_other_right": other, "p_value": p_value, "accuracy_gain": gain}


def flat(column: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one line per detector, best accuracy first; the paired test is that of our first run."""
    rows = []
    for who, scores in ranked(found):
        row: dict[str, Any] = {"column": column, "detector": who, "is_fauxto": who in found["ours"]}
        for name in record.SCORES:
            row |= {name: scores[name]["value"], f"{name}_low": scores[name]["low"], f"{name}_high": scores[name]["high"]}
        test = found["mcnemar"][found["ours"][0]].get(who, {})
        rows.append(row | {key: test.get(key, "") for key in ("only_own_right", "only_other_right", "p_value")})
    return rows


def ranked(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return names and numbers, best accuracy first."""
    return sorted(found["scores"].items(), key=lambda item: -item[1]["accuracy"]["value"])


def markdown(columns: dict[str, dict[str, Any]]) -> str:
    """Return the whole test part as a table, with the accuracy on the other column, and the tests against the best peer."""
    (_, found), (_, unseen) = columns.items()
    own = found["ours"][0]
    lines = [
        f"| | accuracy | without duplicates | AUC | TPR at 1 % FPR | ECE | only {own} right / only the peer | p (McNemar) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for who, scores in ranked(found):
        test = found["mcnemar"][own].get(who)
        paired = f"{test['only_own_right']:,} / {test['only_other_right']:,} | {short_p(test['p_value'])}" if test else "| "
        name = f"**{who}** (fauxto)" if who in found["ours"] else who
        again = unseen["scores"][who]["accuracy"]
        cells = [percent(scores["accuracy"]), percent(again), number(scores["roc_auc"]), percent(scores["tpr_at_fpr1"])]
        lines.append(f"| {name} | {' | '.join(cells)} | {number(scores['ece'])} | {paired} |")
    return "\n".join(lines)


def percent(score: dict[str, float]) -> str:
    """Return 97.5 (97.3-97.7)."""
    return f"{100 * score['value']:.2f} ({100 * score['low']:.2f}-{100 * score['high']:.2f})"


def number(score: dict[str, float]) -> str:
    """Return .9971 (.9965-.9977)."""
    return f"{score['value']:.4f} ({score['low']:.4f}-{score['high']:.4f})"


def draw(path: Path, found: dict[str, Any]) -> None:
    """Draw four numbers of every detector as dots with their intervals, ours in another colour and shape."""
    from matplotlib.figure import Figure

    rows = list(reversed(ranked(found)))
    figure = Figure(figsize=(13, 1.2 + 0.28 * len(rows)), layout="constrained")
    titles = ("accuracy (higher is better)", "ROC AUC (higher)", "TPR at 1 % FPR (higher)", "calibration error (lower)")
    for axes, name, title in zip(figure.subplots(1, 4, sharey=True), record.SCORES, titles, strict=True):
        for at, (who, scores) in enumerate(rows):
            is_own = who in found["ours"]
            value, low, high = (scores[name][key] for key in ("value", "low", "high"))
            style = {"color": record.COLOURS[1], "marker": "D"} if is_own else {"color": record.COLOURS[0], "marker": "o"}
            axes.errorbar(value, at, xerr=[[max(value - low, 0)], [max(high - value, 0)]], markersize=5, capsize=2, **style)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", color="#d5dae1", linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
    names = [f"{who} (fauxto)" if who in found["ours"] else who for who, _ in rows]
    figure.axes[0].set_yticks(range(len(rows)), names, fontsize=9)
    figure.suptitle(f"CIFAKE, official test part ({found['n_images']:,} images), with 95 % intervals", fontsize=11)
    write_whole(path, lambda part: figure.savefig(part, dpi=130, format="png"))


if __name__ == "__main__":
    main()
