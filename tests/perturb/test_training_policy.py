"""Which perturbations training draws, how often, and that the documented policy is the one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fauxto import perturb
from fauxto.errors import ConfigError
from fauxto.perturb import AGAIN_SHARE, KINDS, TRAINING, TRAINING_AGAIN, training_perturbed

from .test_perturb import noise


@pytest.mark.parametrize("policy", [TRAINING, TRAINING_AGAIN])
def test_the_policies_make_sense(policy):
    assert sum(row[0] for row in policy) == pytest.approx(1)
    for weight, kind, low, high, spacing in policy:
        _, lowest, highest, number_type = KINDS[kind]
        assert weight > 0
        assert lowest <= low < high <= highest
        assert spacing in ("even", "log", "whole")
        assert (spacing == "whole") == (number_type is int)


def test_training_perturbs_the_share_that_it_is_told():
    images = noise(400, 8, 8)
    for share, margin in ((0.0, 0.0), (0.3, 0.07), (1.0, 0.02)):  # the mildest blur leaves a few images as they were
        result = training_perturbed(images, np.random.default_rng(0), share=share)
        assert result.dtype == np.uint8
        changed = np.mean((result != images).any(axis=(1, 2, 3)))
        assert changed == pytest.approx(share, abs=margin)
    np.testing.assert_array_equal(images, noise(400, 8, 8))


def test_training_is_a_function_of_the_generator():
    images = noise(64, 8, 8)
    one, same, other = (training_perturbed(images, np.random.default_rng(seed), share=0.7) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_training_draws_by_weight_and_within_the_ranges(monkeypatch):
    drawn: list[tuple[str, float]] = []

    def noted(kind):
        def apply(images, severities, rng_of):
            drawn.extend((kind, float(severity)) for severity in severities)
            return images

        return apply

    monkeypatch.setattr(perturb, "KINDS", {kind: (noted(kind), *rest) for kind, (_, *rest) in KINDS.items()})
    n_images, share = 20_000, 0.5
    training_perturbed(np.zeros((n_images, 1, 1, 3), np.uint8), np.random.default_rng(0), share=share)
    for kind in {row[1] for row in TRAINING}:
        severities = np.array([severity for drawn_kind, severity in drawn if drawn_kind == kind])
        rows = [row for row in TRAINING if row[1] == kind]
        weight = sum(row[0] for row in rows) + AGAIN_SHARE * sum(row[0] for row in TRAINING_AGAIN if row[1] == kind)
        assert len(severities) / n_images == pytest.approx(share * weight, rel=0.2)
        assert all(any(low <= severity <= high for _, _, low, high, _ in rows) for severity in severities)
        low, high = min(row[2] for row in rows), max(row[3] for row in rows)
        assert severities.min() - low < 0.1 * (high - low)
        assert high - severities.max() < 0.1 * (high - low)
        if kind == "jpeg":
            assert {30, 95} <= set(severities) <= set(range(30, 96))
        if kind == "noise":  # once: even from 0.01 to 0.13; again: even in its logarithm, half under the geometric mean
            middle = np.sqrt(0.02 * 0.13)
            expected = (0.33 * (middle - 0.01) / 0.12 + AGAIN_SHARE * 0.30 * 0.5) / (0.33 + AGAIN_SHARE * 0.30)
            assert np.mean(severities < middle) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ConfigError, match="share"):
        training_perturbed(noise(), np.random.default_rng(0), share=share)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (40, 1, 1, 3), (40, 1, 5, 3), (40, 9, 7, 3)])
def test_training_takes_any_size(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert training_perturbed(images, np.random.default_rng(0), share=1.0).shape == shape


def test_the_documented_policy_is_the_one_that_training_draws_from():
    page = (Path(__file__).parents[2] / "docs" / "perturb.md").read_text(encoding="utf-8")
    table = re.search(r"\| weight \| kind .*?\n\n", page, re.DOTALL).group().strip()
    found: list[tuple[float, str, tuple[float, ...]]] = []
    for line in table.splitlines()[2:]:
        weights, kinds, ranges, _ = (cell.strip() for cell in line.strip("|").split("|"))
        kind_of, ends = re.findall(r"`(\w+)`", kinds), re.findall(r"([\d.]+) to ([\d.]+)", ranges)
        for at, weight in enumerate(re.findall(r"[\d.]+", weights)):
            low, high = ends[at % len(ends)]
            found.append((float(weight), kind_of[at % len(kind_of)], (float(low), float(high))))
    expected = [(round(100 * weight, 6), kind, (low, high)) for weight, kind, low, high, _ in TRAINING]
    assert sorted(found) == sorted(expected)
    again = " ".join(f"`{kind}` {100 * weight:.0f} %," for weight, kind, *_ in TRAINING_AGAIN)
    assert again.rstrip(",") in " ".join(page.split())
    assert f"{100 * AGAIN_SHARE:.0f} % of the perturbed images get a second perturbation" in page
