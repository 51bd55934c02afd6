"""Set a detector beside anybody's scores: ``python examples/compare.py DETECTOR SCORES.csv DATA FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from fauxto import Detector
from fauxto.data.store import load_data
from fauxto.evaluation.comparison import compare, read_scores
from fauxto.report.versus_page import write_comparison


def main(detector_folder: str, scores: str, data: str, out: str) -> None:
    theirs = read_scores(Path(scores), name=Path(scores).stem)
    comparison = compare([Detector.load(detector_folder), theirs], load_data(data), data=Path(data).name)
    pair = comparison.pairs[0]
    gain = pair.differences["accuracy"]
    print(f"{pair.own} - {pair.other}: accuracy {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], p {pair.test.p_value:.2g}")
    print("page:", write_comparison(comparison, Path(out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
