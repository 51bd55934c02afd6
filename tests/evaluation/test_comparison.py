"""fauxto.evaluation.comparison and its page: common images, labels that must be the data's, text that stays text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fauxto import Detector, metrics
from fauxto.data.store import Store
from fauxto.errors import DataError, UsageError
from fauxto.evaluation.comparison import ScoresFile, common_images, compare
from fauxto.evaluation.scores import FileLabel
from fauxto.report.versus_page import short_p, to_csv, to_html, write_comparison

EVIL = 'a<script>alert("x")</script>'


def scores_of(store: Store, name: str, *, noise: float, seed: int = 0, threshold: float = 0.5) -> ScoresFile:
    rng = np.random.default_rng(seed)
    p_fake = np.clip(0.5 + 0.3 * (2 * store.is_fake - 1) + noise * rng.normal(size=len(store)), 0, 1)
    return ScoresFile(name, dict(zip(store.path.tolist(), p_fake.tolist(), strict=True)), threshold)


@pytest.fixture(scope="module")
def three(store: Store) -> list[ScoresFile]:
    return [
        scores_of(store, name, noise=noise, seed=at) for at, (name, noise) in enumerate([("a", 0.2), (EVIL, 0.5), ("c", 0.9)])
    ]


def test_numbers_are_those_of_the_same_images(store: Store, three: list[ScoresFile]) -> None:
    found = compare(three, store, n_resamples=20)
    test = np.flatnonzero(store.split == "test")
    is_fake, paths = store.is_fake[test], store.path[test].tolist()
    assert (found.column, found.n_real, found.n_fake) == ("test", 12, 12)
    said = [np.array([one.p_fake[path] for path in paths]) for one in three]
    for one, p_fake in zip(found.contestants, said, strict=True):
        assert one.metrics["accuracy"].value == metrics.accuracy(is_fake, p_fake, threshold=0.5)
        assert one.metrics["brier_score"].value == metrics.brier_score(is_fake, p_fake)
        assert one.ms_per_image is None
    assert [(pair.own, pair.other) for pair in found.pairs] == [("a", EVIL), ("a", "c")]
    right = [(p_fake >= 0.5) == is_fake for p_fake in said]
    assert found.pairs[1].test == metrics.mcnemar(right[0], right[2])
    assert [pair.p_holm for pair in found.pairs] == metrics.holm([pair.test.p_value for pair in found.pairs])
    assert len(compare(three, store, n_resamples=5, all_pairs=True).pairs) == 3
    assert "trained on is not known" in found.caveats[0]


def test_disagreements_are_those_where_one_alone_is_right_furthest_first(store: Store, three: list[ScoresFile]) -> None:
    found = compare([three[0], three[2]], store, n_resamples=5)
    assert found.disagreements
    gaps = [abs(item.p_own - item.p_other) for item in found.disagreements if item.right == "a"]
    assert gaps == sorted(gaps, reverse=True)
    for item in found.disagreements:
        is_fake, at = item.label == "fake", store.path.tolist().index(item.path)
        right, wrong = (item.p_own, item.p_other) if item.right == "a" else (item.p_other, item.p_own)
        assert ((right >= 0.5) == is_fake, (wrong >= 0.5) == is_fake) == (True, False)
        np.testing.assert_array_equal(item.image, store.image(at))


def test_a_detector_is_asked_and_timed(store: Store, three: list[ScoresFile]) -> None:
    detector, seen = Detector.load(), []
    found = compare([detector, three[0]], store, n_resamples=5, progress=lambda done, total: seen.append((done, total)))
    test = np.flatnonzero(store.split == "test")
    expected = [answer.p_fake for answer in detector.predict([store.image(at) for at in test])]
    np.testing.assert_allclose(found.contestants[0].answers.p_fake, expected, atol=1e-6)
    assert found.contestants[0].ms_per_image > 0
    assert found.contestants[0].answers.threshold == detector.threshold
    assert seen[-1] == (24, 24)


def test_common_images_are_nobodys_training_images(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Detector(Path("x"), {"name": name}) for name in "ab")
    parts = {"a": np.arange(20, 70), "b": np.arange(40, 88)}
    monkeypatch.setattr("fauxto.evaluation.comparison.columns_for", lambda card, store: {"test": parts[card["name"]]})
    name, members = common_images([first, second], store)
    assert (name, members.tolist()) == ("test", list(range(40, 70)))
    parts["b"] = np.arange(80, 88)
    with pytest.raises(DataError, match="no kind"):
        common_images([first, second], store)


def test_missing_images_are_counted_and_the_first_named(store: Store, three: list[ScoresFile]) -> None:
    known = dict(three[0].p_fake)
    lost = store.path[store.split == "test"].tolist()[:3]
    for path in lost:
        del known[path]
    with pytest.raises(DataError, match=f"lack 3 of 24 images, the first is {re.escape(repr(lost[0]))}"):
        compare([three[1], ScoresFile("short", known, 0.5)], store)


def test_scores_with_other_labels_are_refused_before_anything_is_asked(store: Store, three: list[ScoresFile]) -> None:
    def with_labels(is_fake: np.ndarray) -> ScoresFile:
        told = {
            path: FileLabel(fake, line) for line, (path, fake) in enumerate(zip(paths, is_fake.tolist(), strict=True), start=2)
        }
        return replace(three[0], name="theirs", labels=told)

    paths = store.path.tolist()
    assert compare([with_labels(store.is_fake), three[2]], store, n_resamples=5).n_fake == 12
    one_wrong = store.is_fake.copy()
    one_wrong[50] ^= True
    for labels, line, n_wrong in ((~store.is_fake, 2, 88), (one_wrong, 52, 1)):
        asked: list[int] = []
        said = f"line {line} of the scores of theirs calls '{paths[line - 2]}' .*; so do {n_wrong} of 88 lines"
        with pytest.raises(DataError, match=said):
            compare([Detector.load(), with_labels(labels)], store, progress=lambda done, total: asked.append(done))  # noqa: B023
        assert not asked


def test_labels_of_images_that_are_not_among_the_data_are_left_alone(store: Store, three: list[ScoresFile]) -> None:
    elsewhere = replace(three[0], labels={"elsewhere.jpg": FileLabel(True, 2)})
    assert compare([elsewhere, three[2]], store, n_resamples=5).n_fake == 12


def test_names_and_numbers_of_detectors(store: Store, three: list[ScoresFile]) -> None:
    with pytest.raises(UsageError, match="2 to 64"):
        compare(three[:1], store)
    with pytest.raises(UsageError, match="two detectors are called 'a'"):
        compare([three[0], three[0]], store)
    renamed = compare([three[0], three[0]], store, names=["x", "y"], n_resamples=5)
    assert renamed.disagreements == ()
    assert renamed.pairs[0].test.p_value == 1.0


def test_the_files_read_back_and_the_page_is_whole(store: Store, three: list[ScoresFile], tmp_path: Path) -> None:
    found = compare(
        three, store, n_resamples=20, data="some", note="simulated data", command="fauxto compare a", date="2026-01-01T00:00"
    )
    page = write_comparison(found, tmp_path / "out").read_text()
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == json.loads(json.dumps(found.to_dict()))
    lines = (tmp_path / "out" / "compare.csv").read_text().splitlines()
    assert lines == to_csv(found).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("detector,threshold,ms_per_image,accuracy,accuracy_low")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "Simulated data: this is not a result" in page
    assert page.count("data:image/png;base64,") == len(found.disagreements)
    assert len(re.findall(r'\bid="([^"]+)"', page)) == len(set(re.findall(r'\bid="([^"]+)"', page)))


def test_a_page_without_disagreement_says_so(store: Store, three: list[ScoresFile]) -> None:
    assert "there are none" in to_html(compare([three[0], three[0]], store, names=["x", "y"], n_resamples=5))
    assert (short_p(0.5), short_p(2e-5)) == ("0.500", "2e-05")
