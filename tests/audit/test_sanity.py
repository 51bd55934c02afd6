"""Sanity: each oddity by hand, and silence where nothing is odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fauxto.audit.facts import read_facts
from fauxto.audit.findings import Finding
from fauxto.audit.sanity import _shares, sanity_findings
from fauxto.data.sources import source_of
from fauxto.data.store import load_data


def findings(folder: Path) -> dict[str, Finding]:
    store = load_data(folder, skip_broken=True, cache=folder.parent / "cache")
    facts = read_facts(source_of(folder, store.records), store)
    return {finding.kind: finding for finding in sanity_findings(store, facts)}


def fill(folder: Path, n: int, *, kind: str = "png", size: tuple[int, int] = (4, 4), seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed + n).integers(0, 256, (n, *size[::-1], 3), dtype=np.uint8)
    for number, pixels in enumerate(values):
        Image.fromarray(pixels).save(folder / f"{number}.{kind}")


def test_another_encoder_for_one_class(tmp_path: Path) -> None:
    fill(tmp_path / "data/train/real", 60, kind="jpg")
    fill(tmp_path / "data/train/fake", 60)
    found = findings(tmp_path / "data")
    assert {"encoder-format", "encoder-tables", "encoder-metadata"} <= set(found)
    assert found["encoder-format"].severity == "shortcut"
    assert found["encoder-format"].numbers["PNG"] == {"real": 0.0, "fake": 1.0}
    assert "about quality 75" in found["encoder-tables"].what


def test_one_odd_file_in_a_small_class_is_chance() -> None:
    is_fake = np.arange(5020) >= 5000
    words = np.where(np.arange(5020) == 5019, "odd", "usual")
    assert list(_shares(words, is_fake)) == []  # chance gives it in 1 of 251 cases
    assert list(_shares(np.where(is_fake, "odd", "usual"), is_fake)) == [("odd", 0.0, 1.0), ("usual", 1.0, 0.0)]


def test_a_rare_format_in_one_class_is_found_and_chance_is_not(tmp_path: Path) -> None:
    fill(tmp_path / "data/train/real", 400)
    fill(tmp_path / "data/train/fake", 400)
    for number in range(3):
        (tmp_path / f"data/train/fake/{number}.png").unlink()
    fill(tmp_path / "data/train/fake", 3, kind="bmp")
    assert "encoder-format" not in findings(tmp_path / "data")
    fill(tmp_path / "data/train/fake", 40, kind="gif")
    assert findings(tmp_path / "data")["encoder-format"].numbers["GIF"]["fake"] > 0.08


def test_balance_parts_and_sizes(tmp_path: Path) -> None:
    fill(tmp_path / "data/train/real", 80)
    fill(tmp_path / "data/train/fake", 10)
    fill(tmp_path / "data/test/fake", 10, size=(6, 4))
    (tmp_path / "data/test/fake/broken.png").write_bytes(b"x")
    found = findings(tmp_path / "data")
    assert set(found) == {"few-images", "unbalanced", "one-class", "unreadable", "sizes"}
    assert found["few-images"].severity == "warning"
    assert found["one-class"].title == "the test part holds only fake images"
    assert found["sizes"].numbers == {"n_sizes": 2}


def test_one_class_only_and_no_parts(tmp_path: Path) -> None:
    fill(tmp_path / "data/fake/gan", 3)
    found = findings(tmp_path / "data")
    assert set(found) == {"one-class", "no-parts"}
    assert found["no-parts"].severity == "note"
