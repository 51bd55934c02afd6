"""Reconstructions with their originals' spectrum: measured at every radius, others left alone, a forge that does so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.errors import UsageError
from fauxto.forge import zoo
from fauxto.forge.alignment import aligned, with_spectrum_of
from fauxto.forge.reals import Reals
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.workshop import Forged

from .conftest import MEMBERS


def power_at(image: np.ndarray, radius: int) -> float:
    """Return the power of one channel at whole steps from frequency 0, without the code that is asked."""
    waves = np.fft.fft2(image.astype(float))
    n = len(image)
    steps = np.minimum(np.arange(n), n - np.arange(n))
    return float((np.abs(waves) ** 2)[np.hypot(steps[:, None], steps).astype(int) == radius].sum())


def soft_and_sharp(n: int = 3, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    sharp = rng.normal(128, 20, (n, size, size, 3)).clip(0, 255).astype(np.uint8)
    soft = sum(np.roll(sharp.astype(float), shift, axis=(1, 2)) for shift in range(3)) / 3
    return np.rint(soft).astype(np.uint8), sharp


def test_power_becomes_that_of_the_original_at_every_radius_and_the_mean_stays() -> None:
    soft, sharp = soft_and_sharp()
    made = with_spectrum_of(soft, sharp)
    for radius in (1, 5, 10, 15):
        have, want = power_at(made[1, :, :, 2], radius), power_at(sharp[1, :, :, 2], radius)
        assert have == pytest.approx(want, rel=0.05)
    assert abs(power_at(soft[1, :, :, 2], 15) / power_at(sharp[1, :, :, 2], 15) - 1) > 0.2, "there was something to do"
    np.testing.assert_allclose(made.mean(axis=(1, 2)), soft.mean(axis=(1, 2)), atol=0.5)


def test_an_image_without_an_original_is_left_alone() -> None:
    soft, sharp = soft_and_sharp()
    made = aligned(Forged(soft, np.array([-1, 2, -1])), sharp)
    np.testing.assert_array_equal(made.images[[0, 2]], soft[[0, 2]])
    np.testing.assert_array_equal(made.images[1], with_spectrum_of(soft[1:2], sharp[2:3])[0])
    assert made.source.tolist() == [-1, 2, -1]


def test_a_flat_reconstruction_stays_finite() -> None:
    _, sharp = soft_and_sharp()
    flat = np.full_like(sharp, 100)
    assert with_spectrum_of(flat, sharp).std() < 1


def test_a_forge_aligns_what_it_reconstructs(reals: Reals, settings: ForgeSettings, tmp_path: Path) -> None:
    wrong = {}
    for align in ("none", "spectrum"):
        some = replace(settings, align=align)
        zoo.make_zoo(reals, MEMBERS[:1], tmp_path / align, some, device="cpu", shown=False)
        record = json.loads((tmp_path / align / "fake" / MEMBERS[0].name / "member.json").read_text(encoding="utf-8"))
        plain = [image for image in record["images"] if not image["operation"]]
        errors = []
        for image in plain:
            made = np.asarray(Image.open(tmp_path / align / "fake" / MEMBERS[0].name / image["file"]))
            have, want = power_at(made[:, :, 0], 1), power_at(reals.images[image["source"]][:, :, 0], 1)
            errors.append(abs(np.log(have / want)))
        wrong[align] = float(np.mean(errors))
    assert wrong["spectrum"] < 0.2 * wrong["none"]


def test_a_forge_from_before_goes_on_as_it_began(reals: Reals, settings: ForgeSettings, tmp_path: Path) -> None:
    out = tmp_path / "old"
    zoo.make_zoo(reals, MEMBERS[:1], out, settings, device="cpu", shown=False)
    summary = json.loads((out / "forge.json").read_text(encoding="utf-8"))
    del summary["settings"]["align"]
    (out / "forge.json").write_text(json.dumps(summary), encoding="utf-8")
    zoo.make_zoo(reals, MEMBERS[:1], out, settings, resume=True, device="cpu", shown=False)
    with pytest.raises(UsageError, match="another align"):
        zoo.make_zoo(reals, MEMBERS[:1], out, replace(settings, align="spectrum"), resume=True, device="cpu", shown=False)
