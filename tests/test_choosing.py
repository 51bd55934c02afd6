"""choosing: the bundled detector for an image's size, in the order of the images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fauxto import Detector, bundled
from fauxto.choosing import load_by_size, predict_by_size
from fauxto.errors import DetectorError, ImageError, UsageError


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


SIZES = ((32, 32), (64, 64), (65, 64), (32, 65), (40, 30), (300, 200))


def test_the_longer_side_decides() -> None:
    assert [bundled.name_for(*size) for size in SIZES] == ["cifake", "cifake", "general", "general", "cifake", "general"]


def test_each_image_is_answered_by_the_detector_for_its_size(two_bundled: Path) -> None:
    loaded = load_by_size()
    assert list(loaded) == ["cifake", "general"]
    images = [*(noise(*size) for size in SIZES), b"", noise(32, 32)]
    answered = list(predict_by_size(iter(images), loaded))
    for image, (detector, answer) in zip(images, answered, strict=True):
        if isinstance(image, bytes):
            assert isinstance(answer, ImageError)
            continue
        alone = loaded[bundled.name_for(*image.shape[:2])]
        assert detector is alone
        expected = alone.predict([image])[0]
        assert (answer.verdict, answer.logit) == (expected.verdict, pytest.approx(expected.logit, abs=1e-4))


def test_a_named_detector_answers_every_size(two_bundled: Path) -> None:
    for name in ("cifake", "general"):
        answered = list(predict_by_size([noise(*size) for size in SIZES], load_by_size(name)))
        assert {one.folder.name for one, _ in answered} == {name}


def test_one_bundled_detector_answers_as_it_always_did(two_bundled: Path) -> None:
    shutil.rmtree(two_bundled / "general")
    images = [noise(*size) for size in SIZES]
    assert [answer for _, answer in predict_by_size(images, load_by_size())] == Detector.load("cifake").predict(images)
    shutil.rmtree(two_bundled / "cifake")
    with pytest.raises(DetectorError, match="no detector is bundled"):
        load_by_size()


def test_an_operating_point_must_be_on_both_cards(two_bundled: Path) -> None:
    with pytest.raises(UsageError, match="no operating point 'fpr1'"):
        load_by_size(operating_point="fpr1")
