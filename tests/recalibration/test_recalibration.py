"""fauxto.recalibration: the same network and logits, other probabilities, thresholds that stay where they were or are earned."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fauxto import Detector
from fauxto.calibration import unsure_band
from fauxto.data.store import Store
from fauxto.errors import DetectorError, ScoreError, UsageError
from fauxto.evaluation import evaluate
from fauxto.evaluation.comparison import ScoresFile, compare
from fauxto.recalibration import Recalibration, Sample, recalibrate, write_detector
from fauxto.recalibration.sampling import labelled_sample
from fauxto.verdicts import VerdictRule, points_of


def point(threshold: float, target: float) -> dict[str, object]:
    rates = {"value": target, "low": 0.0, "high": 1.0}
    return {"threshold": threshold, "target_fpr": target, "fpr": rates, "tpr": rates}


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    """The bundled detector with round numbers on its card; no image of its size is unfamiliar to it."""
    folder = tmp_path / "detector"
    shutil.copytree(Detector.load().folder, folder)
    card = json.loads((folder / "card.json").read_text())
    card |= {
        "calibration": {"method": "temperature", "temperature": 0.5},
        "threshold": 0.5,
        "unsure": {"low": 0.4, "high": 0.6, "alpha": 0.1, "guarantee": "old"},
        "operating_points": {"fpr1": point(0.9, 0.01), "fpr5": point(0.8, 0.05), "measured_on": "old images"},
    }
    del card["scope"]["statistics"]
    (folder / "card.json").write_text(json.dumps(card))
    return Detector.load(folder)


def sample_of(n_real: int, n_fake: int, *, shift: float = 0.0, seed: int = 0) -> Sample:
    """Images whose logits, over 0.5, are calibrated log-odds for equal classes, all moved by ``shift`` log-odds."""
    is_fake = np.repeat([False, True], [n_real, n_fake])
    odds = np.random.default_rng(seed).normal(np.where(is_fake, 2.0, -2.0), 2.0) + shift
    return Sample(odds * 0.5, is_fake, tuple(f"{at:032x}" for at in range(is_fake.size)), "mine")


def reloaded(detector: Detector, made: Recalibration, folder: Path) -> Detector:
    write_detector(detector, made.card, folder)
    return Detector.load(folder)


def test_a_shift_of_all_answers_is_found_and_mended(detector: Detector, tmp_path: Path) -> None:
    made = recalibrate(detector, sample_of(800, 800, shift=1.5), date="2026-01-01")
    new = reloaded(detector, made, tmp_path / "new")
    assert new.bias == pytest.approx(-1.5, abs=0.3)
    assert new.temperature == pytest.approx(0.5, abs=0.1)
    about = made.card["calibration"]
    assert about["method"].startswith("temperature and bias")
    assert (about["date"], about["prevalence"]) == ("2026-01-01", 0.5)
    assert about["replaced"] == {"method": "temperature", "temperature": 0.5}
    assert about["fitted_on"] == "800 real and 800 fake images of the user"
    assert (about["sample"]["n_real"], about["sample"]["n_fake"]) == (800, 800)
    assert made.warnings == ()
    assert (made.card["name"], "metrics" in made.card) == (f"{detector.card['name']}-calibrated", False)
    assert recalibrate(new, None, prevalence=0.1).card["name"] == made.card["name"]
    assert made.false_alarm_rate is not None


def test_no_logit_changes_and_the_evidence_does_not(detector: Detector, store: Store, tmp_path: Path) -> None:
    new = reloaded(detector, recalibrate(detector, sample_of(50, 50, shift=3)), tmp_path / "new")
    images = [store.image(at) for at in range(6)]
    np.testing.assert_array_equal(new.logits(images), detector.logits(images))
    said = [answer.p_fake for answer in new.predict(images)]
    expected = 1 / (1 + np.exp(-(new.logits(images).astype(float) / new.temperature + new.bias)))
    np.testing.assert_allclose(said, expected, atol=1e-12)
    twice = reloaded(new, recalibrate(new, sample_of(50, 50, shift=-3)), tmp_path / "twice")
    assert twice.certain_logit == new.certain_logit == detector.certain_logit


def test_a_prior_alone_moves_the_odds_and_no_image_across_an_old_threshold(detector: Detector) -> None:
    made = recalibrate(detector, None, prevalence=0.01)
    odds = np.log(0.01 / 0.99)
    assert made.card["calibration"]["bias"] == pytest.approx(odds)
    moved = 1 / (1 + np.exp(-(np.log(0.9 / 0.1) + odds)))
    points = points_of(made.card)
    assert points["fpr1"]["threshold"] == pytest.approx(moved)
    assert points["fpr1"]["fpr"] == points_of(detector.card)["fpr1"]["fpr"]
    assert made.card["operating_points"]["measured_on"] == "old images"
    rule = VerdictRule.from_card(made.card)
    assert rule.low == pytest.approx(1 / (1 + np.exp(-(np.log(0.4 / 0.6) + odds))))
    assert rule.high == 0.5  # the old range ends below the threshold, and reaches up to it
    assert "assumed" in made.warnings[0]


def test_priors_add_up(detector: Detector, tmp_path: Path) -> None:
    once = recalibrate(detector, None, prevalence=0.2).card["calibration"]
    first = reloaded(detector, recalibrate(detector, None, prevalence=0.7), tmp_path / "first")
    then = recalibrate(first, None, prevalence=0.2).card["calibration"]
    assert then["bias"] == pytest.approx(once["bias"])
    back = recalibrate(first, None, prevalence=0.5).card["calibration"]
    assert back["bias"] == pytest.approx(0, abs=1e-12)
    assert recalibrate(first, None, prevalence=1e-6).card["calibration"]["prevalence"] == 1e-6


def test_unlabelled_images_say_how_many_are_fake(detector: Detector) -> None:
    sample = sample_of(1800, 200)
    made = recalibrate(detector, Sample(sample.logit, None, sample.pixel_hash))
    assert made.share.value == pytest.approx(0.1, abs=0.03)
    assert made.share.low < made.share.value < made.share.high
    assert made.card["calibration"]["prevalence"] == made.share.value
    assert made.false_alarm_rate is None
    few = recalibrate(detector, Sample(sample.logit[1790:1810], None, ()))
    assert any("small" in warning for warning in few.warnings)
    nothing = recalibrate(detector, Sample(np.full(30, -40.0), None, ()))
    assert nothing.card["calibration"]["prevalence"] == 1e-4  # an estimate of 0 makes no answer certain


def test_points_and_range_are_new_where_the_sample_is_large_enough(detector: Detector) -> None:
    sample = sample_of(299, 299)
    made = recalibrate(detector, sample)
    p_fake = Detector(detector.folder, made.card).p_fake(sample.logit)
    points = points_of(made.card)
    assert (p_fake[~sample.is_fake] >= points["fpr5"]["threshold"]).mean() <= 0.05
    assert points["fpr5"]["fpr"]["value"] == (p_fake[~sample.is_fake] >= points["fpr5"]["threshold"]).mean()
    assert points["fpr1"]["fpr"] == points_of(detector.card)["fpr1"]["fpr"]  # of 299 photographs, 1 % is too little
    said = made.card["operating_points"]["measured_on"]
    assert "fpr5: the 299 real and 299 fake" in said
    assert "fpr1, kept at the old logits: old images" in said
    low, high = unsure_band(sample.is_fake, p_fake, alpha=0.1)
    assert (made.card["unsure"]["low"], made.card["unsure"]["high"]) == (low, high)
    assert "598 that calibrated" in made.card["unsure"]["guarantee"]


def test_a_small_sample_keeps_the_promise_and_is_warned_of(detector: Detector) -> None:
    made = recalibrate(detector, sample_of(8, 8))
    assert made.card["unsure"]["guarantee"] == "old"
    assert made.card["calibration"]["method"] == "bias"
    assert "8 real, 8 fake" in made.warnings[0]
    assert "0.0 to 32.4 %" in made.warnings[0]  # Wilson's interval of 0 of 8


def test_answers_that_say_the_opposite_are_named(detector: Detector) -> None:
    sample = sample_of(200, 200)
    made = recalibrate(detector, Sample(-20 * sample.logit, sample.is_fake, ()))
    assert any("opposite" in warning for warning in made.warnings)


def test_nothing_to_go_by_is_refused(detector: Detector) -> None:
    with pytest.raises(ScoreError, match="nothing to calibrate with"):
        recalibrate(detector, None)
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ScoreError, match="between 0 and 1"):
            recalibrate(detector, None, prevalence=share)
    for share in (1e-300, 1.9e-22):  # ln 1.9e-22 is -50.01
        with pytest.raises(ScoreError, match=f"with {share:g} as the share of fakes .* a card holds at most 50: give a share"):
            recalibrate(detector, None, prevalence=share)
    bias = recalibrate(detector, None, prevalence=2e-22).card["calibration"]["bias"]
    assert bias == pytest.approx(np.log(2e-22))
    with pytest.raises(ScoreError, match="anything from 0 to 100 %"):
        recalibrate(detector, Sample(np.array([-0.1]), None, ()))
    with pytest.raises(ScoreError, match="both kinds"):
        recalibrate(detector, sample_of(5, 0))


def test_the_old_folder_stays_and_a_taken_one_is_refused(detector: Detector, tmp_path: Path) -> None:
    before = (detector.folder / "card.json").read_bytes()
    new = reloaded(detector, recalibrate(detector, None, prevalence=0.1), tmp_path / "new")
    assert (detector.folder / "card.json").read_bytes() == before
    assert (new.folder / "model.onnx").read_bytes() == (detector.folder / "model.onnx").read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        write_detector(detector, new.card, tmp_path / "new")


def test_a_changed_model_is_not_sealed_anew(detector: Detector, tmp_path: Path) -> None:
    (detector.folder / "model.onnx").write_bytes(b"something else")
    with pytest.raises(DetectorError, match="checksum"):
        write_detector(detector, detector.card, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_samples_leave_the_test_part_alone_and_evaluation_knows_them(detector: Detector, store: Store, tmp_path: Path) -> None:
    sample = labelled_sample(detector, store, data="here")
    assert sample.logit.size == 64  # 24 of the 88 images are a test part
    new = reloaded(detector, recalibrate(detector, sample), tmp_path / "new")
    caveats = evaluate(new, store, {"all": np.arange(len(store))}, n_resamples=2).caveats
    assert any(caveat.startswith("64 of the 88 images") for caveat in caveats)
    theirs = ScoresFile("theirs", dict.fromkeys(store.path.tolist(), 0.5), 0.5)
    in_test = evaluate(new, store, {"test": np.flatnonzero(store.split == "test")}, n_resamples=2).caveats
    n_copies = int(np.isin(store.pixel_hash[store.split == "test"], store.pixel_hash[store.split != "test"]).sum())
    assert any("calibrated this" in line for line in in_test) == bool(n_copies), "the test part calibrated nothing"
    everything = replace(store, split=np.full(len(store), ""))
    (caveat,) = [line for line in compare([new, theirs], everything, n_resamples=2).caveats if "calibrated this" in line]
    assert "-calibrated: 64 of the 88 images measured here" in caveat
    assert not any("calibrated this" in line for line in evaluate(detector, store, {"all": np.arange(9)}, n_resamples=2).caveats)


def test_a_sample_too_large_for_the_card_is_still_warned_of(
    detector: Detector, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fauxto.recalibration.MAX_HASHES", 3)
    new = reloaded(detector, recalibrate(detector, labelled_sample(detector, store)), tmp_path / "new")
    caveats = evaluate(new, store, {"all": np.arange(4)}, n_resamples=2).caveats
    assert any("more images than its card lists" in caveat for caveat in caveats)


@pytest.mark.parametrize("hashes", [None, "abc", [1, None], [[]], {"a": 1}, ["é" * 40, "\ud800", ""]])
def test_a_strange_sample_on_a_card_ends_no_evaluation(detector: Detector, store: Store, hashes: object) -> None:
    calibration = detector.card["calibration"] | {"sample": {"pixel_hashes": hashes}}
    strange = Detector(detector.folder, detector.card | {"calibration": calibration})
    assert evaluate(strange, store, {"all": np.arange(4)}, n_resamples=2).columns[0].n == 4
