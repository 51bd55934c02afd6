"""Calibration on large images: the rules over tiles become new, those for small images stay, and the other way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto import Detector
from fauxto.data.sources import open_source
from fauxto.data.store import Store, open_store
from fauxto.errors import UsageError
from fauxto.recalibration import recalibrate, write_detector
from fauxto.recalibration.sampling import labelled_sample, unlabelled_sample

LARGE, SMALL = (40, 90), (32, 32)


@pytest.fixture
def detector(tiled_folder: Path) -> Detector:
    return Detector.load(tiled_folder)


def store_of(folder: Path, *sizes: tuple[int, int], n: int = 12) -> Store:
    rng = np.random.default_rng(0)
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        for size in sizes:
            for number in range(n):
                grey = rng.integers(0, 200, 3) if label == "real" else 100
                pixels = (rng.integers(0, 56, (*size, 3)) + grey).astype(np.uint8)
                Image.fromarray(pixels).save(folder / label / f"{size[0]}-{number}.png")
    return open_store(open_source(folder), cache=folder.parent / "cache")


def test_large_images_calibrate_what_is_answered_over_tiles_alone(detector: Detector, tmp_path: Path) -> None:
    store = store_of(tmp_path / "mine", LARGE)
    sample = labelled_sample(detector, store)
    assert sample.over_tiles
    made = recalibrate(detector, sample)
    write_detector(detector, made.card, tmp_path / "new")
    new = Detector.load(tmp_path / "new")
    assert (new.threshold, new.temperature, new.bias) == (detector.threshold, detector.temperature, detector.bias)
    assert new.card["tiles"]["calibration"] == made.rules["calibration"]
    assert made.rules["calibration"]["replaced"] == detector.card["tiles"]["calibration"]
    assert new.over_tiles.scope == detector.over_tiles.scope
    assert new.card["name"] == "tiled-calibrated"
    alone = recalibrate(detector.over_tiles, sample.__class__(sample.logit, sample.is_fake, sample.pixel_hash))
    assert made.rules["calibration"]["bias"] == alone.card["calibration"]["bias"]
    images = [store.image(at) for at in range(len(store))]
    expected = new.over_tiles.p_fake(detector.logits(images))
    np.testing.assert_allclose([one.p_fake for one in new.predict(images)], expected, atol=1e-9)
    assert expected.mean() == pytest.approx(store.is_fake.mean(), abs=0.02), (
        "a fitted bias makes the mean right, but for its prior"
    )


def test_small_images_leave_the_rules_over_tiles_alone(detector: Detector, tmp_path: Path) -> None:
    sample = labelled_sample(detector, store_of(tmp_path / "mine", SMALL))
    assert not sample.over_tiles
    made = recalibrate(detector, sample)
    assert made.card["tiles"] == detector.card["tiles"]
    assert made.rules is made.card
    assert made.card["calibration"]["replaced"] == detector.card["calibration"]


def test_images_of_both_kinds_are_refused(detector: Detector, tmp_path: Path) -> None:
    store = store_of(tmp_path / "mine", LARGE, SMALL)
    with pytest.raises(UsageError, match="24 of these 48 images are answered over tiles"):
        labelled_sample(detector, store)
    with pytest.raises(UsageError, match="over tiles"):
        unlabelled_sample(detector, tmp_path / "mine")


def test_a_share_of_fakes_alone_holds_for_every_size(detector: Detector) -> None:
    made = recalibrate(detector, None, prevalence=0.1)
    small, large = made.card["calibration"], made.card["tiles"]["calibration"]
    assert small["bias"] == pytest.approx(np.log(1 / 9))
    assert large["bias"] == pytest.approx(0.5 + np.log(1 / 9))
    assert (small["temperature"], large["temperature"]) == (1.0, 0.25)
    assert made.card["tiles"]["side"] == 32


def test_what_was_measured_with_the_old_rules_is_not_passed_off_as_the_news(detector: Detector) -> None:
    card = detector.card | {"tiles": detector.card["tiles"] | {"metrics": {"accuracy": 0.9}}}
    made = recalibrate(Detector(detector.folder, card), None, prevalence=0.1)
    assert "metrics" not in made.card["tiles"]
    assert made.card["tiles"]["metrics_before_calibration"] == {"accuracy": 0.9}
