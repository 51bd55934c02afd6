"""``fauxto calibrate``: a new detector that every verb uses, in words and as JSON, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fauxto import Detector
from fauxto.data.store import Store

Run = Callable[..., tuple[int, str, str]]


def test_labelled_images_make_a_detector_that_check_uses(
    run: Run, image_folder: Path, images: tuple[Path, Path], tmp_path: Path
) -> None:
    code, out, err = run("calibrate", "cifake", "--data", image_folder, "--out", tmp_path / "mine")
    assert code == 0
    assert "32 real and 32 fake images of the user" in out
    assert "The sample is small" in err
    new = Detector.load(tmp_path / "mine")
    code, out, _ = run("check", images[0], "--detector", tmp_path / "mine", "--json")
    said = json.loads(out)["images"][0]
    assert said["p_fake"] == pytest.approx(1 / (1 + np.exp(-(said["logit"] / new.temperature + new.bias))), abs=1e-9)
    assert run("calibrate", "cifake", "--data", image_folder, "--out", tmp_path / "mine")[0] == 2


def test_the_golden_thread_holds_with_a_bias(run: Run, store: Store, image_folder: Path, tmp_path: Path) -> None:
    run("calibrate", "cifake", "--data", image_folder, "--out", tmp_path / "mine")
    detector = Detector.load(tmp_path / "mine")
    paths = sorted((image_folder / "test" / "FAKE").iterdir())[:4]
    by_api = [answer.p_fake for answer in detector.predict(paths)]
    at = [store.path.tolist().index(f"test/FAKE/{path.name}") for path in paths]
    by_onnx = detector.p_fake(detector.logits(store.image(position) for position in at))
    _, out, _ = run("check", *paths, "--detector", tmp_path / "mine", "--json")
    by_command = [image["p_fake"] for image in json.loads(out)["images"]]
    np.testing.assert_allclose(by_api, by_onnx, atol=1e-5)
    np.testing.assert_allclose(by_command, by_onnx, atol=1e-5)


def test_unlabelled_images_and_a_share_alone_as_json(run: Run, image_folder: Path, tmp_path: Path) -> None:
    words = ("--data", image_folder / "test", "--unlabelled", "--out", tmp_path / "inbox", "--json")
    code, out, _ = run("calibrate", "cifake", *words)
    found = json.loads(out)
    assert code == 0
    assert 0 <= found["share_of_fakes"]["low"] <= found["share_of_fakes"]["high"] <= 1
    assert "sample" not in found["calibration"]
    code, out, err = run("calibrate", "cifake", "--prevalence", "0.01", "--out", tmp_path / "rare")
    assert code == 0
    assert "stands for 1 % fakes" in out
    assert "assumed" in err
    assert Detector.load(tmp_path / "rare").card["calibration"]["prevalence"] == 0.01


def test_refusals(run: Run, image_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words, said in (
        ((), "nothing to calibrate with"),
        (("--unlabelled",), "needs images"),
        (("--unlabelled", "--data", image_folder / "test", "--prevalence", "0.1"), "not both"),
        (("--prevalence", "1"), "between 0 and 1"),
        (("--prevalence", "nan"), "between 0 and 1"),
    ):
        code, _, err = run("calibrate", "cifake", "--out", out, *words)
        assert (code, said in err) == (2, True), err
        assert not out.exists()
