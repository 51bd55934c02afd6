"""Fit a detector's probabilities to your own images: ``python examples/calibrate.py DETECTOR MY_IMAGES NEW_DETECTOR``."""

from __future__ import annotations

import sys
from pathlib import Path

from fauxto import Detector
from fauxto.data.store import load_data
from fauxto.recalibration import recalibrate, write_detector
from fauxto.recalibration.sampling import labelled_sample


def main(detector_folder: str, data: str, out: str) -> None:
    detector = Detector.load(detector_folder)
    made = recalibrate(detector, labelled_sample(detector, load_data(data), data=Path(data).name))
    write_detector(detector, made.card, Path(out))
    about = made.card["calibration"]
    print(f"{about['method']}: temperature {about['temperature']:.3f}, bias {about['bias']:+.3f}", *made.warnings, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
