"""The golden thread: API, command line, exported ONNX and the network itself give one image the same p_fake (1e-5)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fauxto import Detector
from fauxto.calibration import to_p_fake
from fauxto.checkpoint import load_tensors
from fauxto.cli import main
from fauxto.data.loaders import network_input
from fauxto.data.store import Store, load_data
from fauxto.models import factory

TOLERANCE = 1e-5


def p_fake_of_network(detector: Detector, store: Store, positions: np.ndarray) -> np.ndarray:
    """Ask the PyTorch network that the weights belong to."""
    network = factory.build(**detector.card["model"]).eval()
    tensors, _ = load_tensors(detector.folder / "weights.safetensors")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    with torch.no_grad():
        logits = network(torch.from_numpy(network_input(store, positions, detector.spec)))
    return to_p_fake(logits.numpy(), temperature=detector.temperature, bias=detector.bias)


def p_fake_of_command_line(
    folder: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[float]:
    monkeypatch.setattr("sys.argv", ["fauxto", "check", str(folder), "--detector", str(run_folder), "--json"])
    with pytest.raises(SystemExit):
        main()
    return [image["p_fake"] for image in json.loads(capsys.readouterr().out)["images"]]


def follow_the_thread(
    store: Store,
    positions: np.ndarray,
    run_folder: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, position in enumerate(positions):
        Image.fromarray(store.image(position)).save(folder / f"{number:05d}.png")
    detector = Detector.load(run_folder)
    by_network = p_fake_of_network(detector, store, positions)
    by_api = [answer.p_fake for answer in detector.predict(sorted(folder.iterdir()))]
    by_onnx = detector.p_fake(detector.logits(store.image(at) for at in positions))
    by_command = p_fake_of_command_line(folder, run_folder, monkeypatch, capsys)
    for name, answers in {"api": by_api, "onnx": by_onnx, "command line": by_command}.items():
        np.testing.assert_allclose(answers, by_network, atol=TOLERANCE, rtol=0, err_msg=name)
    assert np.ptp(by_network) > 0.01  # the same constant everywhere would prove nothing


def test_small_images(
    store: Store, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    follow_the_thread(store, np.arange(len(store)), run_folder, tmp_path, monkeypatch, capsys)


@pytest.mark.realdata
def test_a_thousand_real_images(
    real_data: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = load_data(real_data)
    positions = np.random.default_rng(0).choice(len(real), 1000, replace=False)
    follow_the_thread(real, np.sort(positions), run_folder, tmp_path, monkeypatch, capsys)
