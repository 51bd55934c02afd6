"""SpectralNet: the same numbers as numpy's energies, and an export for any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from fauxto.audit.features import dct_energies
from fauxto.export import export_onnx
from fauxto.models.spectral import SpectralNet
from fauxto.preprocess import PreprocessSpec, normalised

SPEC = PreprocessSpec(32)


def images(height: int, width: int) -> np.ndarray:
    found = np.random.default_rng(0).integers(0, 256, (4, height, width, 3), dtype=np.uint8)
    found[1], found[2] = 7, found[2] // 16 * 16
    return found


def known() -> tuple[SpectralNet, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    mean, spread, weights = rng.normal(size=64), rng.uniform(0.5, 2, 64), rng.normal(size=64) / 8
    return SpectralNet.of(mean, spread, weights, 0.3), mean, spread, weights


@pytest.mark.parametrize("size", [(16, 16), (40, 53), (128, 128)])
def test_it_is_numpy_s_energies_times_the_weights(size: tuple[int, int]) -> None:
    network, mean, spread, weights = known()
    with torch.no_grad():
        logits = network(torch.from_numpy(normalised(images(*size), SPEC)))
        evidence = network.evidence(torch.from_numpy(normalised(images(*size), SPEC)))
    expected = (dct_energies(images(*size)) - mean) / spread @ weights + 0.3
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4)
    assert evidence.shape == (4, 1, 1)
    np.testing.assert_array_equal(evidence.mean(dim=(1, 2)).numpy(), logits.numpy())


def test_a_flat_image_has_energy_at_no_frequency_but_the_mean_s() -> None:
    network = SpectralNet.of(np.full(64, np.log(0.1)), np.ones(64), np.arange(64) != 0, 0.25)
    assert float(network(torch.full((1, 3, 24, 24), 0.5)).detach()) == pytest.approx(0.25, abs=1e-4)


def test_the_exported_model_takes_any_size(tmp_path: Path) -> None:
    network, mean, spread, weights = known()
    assert export_onnx(network, SPEC, tmp_path / "tiles.onnx") < 1e-3
    session = onnxruntime.InferenceSession(str(tmp_path / "tiles.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logit"], {"images": normalised(images(64, 128), SPEC)})
    np.testing.assert_allclose(logits, (dct_energies(images(64, 128)) - mean) / spread @ weights + 0.3, atol=1e-3)
