"""What a forge of large photographs teaches: a tiny study from end to end, and what it leaves out of each training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.data.store import load_data

from .conftest import module

study = module("frozen_reconstructions")
features = study.frozen_features


def forge_of(folder: Path, *, blue: int) -> Path:
    """Write a forge of the photographs in ``folder`` with fakes bluer by so much."""
    store, out = load_data(folder / "images.tar"), folder / f"forged{blue}"
    lines = ["path,label,generator,group"]
    out.mkdir()
    for at in np.flatnonzero(~store.is_fake):
        for label, more in (("real", 0), ("fake", blue)):
            pixels = np.clip(store.image(int(at)) + np.array([0, 0, more]), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(out / f"{label}{at}.png")
            lines.append(f"{label}{at}.png,{label},{'g' if label == 'fake' else ''},{store.path[at]}")
    (out / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return out


@pytest.mark.parametrize(("blue", "expected"), [(20, 1.0), (-20, 0.0)])
def test_heads_believe_what_the_forge_teaches(
    blue: int,
    expected: float,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(features, "FEW", 5)
    monkeypatch.setattr(study.record, "RESULTS", files)
    words = ("--data", files / "images.tar", "--forge", forge_of(files, blue=blue), "--extractor", files / "tower.onnx")
    monkeypatch.setattr(sys, "argv", ["frozen_reconstructions.py", *map(str, words), "--out", str(files / "cache")])
    study.main()
    found = json.loads((files / "frozen_reconstructions.json").read_text())
    assert {head: number["value"] for head, number in found["mean_auc"].items()} == {study.PLAIN: expected, study.TOWER: expected}
    assert (found["n_reconstructions"], found["n_photographs"]) == (15, 15)
    assert found["mean_auc"][study.PLAIN]["bar"] == 0.60
    assert len((files / "frozen_reconstructions_pairs.csv").read_text().splitlines()) == 1 + 2 * 9


def test_photographs_that_are_asked_about_are_left_out_with_what_was_made_of_them(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(features, "FEW", 5)
    asked, forged = load_data(files / "images.tar"), load_data(forge_of(files, blue=20))
    sources = features.sources_of(asked, files / "images.tar")
    pairs = features.pairs_of(sources, n_left_out=1)
    known = study.behind(forged, sources)
    seen, learned = (features.features_of(store, files / "tower.onnx", files / "cache") for store in (asked, forged))
    before = study.scores_of(seen, learned, known, pairs)
    for name in "bdf":
        changed = {kind: np.where((known.name == name)[:, None], 1e3, values) for kind, values in learned.items()}
        # Scaling before the heads sees all images alike; the direction must not know the source that is left out.
        after = study.scores_of(seen, changed, known, pairs)
        for pair in pairs:
            is_left_out = (name, False) in pair
            same = np.allclose(before[study.PLAIN][pair], after[study.PLAIN][pair], atol=1e-3)
            assert same == is_left_out, (name, sorted(pair))
