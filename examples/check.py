"""Ask a detector about images, without PyTorch: ``python examples/check.py DETECTOR IMAGE...``."""

from __future__ import annotations

import sys

from fauxto import Detector


def main(detector_folder: str, *images: str) -> None:
    detector = Detector.load(detector_folder)
    for image, answer in zip(images, detector.predict(images), strict=True):
        print(f"{image}: {answer.verdict}, p_fake {answer.p_fake:.4f} {answer.reason}".rstrip())


if __name__ == "__main__":
    main(*sys.argv[1:])
