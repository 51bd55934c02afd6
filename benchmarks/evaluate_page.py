"""Write the tables of docs/evaluate.md from benchmarks/results/: ``python benchmarks/evaluate_page.py``.

Reads robustness.csv, robustness_time.json and cross_generator.csv; measures nothing, and leaves out what was not measured yet.
"""

from __future__ import annotations

import detector_page
import record

from fauxto.runs import write_text

PAGE = record.DOCS / "evaluate.md"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, (file, table) in TABLES.items():
        if (record.RESULTS / file).is_file():
            page = record.filled(page, name, table())
    write_text(PAGE, page)


def robustness() -> str:
    """Return accuracy and AUC of every detector under every perturbation, on the official test part."""
    rows = [row for row in detector_page.table_rows("robustness") if row["column"] == "test"]
    names = list(dict.fromkeys(row["detector"] for row in rows))
    found = {(row["detector"], row["perturbation"]): row for row in rows}
    head = " | ".join(f"`{name}`: accuracy | AUC | false alarms | unsure" for name in names)
    lines = [f"| | {head} |", "|---" * (1 + 4 * len(names)) + "|"]
    for perturbation in dict.fromkeys(row["perturbation"] for row in rows):
        cells = [found[name, perturbation] for name in names]
        shares = [[percent(row[name]) for name in ("false_alarm_rate", "unsure")] for row in cells]
        texts = [
            f"{ends(row, 'accuracy')} | {float(row['roc_auc']):.4f} | {' | '.join(some)}"
            for row, some in zip(cells, shares, strict=True)
        ]
        lines.append(f"| {perturbation} | {' | '.join(texts)} |")
    return "\n".join(lines)


def seconds() -> str:
    """Return how long the verb takes."""
    found = detector_page.result("robustness_time")
    lines = ["| | as they came, s | changed, s | page and files, s | all, s |", "|---|---|---|---|---|"]
    for name, parts in found.get("seconds", {}).items():
        cells = " | ".join(f"{value:.0f}" for value in (*parts.values(), sum(parts.values())))
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def generators() -> str:
    """Return AUC and balanced accuracy of every detector on every generator."""
    rows = detector_page.table_rows("cross_generator")
    names = list(dict.fromkeys(row["detector"] for row in rows))
    found = {(row["detector"], row["encode"], row["generator"]): row for row in rows}
    head = " | ".join(f"`{name}`: AUC | fakes found | balanced accuracy" for name in names)
    lines = [f"| | encoding | images | {head} |", "|---" * (3 + 3 * len(names)) + "|"]
    for encode, generator in dict.fromkeys((row["encode"], row["generator"]) for row in rows):
        own = [found[name, encode, generator] for name in names]
        texts = [
            f"{float(row['roc_auc']):.3f} [{float(row['roc_auc_low']):.3f}, {float(row['roc_auc_high']):.3f}] | "
            f"{percent(row['recall'])} | {percent(row['balanced_accuracy'])}"
            for row in own
        ]
        mark = " †" if own[0]["too_small"] == "1" else ""
        lines.append(f"| {generator}{mark} | {encode} | {own[0]['n_fake']} | {' | '.join(texts)} |")
    return "\n".join(lines)


def ends(row: dict[str, str], name: str) -> str:
    """Return a share in percent with its interval.

    Example:
        >>> ends({"a": "0.5", "a_low": "0.25", "a_high": "0.75"}, "a")
        '50.00 [25.00, 75.00]'
    """
    return f"{percent(row[name])} [{percent(row[f'{name}_low'])}, {percent(row[f'{name}_high'])}]"


def percent(value: str) -> str:
    """Return a share as a percentage; nothing where there is none."""
    return detector_page.percent(value) if value else "none"


TABLES = {
    "robustness": ("robustness.csv", robustness),
    "robustness-time": ("robustness_time.json", seconds),
    "generators": ("cross_generator.csv", generators),
}

if __name__ == "__main__":
    main()
