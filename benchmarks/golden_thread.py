"""Compare p_fake of API, command line, ONNX and network: ``python benchmarks/golden_thread.py --detector RUN --data DATA``.

On 1,000 real images drawn by chance; bar: 1e-5.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from record import write_result

from fauxto.data.store import load_data
from fauxto.detector import Detector
from fauxto.explain.cam import Explainer

BAR, N_IMAGES, SEED = 1e-5, 1000, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    store = load_data(arguments.data)
    positions = np.sort(np.random.default_rng(SEED).choice(len(store), N_IMAGES, replace=False))
    images = [store.image(at) for at in positions]
    detector = Detector.load(arguments.detector)
    by_network = detector.p_fake(Explainer.load(arguments.detector).logits(images))
    answers = {
        "onnx": detector.p_fake(detector.logits(images)),
        "api": np.array([answer.p_fake for answer in detector.predict(images)]),
        "command line": of_command_line(images, arguments.detector),
    }
    largest = {name: float(np.abs(p_fake - by_network).max()) for name, p_fake in answers.items()}
    result = {"bar": BAR, "n_images": N_IMAGES, "seed": SEED, "largest_difference_from_network": largest}
    write_result("golden_thread", result | {"reached": max(largest.values()) <= BAR})


def of_command_line(images: list[np.ndarray], detector: Path) -> np.ndarray:
    """Return what ``fauxto check --json`` answers for the images as PNG files."""
    with tempfile.TemporaryDirectory() as folder:
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(Path(folder) / f"{number:04d}.png")
        fauxto = Path(sysconfig.get_path("scripts")) / "fauxto"
        call = [str(fauxto), "check", folder, "--detector", str(detector), "--json"]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
    return np.array([image["p_fake"] for image in json.loads(done.stdout)["images"]])


if __name__ == "__main__":
    main()
