"""The measurements of the audit: what counts as a right and as a false alarm, and the tables of its page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .conftest import module

planted, cifake = module("audit_planted"), module("audit_cifake")


def test_alarms_are_judged_by_hand() -> None:
    plant = planted.Plant(("stamp",), ("shortcut-file-size",))
    found = [
        {"stamp": "shortcut", "shortcut-file-size": "shortcut"},
        {"stamp": "warning", "colour-cast": "shortcut"},
        {"simple-statistics": "warning"},
    ]
    row = planted.judged(plant, found)
    assert (row["right_alarms"], row["false_alarms"], row["false_kinds"]) == (1, 1, ["colour-cast"])
    clean = planted.judged(planted.Plant(), found[2:])
    assert (clean["right_alarms"], clean["false_alarms"]) == (None, 1)
    assert planted.judged(planted.Plant(has_both=True), found[2:])["false_alarms"] == 0
    told = planted.totals({"a": row, "b": clean})
    assert told == {"planted": {"found": 1, "of": 3}, "clean": {"alarmed": 1, "of": 1}, "planted_with_another_alarm": 1}


def test_plants_change_what_they_say() -> None:
    image = np.full((32, 32, 3), 100, np.uint8)
    assert (planted.stamped(image) != image).any(axis=2).sum() == 16
    assert (planted.faintly_stamped(image) != image).any(axis=2).sum() == 25
    assert planted.tinted(image)[0, 0].tolist() == [106, 100, 94]
    assert planted.larger(image).shape == (40, 40, 3)
    one, other = (planted.flat(np.random.default_rng(seed)) for seed in (0, 1))
    assert (one == one[0, 0]).all()
    assert (one[0, 0] != other[0, 0]).any()
    assert (image == 100).all()


def test_the_table_of_the_page() -> None:
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    score = {"n": 10, "accuracy": interval, "roc_auc": interval}
    report = {
        "shortcuts": [{"name": "colour", "kind": "content", "cross_validated": score, "on_test": None}],
        "detector": {
            "name": "mine", "sample": score, "whole": score, "without_leaks": None,
            "margins": [{"shortcut": "colour", "points_above": 12.345, "auc_above": 0.1}],
        },
    }  # fmt: skip
    rows = cifake.table_rows(report)
    assert [(row["name"], row["measured"]) for row in rows] == [
        ("colour", "cross-validated"), ("mine", "test part"), ("mine", "all it was asked"),
    ]  # fmt: skip
    assert rows[0]["accuracy_low"] == 0.4
    assert [row["points_above"] for row in rows] == [12.345, "", ""]
    assert len({tuple(row) for row in rows}) == 1  # one header


def test_the_effect_of_leaks_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifake.record, "RESULTS", tmp_path)
    (tmp_path / "audit_cifake.json").write_text("{}")
    assert cifake.effect_table() == "Not measured yet."
    change = {"difference": {"value": -0.001, "low": -0.002, "high": 0.0004}}
    effect = {"left_out": "equal", "n_left_out": 378, "accuracy_of_left_out": {"value": 0.99},
              "metrics": {"accuracy": change, "roc_auc": change}}  # fmt: skip
    (tmp_path / "audit_cifake.json").write_text(json.dumps({"duplicates": {"effects": [effect]}}))
    last = cifake.effect_table().splitlines()[-1]
    assert last == "| equal | 378 | 99.00 % | -0.10 [-0.20, +0.04] | -0.0010 [-0.0020, +0.0004] |"


def test_a_table_that_was_not_measured_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifake.record, "RESULTS", tmp_path)
    page = "".join(f"<!-- table: {name} --> old <!-- end: {name} -->" for name in ("shortcuts", "effect", "bars", "planted"))
    assert cifake.filled_page(page) == page
    (tmp_path / "audit_planted.json").write_text('{"rows": {"PNG": {"right_alarms": 5, "n_audits": 5, "false_alarms": 0}}}')
    assert "| PNG | 5 of 5 | 0 of 5 |" in cifake.filled_page(page)
