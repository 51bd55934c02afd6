"""Where a detector sees something fake in an image: ``python examples/explain.py DETECTOR IMAGE FOLDER``."""

from __future__ import annotations

import sys

from fauxto.explain.cam import Explainer


def main(detector: str, image: str, out: str) -> None:
    explanation = Explainer.load(detector).explain([image], target="fake")[0]
    height, width = explanation.map_size
    print(f"p_fake {explanation.p_fake:.4f}; {height}x{width} map for {explanation.target} from {explanation.layer}")
    explanation.save(out)  # a new folder: map.npy, overlay.png, manifest.json
    print("overlay:", f"{out}/overlay.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
