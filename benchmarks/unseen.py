"""Images of generators that a detector may never have seen, and of sizes it was never made for.

``python benchmarks/unseen.py --detector D --detector D2 --data cifake.tar.xz --lossless cifar10_lossless_train.npz --generators
generators32.tar --hires hires_dev.tar`` writes results/unseen.json and results/unseen.csv. Per generator: ROC AUC against real
images of the same codec, and how often the verdict is fake, real or unsure, and why. Both archives are development data: their
labels are their sources' claims, and faces and art dominate the large fakes. Nothing is chosen or fitted here.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import record
from PIL import Image
from rich.progress import track

from fauxto.data.archives import list_archive
from fauxto.data.sources import Source, open_source
from fauxto.data.store import Store, load_data
from fauxto.detector import Detector
from fauxto.errors import ImageError
from fauxto.images import open_rgb
from fauxto.metrics import all_metrics
from fauxto.vocabulary import Prediction

REAL = "(real)"
SIDE = 32
NOTES = {
    "jpeg": "PNG images encoded here as JPEG, quality 75, 4:2:0, as CIFAKE's are, though by another encoder; real images are "
    "those of CIFAKE's official test part. The sources named gulrajani_* had been JPEG of that quality before.",
    "lossless": "PNG images as they are; real images are lossless CIFAR-10 training images. Those whose JPEG form the detector "
    "was trained on are left out where its split is known; else all count and may look too real.",
    "hires": "As they are, mostly 256 x 256: a detector for 32 x 32 must answer unsure, by size.",
    "hires shrunk": "The same, shrunk to 32 x 32 (Lanczos), for information: subject and label are entangled in these images.",
}


def main() -> None:
    arguments = parsed()
    detectors = {name: Detector.load(folder) for name, folder in record.by_name(arguments.detector).items()}
    store = load_data(arguments.data)
    small, large = open_source(arguments.generators), open_source(arguments.hires)
    small_images = [np.asarray(open_rgb(payload)) for payload in payloads(small)]
    small_names = [record_.generator or REAL for record_ in small.records]
    families = families_of(arguments.generators)
    results: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for name, detector in detectors.items():
        reals = {"jpeg": test_reals(detector, store), "lossless": lossless_reals(detector, store, arguments.lossless)}
        images = {"jpeg": [as_jpeg(pixels) for pixels in small_images], "lossless": small_images}
        known = set(detector.card["trained_on"].get("generators", []))
        tables = {codec: by_generator(detector, images[codec], small_names, reals[codec], known) for codec in reals}
        tables |= hires_tables(detector, large)
        results[name] = {"n_reals": {codec: len(some) for codec, some in reals.items()}, "generators_in_training": sorted(known)}
        results[name] |= {kind: overall(table) for kind, table in tables.items()}
        rows += [{"detector": name, "set": kind, "family": families.get(row["generator"], "")} | row
                 for kind, table in tables.items() for row in table]  # fmt: skip
    record.write_table("unseen", rows)
    record.write_result("unseen", {"notes": NOTES, "detectors": results})


def parsed() -> argparse.Namespace:
    """Return the command line's values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, action="append", required=True)
    parser.add_argument("--data", type=Path, required=True, help="the real CIFAKE")
    parser.add_argument("--lossless", type=Path, required=True, help="cifar10_lossless_train.npz")
    parser.add_argument("--generators", type=Path, required=True, help="generators32.tar")
    parser.add_argument("--hires", type=Path, required=True, help="hires_dev.tar")
    return parser.parse_args()


def payloads(source: Source) -> list[bytes]:
    """Return every file's bytes in the order of the records."""
    found: dict[int, bytes] = {}
    for position, payload in source.payloads():
        if isinstance(payload, ImageError):
            raise payload
        found[position] = payload
    return [found[at] for at in range(len(source.records))]


def families_of(archive: Path) -> dict[str, str]:
    """Return what kind of generator each one is, as the archive's manifest says."""
    _, manifest = list_archive(archive, "tar")
    assert manifest is not None, f"{archive} holds no manifest.csv"
    return {row["generator"]: row["family"] for row in csv.DictReader(io.StringIO(manifest[1]))}


def as_jpeg(pixels: np.ndarray) -> np.ndarray:
    """Return an image after JPEG at quality 75, 4:2:0: uint8, same shape."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=75, subsampling="4:2:0")
    return np.asarray(open_rgb(stream.getvalue()))


def test_reals(detector: Detector, store: Store) -> np.ndarray:
    """Return the official test part's real images, which no run has seen: uint8, shape (n, h, w, 3)."""
    test = next(iter(record.official_columns({detector.card["name"]: detector}, store).values()))
    return store.batch(test[~store.is_fake[test]])


def lossless_reals(detector: Detector, store: Store, file: Path) -> np.ndarray:
    """Return lossless real images, where possible only those whose JPEG form the detector was not trained on."""
    split = record.split_of(detector, store)
    with np.load(file, allow_pickle=False) as stored:
        pixels, paths = stored["image"], stored["cifake_path"].tolist()
    if split is None:
        return pixels
    return pixels[~np.isin(record.order_of(store.path.tolist(), paths), split.train)]


def by_generator(
    detector: Detector, images: list[np.ndarray], names: list[str], reals: np.ndarray, known: set[str]
) -> list[dict[str, Any]]:
    """Return one row per generator, and one for the archive's own real images, then one for the matched reals."""
    of_reals, answers = detector.predict(reals), detector.predict(images)
    p_real = np.array([one.p_fake for one in of_reals])
    rows = []
    for name in sorted(set(names)):
        own = [one for one, generator in zip(answers, names, strict=True) if generator == name]
        auc = auc_against(p_real, np.array([one.p_fake for one in own])) if name != REAL else {}
        rows.append({"generator": name, "in_training": name in known} | auc_row(auc) | shares(own))
    return [*rows, {"generator": f"{REAL} matched", "in_training": False} | auc_row({}) | shares(of_reals)]


def auc_against(p_real: np.ndarray, p_fake: np.ndarray) -> dict[str, Any]:
    """Return ROC AUC of one generator's images against real ones, with its bootstrap interval."""
    is_fake = np.repeat([False, True], [len(p_real), len(p_fake)])
    scores = all_metrics(is_fake, np.concatenate([p_real, p_fake]), threshold=0.5, n_resamples=300)
    return record.plain(scores["roc_auc"])


def auc_row(auc: dict[str, Any]) -> dict[str, Any]:
    """Return the interval as three columns, empty where there is none."""
    return {"roc_auc": auc.get("value"), "roc_auc_low": auc.get("low"), "roc_auc_high": auc.get("high")}


def shares(answers: list[Prediction]) -> dict[str, Any]:
    """Return how often each verdict was given, which rules made it unsure, and the share above the threshold regardless."""
    n = len(answers)
    verdicts = Counter(one.verdict for one in answers)
    reasons = Counter(one.kind for one in answers if one.verdict == "unsure")
    return {
        "n": n,
        "fake": verdicts["fake"] / n,
        "real": verdicts["real"] / n,
        "unsure": verdicts["unsure"] / n,
        "reasons": "; ".join(f"{kind} {count / n:.3f}" for kind, count in reasons.most_common()),
    }


def hires_tables(detector: Detector, source: Source) -> dict[str, list[dict[str, Any]]]:
    """Return one row per generator, and one for the real images, for the images as they are and shrunk to 32 x 32."""

    def shrunk(image: Image.Image) -> Image.Image:
        return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)

    return {
        "hires": label_rows(answers_by_generator(detector, source, lambda image: image)),
        "hires shrunk": label_rows(answers_by_generator(detector, source, shrunk)),
    }


def answers_by_generator(
    detector: Detector, source: Source, changed: Callable[[Image.Image], Image.Image]
) -> dict[str, list[Prediction]]:
    """Return the answers on every image, read as they are needed: together they are too large to keep."""
    names: list[str] = []

    def images() -> Iterator[Image.Image]:
        for position, payload in track(source.payloads(), total=len(source.records), description="large images"):
            if isinstance(payload, ImageError):
                raise payload
            names.append(source.records[position].generator.split(":")[0] or REAL)  # ComfyUI:MODEL counts as one kind
            yield changed(open_rgb(payload))

    found: dict[str, list[Prediction]] = {}
    for answer, name in zip(detector.predict(images()), names, strict=True):
        found.setdefault(name, []).append(answer)
    return found


def label_rows(found: dict[str, list[Prediction]]) -> list[dict[str, Any]]:
    """Return the rows of large images; AUC is that of all fakes of a kind against all real ones."""
    p_real = np.array([one.p_fake for one in found[REAL]])
    rows = []
    for name, answers in sorted(found.items()):
        auc = auc_against(p_real, np.array([one.p_fake for one in answers])) if name != REAL else {}
        rows.append({"generator": name, "in_training": False} | auc_row(auc) | shares(answers))
    return rows


def overall(table: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over generators that were not in training, each counting alike, and the verdicts on real images."""
    fakes = [row for row in table if REAL not in row["generator"] and not row["in_training"]]
    reals = {row["generator"]: {key: row[key] for key in ("n", "fake", "real", "unsure", "reasons")}
             for row in table if REAL in row["generator"]}  # fmt: skip
    means = {f"mean_{key}": float(np.mean([row[key] for row in fakes])) for key in ("roc_auc", "fake", "real", "unsure")}
    worst = min(fakes, key=lambda row: row["roc_auc"])
    return means | {"n_generators": len(fakes), "lowest_auc": {worst["generator"]: worst["roc_auc"]}, "reals": reals}


if __name__ == "__main__":
    main()
