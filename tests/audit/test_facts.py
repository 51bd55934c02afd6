"""Facts: one pass over the files, remembered beside the store."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from fauxto.audit import facts
from fauxto.audit.facts import count_words, read_facts
from fauxto.data.sources import source_of
from fauxto.data.store import Store, load_data
from fauxto.errors import DataError


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Store]:
    for name, quality in (("real/b.jpg", 50), ("fake/a.jpg", 80)):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (quality, 0, 0)).save(tmp_path / "data" / name, quality=quality)
    (tmp_path / "data/real/broken.jpg").write_bytes(b"oops")
    return tmp_path / "data", load_data(tmp_path / "data", skip_broken=True, cache=tmp_path / "cache")


def test_each_file_has_its_own_facts_in_the_order_of_the_store(small: tuple[Path, Store]) -> None:
    folder, store = small
    seen: list[tuple[int, int]] = []
    found = read_facts(source_of(folder, store.records), store, progress=lambda done, total: seen.append((done, total)))
    assert dict(zip(store.path.tolist(), found.quality.tolist(), strict=True)) == {"fake/a.jpg": 80, "real/b.jpg": 50}
    assert found.format.tolist() == ["JPEG", "JPEG"]
    assert seen == [(2, 2)]


def test_a_second_audit_reads_no_file(small: tuple[Path, Store]) -> None:
    folder, store = small
    source = source_of(folder, store.records)
    first = read_facts(source, store)
    with mock.patch.object(facts, "read_header", side_effect=AssertionError):
        again = read_facts(source, store)
    assert np.array_equal(first.tables, again.tables)


def test_a_damaged_memory_is_made_again(small: tuple[Path, Store]) -> None:
    folder, store = small
    source = source_of(folder, store.records)
    first = read_facts(source, store)
    (store.folder / f"facts-{facts.VERSION}.npz").write_bytes(b"PK half")
    assert np.array_equal(first.tables, read_facts(source, store).tables)


def test_other_files_than_the_decoded_ones_are_refused(small: tuple[Path, Store]) -> None:
    folder, store = small
    (folder / "real/b.jpg").write_bytes(b"something else")
    with pytest.raises(DataError, match="changed after it was decoded"):
        read_facts(source_of(folder, store.records), store)
    (folder / "real/b.jpg").unlink()
    with pytest.raises(DataError, match="changed after it was decoded"):
        read_facts(source_of(folder, store.records), store)


def test_words_are_counted_by_class_the_rarest_together() -> None:
    words = np.array(["RGB"] * 5 + ["L"] * 3 + [f"m{number}" for number in range(9)])
    blank = np.full(len(words), "")
    tables = np.where(words == "RGB", "abcd", "")
    each = facts.Facts(blank, words, tables, np.full(len(words), 75), blank, blank, blank)
    found = count_words(each, np.arange(len(words)) % 2 == 1)
    assert found["colour mode"]["RGB"] == {"real": 3, "fake": 2}
    assert len(found["colour mode"]) == facts.MAX_WORDS
    assert found["colour mode"]["4 others"] == {"real": 2, "fake": 2}
    assert list(found["JPEG tables"]) == ["none", "tables abcd (about quality 75)"]
    assert sum(sum(n.values()) for n in found["colour mode"].values()) == len(words)
