"""fauxto.evaluation.seen: the training data as a whole are known again, a part of them is warned of wherever it flatters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fauxto.data.splits import fingerprint
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.evaluation.comparison import ScoresFile, compare
from fauxto.evaluation.generators import measure_generators
from fauxto.evaluation.seen import may_be_seen, training_on

STRANGE = "not the data that the detector was trained on, as far as their content key tells. If they hold images of its training"


@pytest.fixture
def detector(run_folder, store: Store) -> Detector:
    """Trained on the whole store, under the names that a copy of its card may give it."""
    return Detector.load(run_folder)


def named(detector: Detector, name: str, **trained_on: object) -> Detector:
    return replace(detector, card=detector.card | {"name": name, "trained_on": detector.card["trained_on"] | trained_on})


def test_the_whole_is_known_by_its_key_or_its_pixels_and_nothing_else_is(store: Store) -> None:
    pixels = fingerprint(store, np.arange(len(store)))
    by_key, by_pixels = {"store": store.folder.name}, {"store": "x", "pixels": pixels}
    for about in (by_key, by_pixels, {"store": "x", "begun_from": {"trained_on": by_pixels}}):
        assert training_on({"trained_on": about}, store) is not None
        assert may_be_seen({"trained_on": about}, store) == []
    for card in ({}, {"trained_on": {"store": "x", "pixels": pixels[::-1]}}):
        assert training_on(card, store) is None
        (line,) = may_be_seen(card, store, what="The photographs", then="so it goes")
        assert line.startswith(f"The photographs are {STRANGE} set all the same, so it goes.")


def test_a_comparison_says_of_whom_it_is_not_known(store: Store, detector: Detector) -> None:
    theirs = ScoresFile("theirs", dict.fromkeys(store.path.tolist(), 0.5), 0.5)
    strangers = [named(detector, name, store="x", pixels="y") for name in ("a", "b")]
    caveats = compare([detector, *strangers, theirs], store, n_resamples=2).caveats
    assert [line for line in caveats if STRANGE in line] == [
        f"About a, b: these are {STRANGE} set all the same, these numbers are too good."
    ]
    assert not any(STRANGE in line for line in compare([detector, theirs], store, n_resamples=2).caveats)


def test_across_generators_it_is_said_of_further_detectors_and_of_photographs_from_elsewhere(
    store: Store, detector: Detector
) -> None:
    stranger = named(detector, "stranger", store="x", pixels="y")
    at = np.arange(len(store))
    assert not any(STRANGE in line for line in measure_generators([detector], store, at).caveats)
    (line,) = [line for line in measure_generators([detector, stranger], store, at).caveats if STRANGE in line]
    assert line.startswith("About stranger: these are not the data")
    other = replace(store, folder=store.folder.with_name("a-part"), pixel_hash=store.pixel_hash[::-1].copy())
    other.pixel_hash[0] = b"0" * 32
    across = measure_generators([detector, stranger], store, at, reals=(other, at), reals_from="train")
    (first, second) = [line for line in across.caveats if STRANGE in line]
    assert first.startswith("About small, stranger: the photographs' data, train, are not the data")
    assert first.endswith("its false alarms are too few.")
    assert second.startswith("About stranger: these are not the data")
