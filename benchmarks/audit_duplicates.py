"""Duplicates found: planted ones and those of the whole set: ``python benchmarks/audit_duplicates.py --data cifake.tar.xz``.

With ``--timing`` only the time and memory of the whole set are measured, on a machine that does nothing else; bars: 90 s, 4 GiB.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import against_bar, plain, quiet_load, write_result

from fauxto.audit.duplicates import EQUAL, DuplicateReport, find_duplicates
from fauxto.audit.likeness import shifted
from fauxto.data.decoding import pixel_digest
from fauxto.data.store import Store, load_data
from fauxto.metrics import wilson
from fauxto.perturb import perturbed

N_IMAGES, N_PER_KIND = 20_000, 500
BAR_PRECISION, BAR_S, BAR_GIB = 0.95, 90, 4
# Steps in their order; "mirror", "shift-K" (K pixels along one side at least) and "size" (20 to 64 pixels a side) are made here,
# the others by fauxto.perturb with a severity drawn between the two ends.
KINDS: dict[str, tuple[str, ...]] = {
    "equal": (),
    "jpeg 40-95": ("jpeg 40 95",),
    "webp 40-95": ("webp 40 95",),
    "resized 20-64 px": ("size",),
    "resized by 0.5-0.9 and back": ("resize 0.5 0.9",),
    "resized by 1.25-2 and back": ("resize 1.25 2",),
    "shifted 1 px": ("shift 1",),
    "shifted 2 px": ("shift 2",),
    "shifted 3 px": ("shift 3",),
    "mirrored": ("mirror",),
    "brightness 0.8-1.25": ("brightness 0.8 1.25",),
    "contrast 0.8-1.25": ("contrast 0.8 1.25",),
    "mirrored, jpeg": ("mirror", "jpeg 40 95"),
    "mirrored, shifted 2 px": ("mirror", "shift 2"),
    "shifted 2 px, jpeg": ("shift 2", "jpeg 40 95"),
    "resized by 0.5-0.9 and back, jpeg": ("resize 0.5 0.9", "jpeg 40 95"),
    "mirrored, shifted 2 px, brightness, jpeg": ("mirror", "shift 2", "brightness 0.8 1.25", "jpeg 40 95"),
    "mirrored, resized 20-64 px, jpeg": ("mirror", "size", "jpeg 40 95"),
}
# What nobody promised: how far it reaches.
BEYOND: dict[str, tuple[str, ...]] = {
    "cropped to 0.9": ("crop 0.9 0.9",),
    "noise 0.05": ("noise 0.05 0.05",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--timing", action="store_true")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        find_duplicates(load_data(arguments.data))
    elif arguments.timing:
        write_result("audit_duplicates_timing", timing(arguments.data))
    else:
        store = load_data(arguments.data)
        write_result("audit_duplicates", {"planted": planted(store), "whole": whole(find_duplicates(store))})


def timing(data: Path, *, n_runs: int = 3) -> dict[str, Any]:
    """Return seconds and peak memory of fresh processes that open the decoded store and find its duplicates."""
    n_images, load = len(load_data(data)), quiet_load()
    seconds = []
    for _ in range(n_runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, __file__, "--data", str(data), "--once"], check=True)
        seconds.append(time.perf_counter() - started)
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {
        "n_images": n_images, "load_before": load, "runs_s": seconds,
        "seconds": against_bar(max(seconds), BAR_S, at_most=True), "peak_gib": against_bar(peak_gib, BAR_GIB, at_most=True),
    }  # fmt: skip


def whole(report: DuplicateReport) -> dict[str, Any]:
    """Return the counts of a report, without the lists behind them."""
    counts = {name: value for name, value in report.to_dict().items() if name.startswith("n_") or name in ("counts", "limits")}
    sizes = Counter(len(group) for group in report.groups)
    changes = Counter(pair.change for pair in report.pairs if pair.kind != EQUAL)
    largest = {"group_sizes": {str(size): n for size, n in sorted(sizes.items())}}
    return counts | largest | {"near_changes": dict(changes.most_common())}


def planted(store: Store, *, n_images: int = N_IMAGES, n_per_kind: int = N_PER_KIND, seed: int = 1) -> dict[str, Any]:
    """Return how many copies that are planted among training images are found, and how many other pairs with them."""
    rng = np.random.default_rng(seed)
    train = np.flatnonzero(store.split == "train")
    _, distinct = np.unique(store.pixel_hash[train], return_index=True)
    chosen = train[np.sort(rng.permutation(distinct)[:n_images])]
    base = [store.image(at) for at in chosen.tolist()]
    kinds = KINDS | BEYOND
    sources = rng.permutation(n_images)[: n_per_kind * len(kinds)].reshape(len(kinds), -1)
    copies = [changed(base[at], steps, rng) for steps, ats in zip(kinds.values(), sources, strict=True) for at in ats.tolist()]
    source = np.concatenate([np.arange(n_images), sources.ravel()])
    kind = np.array([""] * n_images + [name for name in kinds for _ in range(n_per_kind)])
    known = {(pair.first, pair.second) for pair in find_duplicates(store_of(base)).pairs}
    found = [(pair.first, pair.second) for pair in find_duplicates(store_of(base + copies)).pairs]
    return {"n_images": n_images, "n_per_kind": n_per_kind, "seed": seed, "n_pairs_before": len(known)} | judged(
        found, known, source, kind, list(KINDS)
    )


def changed(image: np.ndarray, steps: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Return a copy after some steps of ``KINDS``, severities drawn."""
    for step in steps:
        name, *ends = step.split()
        if name == "mirror":
            image = image[:, ::-1]
        elif name == "shift":
            image = shifted(image[None], *_move(int(ends[0]), rng))[0]
        elif name == "size":
            width, height = rng.integers(20, 65, 2).tolist()
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        else:
            low, high = (float(end) for end in ends)
            severity = rng.integers(int(low), int(high) + 1) if name in ("jpeg", "webp") else rng.uniform(low, high)
            image = perturbed(np.ascontiguousarray(image)[None], f"{name}-{severity:g}", seed=int(rng.integers(2**31)))[0]
    return np.ascontiguousarray(image)


def _move(distance: int, rng: np.random.Generator) -> tuple[int, int]:
    down, right = rng.integers(-distance, distance + 1), rng.choice([-distance, distance])
    return (int(down), int(right)) if rng.integers(2) else (int(right), int(down))


def judged(
    found: list[tuple[int, int]], known: set[tuple[int, int]], source: np.ndarray, kind: np.ndarray, promised: list[str]
) -> dict[str, Any]:
    """Return recall and precision per kind of copy.

    A found pair is right if both images come from one source. Where their two sources were a pair before anything was planted,
    it is not counted; ``n_natural`` says how many those are. Every other pair with a copy in it is wrong.

    Args:
        found: Pairs of positions.
        known: Pairs of sources found before.
        source: For each position, its source.
        kind: For each position, how it was made; "" for the sources themselves.
        promised: The kinds that count together.
    """
    n_right, n_wrong, n_natural = Counter[str](), Counter[str](), Counter[str]()
    for first, second in found:
        made = {kind[first], kind[second]} - {""}
        one, other = sorted((int(source[first]), int(source[second])))
        tally = n_right if one == other else n_natural if (one, other) in known else n_wrong
        tally.update(made)
    n_planted = Counter(kind.tolist())
    rows = {name: _row(n_right[name], n_wrong[name], n_natural[name], n_planted[name]) for name in n_planted if name}
    sums = [sum(tally[name] for name in promised) for tally in (n_right, n_wrong, n_natural, n_planted)]
    total = _row(*sums)
    precision = total["precision"]["low"] if sums[0] + sums[1] else None
    return {"kinds": rows, "together": total, "lower_end_of_precision": against_bar(precision, BAR_PRECISION)}


def _row(n_right: int, n_wrong: int, n_natural: int, n_planted: int) -> dict[str, Any]:
    row: dict[str, Any] = {"n_planted": n_planted, "n_found": n_right, "n_wrong": n_wrong, "n_natural": n_natural}
    row["recall"] = plain(wilson(n_right, n_planted))
    named = {"precision": n_right + n_wrong, "precision_if_natural_were_wrong": n_right + n_wrong + n_natural}
    return row | {name: plain(wilson(n_right, n)) if n else None for name, n in named.items()}


def store_of(images: list[np.ndarray], **columns: np.ndarray) -> Store:
    """Return a store in memory of uint8 images (h, w, 3); all real and in no split unless columns say otherwise."""
    n_bytes = np.array([image.size for image in images], np.int64)
    text, zeros = partial(np.full, len(images)), np.zeros(len(images), np.int64)
    names = np.array([f"{at}.png" for at in range(len(images))])
    store = Store(
        folder=Path("in-memory"), path=names, label=zeros.astype(np.uint8), generator=text(""), group=text(""), split=text(""),
        height=np.array([image.shape[0] for image in images], np.int32),
        width=np.array([image.shape[1] for image in images], np.int32),
        pixel_hash=np.array([pixel_digest(image) for image in images], "S32"), file_format=text("PNG"), file_bytes=n_bytes,
        broken=(), _offset=np.cumsum(n_bytes) - n_bytes, _pixels=np.concatenate([image.ravel() for image in images]),
    )  # fmt: skip
    return replace(store, **columns)


if __name__ == "__main__":
    main()
