"""LargeNet: energies and statistics as numpy has them, two answers of which either is enough, and an export for tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.signal import convolve2d
from scipy.special import logsumexp

from fauxto.audit.features import dct_energies
from fauxto.export import export_onnx
from fauxto.models.general import TraceNet
from fauxto.models.large import N_NUMBERS, STATISTICS, LargeNet, energies, numbers, statistics
from fauxto.preprocess import PreprocessSpec, normalised

SPEC = PreprocessSpec(128)
WEIGHTS = np.random.default_rng(1).normal(size=N_NUMBERS) / 8
KERNEL = np.array([[-0.25, 0.5, -0.25], [0.5, -1.0, 0.5], [-0.25, 0.5, -0.25]])
LUMINANCE = np.array([0.299, 0.587, 0.114])


def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, 128)[:, None, None] * rng.uniform(0.3, 1, (128, 128, 1))
    found[1] = (ramp + [0, 0, 20] * rng.normal(size=(128, 128, 3))).clip(0, 255).astype(np.uint8)
    return found


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(normalised(pixels, SPEC))


def network() -> LargeNet:
    torch.manual_seed(0)
    return LargeNet.of(TraceNet().eval(), WEIGHTS, 0.3, (2.0, -0.5))


def by_definition(pixels: np.ndarray, times: int) -> dict[str, float]:
    """Return the statistics of one image by numpy and scipy, at a size so many times smaller."""
    side = 128 // times
    levels = pixels.reshape(side, times, side, times, 3).mean(axis=(1, 3)) - 127.5
    residual = np.stack([convolve2d(levels[..., colour], KERNEL, mode="valid") for colour in range(3)], axis=-1)
    luma, brightness = residual @ -LUMINANCE, (levels @ LUMINANCE)[1:-1, 1:-1]
    n = (side - 2) // 4 * 4
    local, bright = ((values[:n, :n].reshape(n // 4, 4, n // 4, 4).mean(axis=(1, 3))) for values in (luma**2, brightness))
    local = np.log(local + 0.1)
    return {
        "red and green": np.corrcoef(residual[..., 0].ravel(), residual[..., 1].ravel())[0, 1],
        "green and blue": np.corrcoef(residual[..., 1].ravel(), residual[..., 2].ravel())[0, 1],
        "red and blue": np.corrcoef(residual[..., 0].ravel(), residual[..., 2].ravel())[0, 1],
        "1 down 0 across": np.corrcoef(luma[1:].ravel(), luma[:-1].ravel())[0, 1],
        "0 down 1 across": np.corrcoef(luma[:, 1:].ravel(), luma[:, :-1].ravel())[0, 1],
        "2 down 0 across": np.corrcoef(luma[2:].ravel(), luma[:-2].ravel())[0, 1],
        "0 down 2 across": np.corrcoef(luma[:, 2:].ravel(), luma[:, :-2].ravel())[0, 1],
        "1 down 1 across": np.corrcoef(luma[1:, 1:].ravel(), luma[:-1, :-1].ravel())[0, 1],
        "tails": np.log(np.mean(luma**4) / np.mean(luma**2) ** 2 + 1),
        "unevenness": np.std(local),
        "energy and brightness": np.corrcoef(local.ravel(), bright.ravel())[0, 1],
        "strong places": np.mean((local - local.mean()) ** 3),
        "strength": np.log(np.mean(luma**2) + 0.1),
    }


@pytest.mark.parametrize(("at", "times"), [(0, 2), (0, 4), (1, 2), (1, 4)])
def test_the_statistics_are_numpy_s(at: int, times: int) -> None:
    found = dict(zip(STATISTICS, statistics(tensor(images()))[at].view(2, 13)[times // 4].tolist(), strict=True))
    expected_of = by_definition(images()[at].astype(np.float64), times)
    assert set(expected_of) == set(found)
    for name, expected in expected_of.items():
        assert found[name] == pytest.approx(expected, abs=2e-3), name


def test_the_energies_are_numpy_s() -> None:
    np.testing.assert_allclose(energies(tensor(images())).numpy(), dct_energies(images()), atol=1e-4)


def test_a_flat_image_has_no_correlations_and_a_finite_answer() -> None:
    flat = torch.full((1, 3, 128, 128), 0.25)
    np.testing.assert_allclose(statistics(flat).view(2, 13)[:, :12], 0, atol=1e-5)
    assert torch.isfinite(network()(flat)).all()


def test_the_odds_of_statistics_and_of_traces_add_up() -> None:
    one, pixels = network(), tensor(images())
    with torch.no_grad():
        said, seen, evidence = one(pixels).numpy(), numbers(pixels), one.evidence(pixels)
        traces = one.traces(torch.nn.functional.avg_pool2d(pixels, 2)).numpy()
    np.testing.assert_allclose(said, logsumexp([seen.numpy() @ WEIGHTS + 0.3, 2 * traces - 0.5], axis=0), atol=1e-4)
    assert evidence.shape == (3, 1, 1)
    np.testing.assert_array_equal(evidence[:, 0, 0].numpy(), said)


def test_the_traces_stay_as_they_are_and_are_its_own() -> None:
    traces = TraceNet()
    one = LargeNet(traces)
    assert not any(weight.requires_grad for weight in one.traces.parameters())
    assert all(weight.requires_grad for weight in traces.parameters())


def test_the_exported_model_answers_tiles(tmp_path: Path) -> None:
    one = network()
    assert export_onnx(one, SPEC, tmp_path / "tiles.onnx") < 1e-3
    session = onnxruntime.InferenceSession(str(tmp_path / "tiles.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logit"], {"images": normalised(images(), SPEC)})
    with torch.no_grad():
        np.testing.assert_allclose(logits, one(tensor(images())).numpy(), atol=1e-3)


def test_far_from_0_the_exported_model_is_finite_too(tmp_path: Path) -> None:
    far = LargeNet.of(TraceNet().eval(), 1e4 * WEIGHTS, -1e5, (1.0, -2e5))
    export_onnx(far, SPEC, tmp_path / "tiles.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "tiles.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logit"], {"images": normalised(images(), SPEC)})
    assert np.isfinite(logits).all()
    assert np.abs(logits).max() > 1000
