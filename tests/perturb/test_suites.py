"""fauxto.perturb.suites: what --perturb names."""

from __future__ import annotations

import numpy as np
import pytest

from fauxto.errors import ConfigError
from fauxto.perturb import KINDS, STANDARD, perturbed, steps
from fauxto.perturb.suites import CHAINS, NEUTRAL, perturbations


def test_standard_is_the_published_names_then_the_longer_ways():
    assert perturbations(["standard"]) == STANDARD + CHAINS
    assert not set(STANDARD) & set(CHAINS)
    assert all("+" in name for name in CHAINS)


def test_words_are_split_and_named_once():
    assert perturbations(["blur-1.0, jpeg-40", "standard", "jpeg-40"])[:3] == ("blur-1.0", "jpeg-40", "jpeg-95")
    assert len(perturbations(["blur-1.0", "standard"])) == len(STANDARD + CHAINS)


@pytest.mark.parametrize("words", [[], [""], [" , "]])
def test_nothing_is_refused(words):
    with pytest.raises(ConfigError, match="no perturbation is named"):
        perturbations(words)


@pytest.mark.parametrize("word", ["jpg-40", "jpeg-0", "standard+blur-1", "blur"])
def test_impossible_names_are_refused(word):
    with pytest.raises(ConfigError):
        perturbations(["jpeg-40", word])


def test_a_neutral_severity_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    for kind, severity in NEUTRAL.items():
        if KINDS[kind][1] <= severity:  # a blur of 0 has no name
            np.testing.assert_array_equal(perturbed(images, f"{kind}-{severity}"), images)
    assert set(KINDS) - set(NEUTRAL) == {"jpeg", "jpeg444", "webp", "webp_fast"}


@pytest.mark.parametrize("name", CHAINS)
def test_chains_keep_size_and_change_pixels(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 20, 3), dtype=np.uint8)
    found = perturbed(images, name)
    assert found.shape == images.shape
    assert (found != images).any()
    assert len(steps(name)) > 1


def test_a_set_in_parts_is_the_set():
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    for name in ("noise-0.1", "jpeg-60+noise-0.05", "crop_any-0.5"):
        parts = [perturbed(images[:4], name, seed=3), perturbed(images[4:], name, seed=3, first=4)]
        np.testing.assert_array_equal(np.concatenate(parts), perturbed(images, name, seed=3))
    for first in (-1, 1.0, True):
        with pytest.raises(ConfigError, match="whole numbers"):
            perturbed(images, "noise-0.1", first=first)
