"""fauxto.evaluation.sets and what is measured over tiles: whole stores of large images, by the rules the card has for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto import Detector
from fauxto.data.sources import open_source
from fauxto.data.store import Store, open_store
from fauxto.errors import DataError
from fauxto.evaluation import columns_for, evaluate
from fauxto.evaluation.answering import answers
from fauxto.evaluation.comparison import compare
from fauxto.evaluation.generators import measure_generators
from fauxto.evaluation.robustness import measure_robustness
from fauxto.evaluation.sets import Loose, Stored, by_own_rules, fitting
from fauxto.perturb import perturbed

SIZES = ((70, 100), (100, 70), (96, 96), (130, 66), (33, 400), (128, 128))


@pytest.fixture
def detector(tiled_folder: Path) -> Detector:
    return Detector.load(tiled_folder)


def store_of(folder: Path, sizes: tuple[tuple[int, int], ...]) -> Store:
    """Real and fake noise, as many of each as there are sizes."""
    rng = np.random.default_rng(0)
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            pixels = rng.integers(0, 256, (height // 2, width // 2, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize(
                (width, height), Image.Resampling.NEAREST if label == "fake" else Image.Resampling.BICUBIC
            )
            image.save(folder / label / f"{number}.png")
    return open_store(open_source(folder), cache=folder.parent / "cache")


@pytest.fixture
def large(tmp_path: Path) -> Store:
    return store_of(tmp_path / "large", SIZES)


@pytest.fixture
def mixed(tmp_path: Path) -> Store:
    return store_of(tmp_path / "mixed", (*SIZES[:3], (32, 32), (64, 40)))


def same_threshold(detector: Detector) -> Detector:
    return replace(detector, card=detector.card | {"threshold": 0.5})


def test_sizes_of_stores_and_arrays(large: Store) -> None:
    members = np.array([4, 2])
    assert Stored(large, members).sizes.tolist() == [list(large.image(at).shape[:2]) for at in (4, 2)]
    assert Loose(np.zeros((3, 5, 7, 3), np.uint8)).sizes.tolist() == [[5, 7]] * 3


def test_answers_over_tiles_are_those_of_predict_on_the_changed_image(detector: Detector, large: Store) -> None:
    images = Stored(large, np.arange(len(large)))
    found = answers(detector, images, ["", "jpeg-60", "noise-0.05"], seed=3)
    for name in found:
        pixels = [large.image(at)[None] for at in range(len(large))]
        changed = [perturbed(image, name, seed=3, first=at)[0] if name else image[0] for at, image in enumerate(pixels)]
        said = detector.predict(changed)
        np.testing.assert_allclose(found[name].logit, [one.logit for one in said], atol=1e-6)
        np.testing.assert_allclose(found[name].p_fake, [one.p_fake for one in said], atol=1e-6)
        assert found[name].verdict.tolist() == [one.verdict for one in said]
        assert found[name].called_fake.tolist() == [one.p_fake >= 0.5 for one in said]


def test_kept_answers_know_the_tiles(detector: Detector, large: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    images = Stored(large, np.arange(len(large)))
    first = answers(detector, images)[""]
    median = replace(detector, card=detector.card | {"tiles": detector.card["tiles"] | {"rule": "median"}})
    assert not np.array_equal(answers(median, images)[""].logit, first.logit)
    asked: list[int] = []
    plain = Detector._ask
    monkeypatch.setattr(Detector, "_ask", lambda self, *more: asked.append(1) or plain(self, *more))
    np.testing.assert_array_equal(answers(Detector.load(detector.folder), images)[""].logit, first.logit)
    assert asked == []
    colder = {"calibration": {"temperature": 0.1}, "scope": {"min_side": 32, "max_side": 5000}}
    other = answers(replace(detector, card=detector.card | {"tiles": detector.card["tiles"] | colder}), images)[""]
    np.testing.assert_array_equal(other.logit, first.logit)
    np.testing.assert_allclose(other.p_fake, 1 / (1 + np.exp(-first.logit.astype(float) / 0.1)), atol=1e-9)
    assert asked == []


def test_each_image_has_the_rules_for_its_size(detector: Detector, mixed: Store) -> None:
    images = Stored(mixed, np.arange(len(mixed)))
    p_fake, called_fake = by_own_rules(detector, images, np.zeros(len(mixed)))
    is_tiled = [detector.is_tiled(*size) for size in images.sizes.tolist()]
    assert sum(is_tiled) == 6
    expected = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(p_fake, np.where(is_tiled, expected, 0.5))
    assert called_fake.all(), "0.5 is over 0.4, 0.62 over 0.5"


def test_a_store_of_large_images_is_measured_by_the_rules_over_tiles(detector: Detector, large: Store) -> None:
    columns = columns_for(detector.card, large)
    report = evaluate(detector, large, columns)
    said = detector.predict([large.image(at) for at in range(len(large))])
    assert report.threshold == 0.5
    assert not [line for line in report.caveats if "over tiles" in line]
    assert report.scores.p_fake.tolist() == [one.p_fake for one in said]
    assert report.card["calibration"] == detector.card["tiles"]["calibration"]
    robust = measure_robustness(detector, large, columns, report, ["jpeg-60"])
    found = answers(detector, Stored(large, np.arange(len(large))), ["jpeg-60"])["jpeg-60"]
    right = float((found.called_fake == large.is_fake).mean())
    assert robust.columns[0].conditions[0].metrics["accuracy"].value == pytest.approx(right)
    assert measure_generators([detector], large, np.arange(len(large))).rows[0].threshold == 0.5
    other = replace(detector, card=detector.card | {"name": "other"})
    assert [one.answers.threshold for one in compare([detector, other], large, n_resamples=100).contestants] == [0.5, 0.5]


def test_sets_of_both_kinds_need_one_threshold(detector: Detector, mixed: Store, store: Store) -> None:
    images = Stored(mixed, np.arange(len(mixed)))
    assert fitting(detector, Stored(store, np.arange(3))) is detector
    with pytest.raises(DataError, match=r"6 of these 10 images are answered over tiles.* 0\.5 there and 0\.4 .* apart"):
        evaluate(detector, mixed, columns_for(detector.card, mixed))
    both = same_threshold(detector)
    assert fitting(both, images) is both
    report = evaluate(both, mixed, columns_for(both.card, mixed))
    assert [line for line in report.caveats if line.startswith("6 of 10 images are large and were answered over tiles")]
    assert report.scores.p_fake.tolist() == [one.p_fake for one in both.predict([mixed.image(at) for at in range(len(mixed))])]
    with pytest.raises(DataError, match="over tiles"):
        fitting(detector, Stored(store, np.arange(3)), images)
