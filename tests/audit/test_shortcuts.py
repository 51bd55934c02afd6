"""Shortcuts: what is planted tells, what is not does not; scores against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from fauxto.audit import AuditReport
from fauxto.audit.alarms import shortcut_findings
from fauxto.audit.samples import draw_sample
from fauxto.audit.shortcuts import ALIKE, FILE_SIZE, GROUPS, Score, Shortcut, measure_shortcuts, score
from fauxto.data.store import Store, load_data
from fauxto.metrics import Interval, all_metrics

from .conftest import write_set


def test_score_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    is_fake = rng.random(300) < 0.5
    p_fake = np.round(np.clip(rng.normal(0.4 + 0.2 * is_fake, 0.2), 0, 1), 2)
    found = score(is_fake, p_fake)
    assert found.roc_auc.value == pytest.approx(roc_auc_score(is_fake, p_fake), abs=1e-9)
    assert found.accuracy.value == pytest.approx(accuracy_score(is_fake, p_fake >= 0.5), abs=1e-9)
    both = all_metrics(is_fake, p_fake, threshold=0.5)
    assert (found.accuracy, found.roc_auc) == (both["accuracy"], both["roc_auc"])
    assert score(np.array([True]), np.array([0.7])).roc_auc.value is None


def test_what_is_planted_tells_and_nothing_else(report: AuditReport) -> None:
    by_name = {shortcut.name: shortcut.headline.roc_auc.value for shortcut in report.shortcuts}
    assert list(by_name) == list(GROUPS)
    assert by_name["format and tables"] == by_name["corners and edges"] == 1.0
    assert by_name["image size"] == by_name["metadata"] == 0.5
    assert all(shortcut.on_test is not None for shortcut in report.shortcuts)


def test_too_few_images_give_no_table(store: Store) -> None:
    assert measure_shortcuts(store, None, draw_sample(store)) == ()  # type: ignore[arg-type]


def of(name: str, low: float, high: float | None = None, kind: str = "container") -> Shortcut:
    found = Score(100, Interval(low), Interval(low + 0.01, low, high or low + 0.02))
    return Shortcut(name, kind, "x", found, None)


def kinds(*shortcuts: Shortcut) -> list[str]:
    return [finding.kind for finding in shortcut_findings(shortcuts, None, ())]


def test_a_container_alarms_above_its_bound_only() -> None:
    assert kinds(of("metadata", 0.55)) == []
    assert kinds(of("metadata", 0.5501)) == ["shortcut-metadata"]


def test_file_size_alarms_only_beyond_the_contents() -> None:
    assert kinds(of(FILE_SIZE, 0.9), of(ALIKE, 0.84, 0.86, "control")) == []
    assert kinds(of(FILE_SIZE, 0.92), of(ALIKE, 0.84, 0.86, "control")) == ["shortcut-file-size"]
    assert kinds(of(FILE_SIZE, 0.54), of(ALIKE, 0.3, 0.4, "control")) == []


def test_contents_are_one_warning() -> None:
    (finding,) = shortcut_findings([of("colour", 0.7, kind="content"), of("spectrum", 0.8, kind="content")], None, ())
    assert (finding.kind, finding.severity) == ("simple-statistics", "warning")
    assert "80.0 %" in finding.title


def test_a_clean_set_raises_nothing(tmp_path: Path) -> None:
    from fauxto.audit import audit
    from fauxto.data.sources import source_of

    store = load_data(write_set(tmp_path / "data", n=60, parts=("train",)), cache=tmp_path / "cache")
    found = audit(source_of(tmp_path / "data", store.records), store)
    assert {finding.kind for finding in found.findings} <= {"few-images", "no-parts"}
    assert all(finding.severity == "note" for finding in found.findings)
