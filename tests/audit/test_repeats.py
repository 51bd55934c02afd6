"""The list of duplicates, its counts by part and label, and the effect on a score: by hand."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from fauxto.audit import Answers
from fauxto.audit.against import effects_of
from fauxto.audit.duplicates import Pair, PairCount, find_duplicates
from fauxto.audit.leaks import known_outside
from fauxto.audit.repeats import COLUMNS, Repeats, by_parts, duplicates_csv, list_pairs, summary
from fauxto.audit.twins import Twins
from fauxto.data.store import Store

COUNTS = (
    PairCount("equal", ("test", "train"), ("fake", "fake"), 3),
    PairCount("equal", ("test", "train"), ("real", "real"), 2),
    PairCount("equal", ("train", "train"), ("real", "fake"), 1),
    PairCount("near", ("test", "train"), ("real", "fake"), 4),
)


def test_the_list_names_both_images(faulty: Store) -> None:
    pairs = [replace(pair, distance=0.01234) for pair in find_duplicates(faulty).pairs[:12]]
    assert len(pairs) >= 4  # three twins and a liar
    rows = list(csv.DictReader(io.StringIO(duplicates_csv(list_pairs(faulty, pairs)))))
    assert list(rows[0]) == list(COLUMNS)
    twin = next(row for row in rows if row["second"].endswith("twin0.jpg"))
    assert twin == {
        "first": "test/REAL/000.jpg", "second": "train/REAL/twin0.jpg", "first_split": "test", "second_split": "train",
        "first_label": "real", "second_label": "real", "kind": "equal", "change": "", "distance": "0.0123",
    }  # fmt: skip
    assert next(row for row in rows if "liar" in row["first"] + row["second"])["first_label"] == "fake"


def test_a_name_with_a_comma_stays_one_cell(faulty: Store) -> None:
    path = faulty.path.astype("U40")
    path[0] = 'a,"b".jpg'
    listed = list_pairs(replace(faulty, path=path), [Pair(0, 1, "near", "mirrored, shifted", 0.1)])
    ((*_,), (first, *_, change, distance)) = csv.reader(io.StringIO(duplicates_csv(listed)))
    assert (first, change, distance) == ('a,"b".jpg', "mirrored, shifted", "0.1000")


def test_counts_by_hand() -> None:
    assert summary(COUNTS) == {
        "equal": {
            "inside a part": {"same label": 0, "other label": 1},
            "across parts": {"same label": 5, "other label": 0},
        },
        "near": {
            "inside a part": {"same label": 0, "other label": 0},
            "across parts": {"same label": 0, "other label": 4},
        },
    }
    inside, across = by_parts(COUNTS)
    assert inside[0] == ("train", "train")
    assert across == (("test", "train"), {"equal": {"same label": 5, "other label": 0},
                                          "near": {"same label": 0, "other label": 4}})  # fmt: skip
    assert by_parts(()) == []


def test_the_effect_is_that_of_the_known_images(faulty: Store) -> None:
    test = np.flatnonzero(faulty.split == "test")
    known = known_outside(faulty, Twins(faulty, ()), test)
    p_fake = np.where(faulty.is_fake[test], 0.9, 0.1)
    others = np.flatnonzero(~np.isin(test, known["equal"]))[:6]
    p_fake[others] = 1 - p_fake[others]  # right on the three known images, wrong on six others
    equal, near = effects_of(faulty, Answers("x", 0.5, test, p_fake), known, seed=0)
    assert (equal.left_out, equal.n_left_out, near.n_left_out) == ("equal", 3, 3)
    assert equal.accuracy_of_left_out.value == 1
    found = equal.metrics["accuracy"]
    assert found.difference.value == pytest.approx(111 / 117 - 114 / 120, abs=1e-12)
    assert found.difference.low < found.difference.value < found.difference.high <= 0
    none = {words: at[:0] for words, at in known.items()}
    assert effects_of(faulty, Answers("x", 0.5, test, p_fake), none, seed=0) == ()


def test_it_is_json_without_positions(faulty: Store) -> None:
    found = find_duplicates(faulty)
    plain = json.loads(json.dumps(Repeats(found, list_pairs(faulty, found.pairs)).to_dict(), allow_nan=False))
    assert plain["summary"]["equal"] == {
        "inside a part": {"same label": 0, "other label": 1},
        "across parts": {"same label": 3, "other label": 0},
    }
    assert plain["n_equal_groups"] == 4
    assert "pairs" not in plain
