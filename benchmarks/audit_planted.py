"""Does the audit raise the right alarm, and none on clean data? ``python benchmarks/audit_planted.py --data cifake.tar.xz``.

Shortcuts are planted into CIFAKE's real training images, half of which are called fake; the clean controls are the same without
a plant, pictures of one flat colour each (nothing in them is grey, as in cartoons and paintings), and CIFAKE's own two classes,
saved alike in three ways, whose contents differ and whose files do not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import write_result

from fauxto.audit import audit
from fauxto.audit.findings import at_least
from fauxto.data.sources import source_of
from fauxto.data.store import Store, load_data

JPEG: Mapping[str, Any] = {"format": "JPEG", "quality": 75}
CAST = np.array([6.0, 0.0, -6.0])


@dataclass(frozen=True)
class Plant:
    """What is done to one class.

    Attributes:
        expected: Kinds of findings, one of which must be there as a shortcut.
        also: Kinds that follow from the same plant, and are no false alarm.
        change: Done to the pixels of the "fake" images; None for nothing.
        save: How they are saved; all others as JPEG 75.
        has_both: Whether the classes are CIFAKE's own, and not a random half of the real images.
        all_alike: Whether all images are saved by ``save``.
        draw: Makes every image, of both classes, instead of taking one of CIFAKE's.
    """

    expected: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    change: Callable[[np.ndarray], np.ndarray] | None = None
    save: Mapping[str, Any] | None = None
    has_both: bool = False
    all_alike: bool = False
    draw: Callable[[np.random.Generator], np.ndarray] | None = None


def stamped(image: np.ndarray, *, side: int = 4, colour: tuple[int, int, int] = (128, 128, 128)) -> np.ndarray:
    """Return the image with a small patch of one colour in its lower right corner."""
    image = image.copy()
    image[-side:, -side:] = colour
    return image


def faintly_stamped(image: np.ndarray) -> np.ndarray:
    """Return the image with a patch of 5 x 5 that lets half of the picture through."""
    image = image.copy()
    image[:5, :5] = image[:5, :5] // 2 + 127
    return image


def tinted(image: np.ndarray) -> np.ndarray:
    return np.clip(image + CAST, 0, 255).astype(np.uint8)


def larger(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((40, 40), Image.Resampling.BICUBIC))


def flat(rng: np.random.Generator) -> np.ndarray:
    """Return 32 x 32 pixels of one colour, drawn by chance."""
    return np.full((32, 32, 3), rng.integers(0, 256, 3), np.uint8)


def with_exif() -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0131] = "a program"
    return {**JPEG, "exif": exif.tobytes()}


_FILE = ("shortcut-file-size", "shortcut-format-and-tables", "encoder-coding", "encoder-subsampling", "encoder-metadata",
         "encoder-tables", "shortcut-metadata")  # fmt: skip
PLANTS: Mapping[str, Plant] = {
    "PNG against JPEG": Plant(("encoder-format",), _FILE, save={"format": "PNG"}),
    "JPEG quality 60 against 75": Plant(("encoder-tables",), _FILE, save={**JPEG, "quality": 60}),
    "JPEG quality 74 against 75": Plant(("encoder-tables",), _FILE, save={**JPEG, "quality": 74}),
    "4:4:4 against 4:2:0": Plant(("encoder-subsampling",), _FILE, save={**JPEG, "subsampling": 0}),
    "EXIF in one class": Plant(("encoder-metadata",), _FILE, save=with_exif()),
    "40 x 40 against 32 x 32": Plant(("shortcut-image-size",), ("shortcut-file-size",), change=larger),
    "colour cast of 6 grey levels": Plant(("colour-cast",), change=tinted),
    "grey stamp of 4 x 4 pixels": Plant(("stamp",), change=stamped),
    "faint stamp of 5 x 5 pixels": Plant(("stamp",), change=faintly_stamped),
    "clean: real, labels by chance": Plant(),
    "clean: flat colours, labels by chance": Plant(draw=flat),
    "clean: CIFAKE as JPEG 75": Plant(has_both=True),
    "clean: CIFAKE as JPEG 95": Plant(has_both=True, save={**JPEG, "quality": 95}, all_alike=True),
    "clean: CIFAKE as PNG": Plant(has_both=True, save={"format": "PNG"}, all_alike=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=600)
    arguments = parser.parse_args()
    store = load_data(arguments.data)
    rows: dict[str, dict[str, Any]] = {}
    for name, plant in PLANTS.items():
        found = [one_audit(store, plant, seed=seed, per_class=arguments.per_class) for seed in range(arguments.seeds)]
        rows[name] = judged(plant, found)
        print(name, {key: rows[name][key] for key in ("right_alarms", "false_alarms", "n_audits")}, flush=True)
    write_result("audit_planted", {"per_class": arguments.per_class, **totals(rows), "rows": rows})


def one_audit(store: Store, plant: Plant, *, seed: int, per_class: int) -> dict[str, str]:
    """Write a planted data set, audit it, and return kind -> severity of every finding."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        plant_into(store, plant, root, seed=seed, per_class=per_class)
        planted = load_data(root, cache=Path(folder) / "cache")
        report = audit(source_of(root, planted.records), planted, seed=seed)
    serious = {finding.kind for finding in at_least(report.findings, "shortcut")}
    return {finding.kind: "shortcut" if finding.kind in serious else finding.severity for finding in report.findings}


def plant_into(store: Store, plant: Plant, root: Path, *, seed: int, per_class: int) -> None:
    """Write ``per_class`` images of either class, drawn from the training part."""
    rng = np.random.default_rng(seed)
    in_train = store.split == "train"
    real = rng.permutation(np.flatnonzero(in_train & ~store.is_fake))
    fake = rng.permutation(np.flatnonzero(in_train & store.is_fake)) if plant.has_both else real[per_class:]
    for name, positions, is_planted in (("REAL", real[:per_class], False), ("FAKE", fake[:per_class], True)):
        (root / name).mkdir(parents=True)
        save = plant.save if plant.save and (is_planted or plant.all_alike) else JPEG
        for number, position in enumerate(positions.tolist()):
            pixels = plant.draw(rng) if plant.draw else store.image(position)
            if is_planted and plant.change:
                pixels = plant.change(pixels)
            Image.fromarray(pixels).save(root / name / f"{number}.{save['format'].lower()}", **save)


def judged(plant: Plant, found: list[dict[str, str]]) -> dict[str, Any]:
    """Count the audits that raise what was planted, and those that raise anything else as bad as a shortcut.

    Where labels are given by chance, nothing tells the classes apart: there a warning about simple statistics is false too.
    """
    allowed = {*plant.expected, *plant.also}
    false = [sorted(kind for kind, severity in one.items() if severity == "shortcut" and kind not in allowed) for one in found]
    if not plant.expected and not plant.has_both:
        false = [kinds + [kind for kind in one if kind == "simple-statistics"] for kinds, one in zip(false, found, strict=True)]
    hits = [bool({kind for kind in plant.expected if one.get(kind) == "shortcut"}) for one in found]
    return {
        "expected": list(plant.expected),
        "n_audits": len(found),
        "right_alarms": sum(hits) if plant.expected else None,
        "false_alarms": sum(map(bool, false)),
        "false_kinds": sorted({kind for kinds in false for kind in kinds}),
        "raised": sorted({kind for one in found for kind, severity in one.items() if severity in ("shortcut", "warning")}),
    }


def totals(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many plants were found, and how many clean or planted sets raised what was not there."""
    planted = [row for row in rows.values() if row["expected"]]
    clean = [row for row in rows.values() if not row["expected"]]
    return {
        "planted": {"found": sum(row["right_alarms"] for row in planted), "of": sum(row["n_audits"] for row in planted)},
        "clean": {"alarmed": sum(row["false_alarms"] for row in clean), "of": sum(row["n_audits"] for row in clean)},
        "planted_with_another_alarm": sum(row["false_alarms"] for row in planted),
    }


if __name__ == "__main__":
    main()
