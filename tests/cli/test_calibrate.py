"""``fauxto calibrate``: a new detector that every verb uses, in words and as JSON, and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fauxto import Detector
from fauxto.data.store import Store

Run = Callable[..., tuple[int, str, str]]


def test_labelled_images_make_a_detector_that_check_uses(
    run: Run, judging: Path, image_folder: Path, images: tuple[Path, Path], tmp_path: Path
) -> None:
    code, out, err = run("calibrate", judging, "--data", image_folder, "--out", tmp_path / "mine")
    assert code == 0
    assert "32 real and 32 fake images of the user" in out
    assert "The sample is small" in err
    assert "If they hold images of its training set all the same, its answers on them are surer than on others" in err
    new = Detector.load(tmp_path / "mine")
    code, out, _ = run("check", images[0], "--detector", tmp_path / "mine", "--json")
    said = json.loads(out)["images"][0]
    assert said["p_fake"] == pytest.approx(1 / (1 + np.exp(-(said["logit"] / new.temperature + new.bias))), abs=1e-9)
    assert run("calibrate", judging, "--data", image_folder, "--out", tmp_path / "mine")[0] == 2


def test_the_golden_thread_holds_with_a_bias(run: Run, judging: Path, store: Store, image_folder: Path, tmp_path: Path) -> None:
    run("calibrate", judging, "--data", image_folder, "--out", tmp_path / "mine")
    detector = Detector.load(tmp_path / "mine")
    paths = sorted((image_folder / "test" / "FAKE").iterdir())[:4]
    by_api = [answer.p_fake for answer in detector.predict(paths)]
    at = [store.path.tolist().index(f"test/FAKE/{path.name}") for path in paths]
    by_onnx = detector.p_fake(detector.logits(store.image(position) for position in at))
    _, out, _ = run("check", *paths, "--detector", tmp_path / "mine", "--json")
    by_command = [image["p_fake"] for image in json.loads(out)["images"]]
    np.testing.assert_allclose(by_api, by_onnx, atol=1e-5)
    np.testing.assert_allclose(by_command, by_onnx, atol=1e-5)


def test_unlabelled_images_and_a_share_alone_as_json(run: Run, judging: Path, image_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(image_folder / "test", tmp_path / "given")
    shutil.copy(tmp_path / "given" / "FAKE" / "0000.jpg", tmp_path / "given" / "again.jpg")
    words = ("--data", tmp_path / "given", "--unlabelled", "--out", tmp_path / "inbox", "--json")
    code, out, _ = run("calibrate", judging, *words)
    found = json.loads(out)
    assert code == 0
    assert found["left_out"] == {"copies": 1}
    assert any("1 image is left out, having the pixels of another one" in line for line in found["warnings"])
    assert 0 <= found["share_of_fakes"]["low"] <= found["share_of_fakes"]["high"] <= 1
    assert "sample" not in found["calibration"]
    code, out, err = run("calibrate", "cifake", "--prevalence", "0.01", "--out", tmp_path / "rare")
    assert code == 0
    assert "stands for 1 % fakes" in out
    assert "assumed" in err
    assert Detector.load(tmp_path / "rare").card["calibration"]["prevalence"] == 0.01


def test_images_that_the_detector_does_not_judge_calibrate_nothing(run: Run, image_folder: Path, tmp_path: Path) -> None:
    code, _, err = run("calibrate", "cifake", "--data", image_folder, "--out", tmp_path / "mine")
    assert code == 2
    assert "of 64 images this detector judges only 0 real and 5 fake" in err
    assert not (tmp_path / "mine").exists()


def test_unlabelled_images_that_are_not_there(run: Run, image_folder: Path, tmp_path: Path) -> None:
    for name, said in (("nope", "nope is not there"), ("set.zip", "set.zip is a file, and no folder")):
        (tmp_path / "set.zip").write_bytes(b"PK")
        code, _, err = run("calibrate", "cifake", "--data", tmp_path / name, "--unlabelled", "--out", tmp_path / "mine")
        assert (code, said in err) == (5, True), err


def test_refusals(run: Run, judging: Path, image_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words, said in (
        ((), "nothing to calibrate with"),
        (("--unlabelled",), "needs images"),
        (("--unlabelled", "--data", image_folder / "test", "--prevalence", "0.1"), "not both"),
        (("--prevalence", "1"), "between 0 and 1"),
        (("--prevalence", "nan"), "between 0 and 1"),
        (("--prevalence", "1e-300"), "a card holds at most 50"),
    ):
        code, _, err = run("calibrate", judging, "--out", out, *words)
        assert (code, said in err) == (2, True), err
        assert not out.exists()
