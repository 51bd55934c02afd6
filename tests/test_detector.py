"""Detector: the same answers in every form of input, and clear refusals."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto import Detector
from fauxto.bundled import DEFAULT
from fauxto.data.store import Store
from fauxto.errors import DetectorError, ImageError
from fauxto.vocabulary import Prediction


@pytest.fixture(scope="module")
def detector(run_folder: Path) -> Detector:
    return Detector.load(run_folder)


def png_bytes(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_every_form_of_one_image_has_one_answer(detector: Detector, store: Store, tmp_path: Path) -> None:
    pixels = np.array(store.image(0))
    payload = png_bytes(pixels)
    (tmp_path / "a.png").write_bytes(payload)
    forms = [pixels, payload, Image.fromarray(pixels), tmp_path / "a.png", str(tmp_path / "a.png")]
    answers = detector.predict(forms)
    assert len({answer.logit for answer in answers}) == 1
    assert answers[0].p_fake == pytest.approx(1 / (1 + np.exp(-answers[0].logit / detector.temperature)), abs=1e-9)


def test_evidence_has_the_logit_as_its_mean(detector: Detector, store: Store) -> None:
    pixels = store.image(3)
    assert detector.evidence(pixels).mean() == pytest.approx(detector.predict([pixels])[0].logit, abs=1e-5)


def test_batches_do_not_change_answers(detector: Detector, store: Store) -> None:
    images = [store.image(at) for at in range(9)]
    one_by_one = np.array([detector.logits([image])[0] for image in images])
    np.testing.assert_allclose(detector.logits(images, batch_size=4), one_by_one, atol=1e-4)
    assert detector.logits([]).shape == (0,)


def test_verdict_follows_threshold_and_a_tie_is_fake(run_folder: Path, store: Store) -> None:
    plain = Detector.load(run_folder)
    first = plain.predict([store.image(0)])[0]
    for threshold, verdict in ((first.p_fake, "fake"), (np.nextafter(first.p_fake, 1), "real")):
        # Without a second look: at its very threshold, a verdict flips under anything.
        card = {**plain.card, "threshold": float(threshold), "scope": {"min_side": 16, "max_side": 64}}
        assert Detector(plain.folder, card).predict([store.image(0)])[0].verdict == verdict


def test_size_out_of_scope_is_unsure_with_the_reason(detector: Detector) -> None:
    answer = detector.predict([np.zeros((300, 400, 3), np.uint8)])[0]
    assert answer.verdict == "unsure"
    assert "400 x 300" in answer.reason
    assert "16 to 64" in answer.reason


def test_one_bad_image_does_not_stop_the_others(detector: Detector, store: Store) -> None:
    good = store.image(0)
    answers = list(detector.predict_each([good, b"", good, "missing.jpg", good], batch_size=2))
    assert [isinstance(answer, Prediction) for answer in answers] == [True, False, True, False, True]
    assert {answer.logit for answer in answers if isinstance(answer, Prediction)} == {detector.predict([good])[0].logit}
    with pytest.raises(ImageError, match="empty"):
        detector.predict([good, b""])


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8), 7])
def test_what_is_no_image_is_refused(detector: Detector, wrong: object) -> None:
    with pytest.raises(ImageError, match="expected"):
        detector.predict([wrong])  # type: ignore[list-item]


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder / "detector", tmp_path / "copy"))


def change_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def test_changed_model_is_refused(copied: Path, store: Store) -> None:
    payload = bytearray((copied / "model.onnx").read_bytes())
    payload[len(payload) // 2] ^= 1
    (copied / "model.onnx").write_bytes(payload)
    with pytest.raises(DetectorError, match="checksum"):
        Detector.load(copied).predict([store.image(0)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"threshold": 2}, "impossible"),
        ({"calibration": {"temperature": 0}}, "impossible"),
        ({"calibration": {"temperature": 1, "bias": 51}}, "impossible"),
        ({"calibration": {"temperature": 1, "bias": float("nan")}}, "impossible"),
        ({"calibration": {"temperature": 1, "bias": "x"}}, "lacks"),
        ({"calibration": {"temperature": 1, "bias": None}}, "lacks"),
        ({"calibration": {"temperature": 1, "certain_logit": -1}}, "impossible"),
        ({"calibration": {"temperature": 1, "prevalence": 0}}, "impossible"),
        ({"calibration": {"temperature": 1, "prevalence": "many"}}, "lacks"),
        ({"calibration": []}, "lacks"),
        ({"calibration": {}}, "lacks"),
        ({"calibration": {"temperature": 1e999}}, "impossible"),
        ({"threshold": 10**400}, "lacks"),
        ({"scope": []}, "lacks"),
        ({"scope": {"min_side": "a", "max_side": 64}}, "lacks"),
        ({"name": None}, "impossible"),
        ({"trained_on": "x"}, "impossible"),
        ({"preprocessing": {"size": 32}}, "preprocessing"),
        ({"scope": {"min_side": 16, "max_side": 64, "stable_under": ["noise-1"]}}, "impossible"),
        ({"scope": {"min_side": 16, "max_side": 64, "statistics": {"names": []}}}, "does not know"),
        ({"unsure": {"low": 0.6, "high": 0.7, "alpha": 0.1}}, "impossible"),
        ({"unsure": {"low": 0.4}}, "lacks"),
        ({"operating_points": {"fpr1": {"threshold": 0.9}}}, "lack"),
        (
            {
                "operating_points": {
                    "fpr1": {
                        **{rate: dict.fromkeys(("value", "low", "high"), 0) for rate in ("fpr", "tpr")},
                        "target_fpr": 0.01,
                        "threshold": 2,
                    }
                }
            },
            "impossible",
        ),
    ],
)
def test_unsound_card_is_refused(copied: Path, changes: dict[str, object], message: str) -> None:
    change_card(copied, **changes)
    with pytest.raises(DetectorError, match=message):
        Detector.load(copied)


def test_a_card_that_does_not_fit_its_model_is_refused(copied: Path) -> None:
    card = json.loads((copied / "card.json").read_text())
    change_card(copied, preprocessing=card["preprocessing"] | {"size": 33})
    with pytest.raises(DetectorError, match="does not fit its card"):
        Detector.load(copied).predict([np.zeros((33, 33, 3), np.uint8)])


def test_a_home_folder_that_does_not_exist_is_no_detector() -> None:
    with pytest.raises(DetectorError, match="no detector"):
        Detector.load("~no-such-user-here/detector")


def test_missing_model_and_missing_detector_are_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "model.onnx").unlink()
    with pytest.raises(DetectorError, match="missing"):
        Detector.load(copied)
    with pytest.raises(DetectorError, match="no detector"):
        Detector.load(tmp_path / "nowhere")


def test_a_model_with_other_inputs_is_refused(copied: Path, store: Store) -> None:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", ["x"], ["y"])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph([node], "g", sides[:1], sides[1:]), opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, copied / "model.onnx")
    from fauxto.runs import sha256_of

    change_card(copied, sha256={"model.onnx": sha256_of(copied / "model.onnx")})
    with pytest.raises(DetectorError, match="not a fauxto model"):
        Detector.load(copied).predict([store.image(0)])


def test_without_a_bundled_detector_the_next_step_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxto.bundled.ASSETS", tmp_path)
    with pytest.raises(DetectorError, match="fauxto train"):
        Detector.load()


def test_a_card_from_before_these_rules_answers_as_it_did(copied: Path, store: Store) -> None:
    card = json.loads((copied / "card.json").read_text())
    change_card(copied, scope={key: card["scope"][key] for key in ("min_side", "max_side")})
    old = Detector.load(copied)
    images = [store.image(at) for at in range(8)]
    assert [answer.verdict for answer in old.predict(images)] == [
        "fake" if p >= 0.5 else "real" for p in old.p_fake(old.logits(images))
    ]


def test_the_default_is_named_whatever_else_is_bundled(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxto.bundled.ASSETS", tmp_path / "assets")
    shutil.copytree(copied, tmp_path / "assets" / "another")
    with pytest.raises(DetectorError, match="fauxto train"):
        Detector.load()
    shutil.copytree(copied, tmp_path / "assets" / DEFAULT)
    assert Detector.load().folder.name == DEFAULT
    assert Detector.load("another").folder.name == "another"


BLOCK_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "onnx", "lightning_fabric"}:
            raise ImportError(f"blocked {name}")
sys.meta_path.insert(0, Block())
from fauxto.cli import main
main()
"""


def test_check_works_where_torch_is_not_installed(run_folder: Path, image_folder: Path) -> None:
    image = next((image_folder / "test" / "REAL").iterdir())
    call = [sys.executable, "-c", BLOCK_TORCH, "check", str(image), "--detector", str(run_folder), "--json"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 10), done.stderr
    assert json.loads(done.stdout)["images"][0]["image"] == str(image)


def test_a_mirrored_detector_answers_alike_for_both_mirror_images(copied: Path, store: Store) -> None:
    images = [store.image(at) for at in range(5)]
    plain = Detector.load(copied)
    one, other = plain.logits(images), plain.logits([image[:, ::-1] for image in images])
    assert np.abs(one - other).max() > 1e-3
    preprocessing = json.loads((copied / "card.json").read_text())["preprocessing"]
    change_card(copied, preprocessing=preprocessing | {"mirrored": True})
    both = Detector.load(copied)
    np.testing.assert_allclose(both.logits(images), (one + other) / 2, atol=1e-4)
    np.testing.assert_allclose(both.logits([image[:, ::-1] for image in images]), both.logits(images), atol=1e-4)
    evidence = both.evidence(images[0])
    assert evidence.mean() == pytest.approx(both.logits(images[:1])[0], abs=1e-4)
    np.testing.assert_allclose(both.evidence(images[0][:, ::-1]), evidence[:, ::-1], atol=1e-4)
    change_card(copied, preprocessing=preprocessing | {"mirrored": 1})
    with pytest.raises(DetectorError, match="makes no sense"):
        Detector.load(copied)
