"""Images per second of a detector on a CPU: ``python benchmarks/throughput.py --detector D --data cifake.tar.xz``.

Three layers, each at batch 256 with all cores: one pass of the ONNX model (``session.run`` in float32), ``Detector.logits`` (the
whole answer: preprocessing, and the mirror image where the card and the first answer ask for it), and ``Detector.predict`` (with
every rule that may answer "unsure"); hence with real images, of which few are uncertain. The bar, 2,000 and 5,000 to reach for,
is held against both of the first. Writes results/throughput.json. Waits until the machine is quiet.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import record

from fauxto.checkpoint import MODEL, verified
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.preprocess import to_network_input

BAR, REACH_FOR = 2000, 5000
BATCH_SIZE, SEED = 256, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--batches", type=int, default=16, help="batches of one repeat")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    load_before = record.quiet_load()
    detector = Detector.load(arguments.detector)
    images = some_images(load_data(arguments.data), n_images=arguments.batches * BATCH_SIZE)
    works = layers(detector, images)
    rates: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()  # warm-up: the first run plans its memory
    for _ in range(arguments.repeats):  # in turn, so that a change of the machine's pace meets all of them
        for name, work in works.items():
            rates[name] += [len(images) / seconds for seconds in record.timed(work, n_runs=1)]
    found = {name: rate_summary(some) for name, some in rates.items()}
    about = {
        "detector": detector.card["name"],
        "n_parameters": record.n_parameters(detector),
        "model_bytes": (detector.folder / MODEL).stat().st_size,
        "precision": "float32",
        "batch_size": BATCH_SIZE,
        "images_per_repeat": len(images),
        "load_before": load_before,
    }
    bars = {name: record.against_bar(found[name]["median"], BAR, REACH_FOR) for name in ("session.run", "Detector.logits")}
    record.write_result("throughput", about | {"images_per_s": found, "bar_images_per_s": bars})


def some_images(store: Store, *, n_images: int) -> np.ndarray:
    """Return images of the official test part, drawn by chance: uint8, shape (n, h, w, 3)."""
    test = np.flatnonzero(store.split == "test")
    return store.batch(np.sort(np.random.default_rng(SEED).choice(test, n_images, replace=False)))


def layers(detector: Detector, images: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return what is timed."""
    batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
    inputs = [to_network_input(batch, detector.spec) for batch in batches]
    model = str(verified(detector.folder, detector.card, MODEL))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def model_alone() -> None:
        for batch in inputs:
            session.run(["logit"], {"images": batch})

    return {
        "session.run": model_alone,
        "Detector.logits": lambda: detector.logits(images, batch_size=BATCH_SIZE),
        "Detector.predict": lambda: detector.predict(images),
    }


def rate_summary(rates: list[float]) -> dict[str, Any]:
    """Return median and range of images per second."""
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates), "n_repeats": len(rates)}


if __name__ == "__main__":
    main()
