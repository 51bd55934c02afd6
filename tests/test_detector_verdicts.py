"""Detector: the third verdict, its reasons in their order, and operating points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fauxto import Detector
from fauxto.data.store import Store
from fauxto.errors import DetectorError, UsageError
from fauxto.scope import NAMES


class Mean:
    """A network by hand: its logit is ten times the mean input, from -10 for black to 10 for white; it counts what it sees."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.seen.append(len(inputs["images"]))
        return [10 * inputs["images"].mean(axis=(1, 2, 3))]


POINT = {"target_fpr": 0.01, **{rate: {"value": 0.5, "low": 0.4, "high": 0.6} for rate in ("fpr", "tpr")}}
BAND = {"method": "conformal", "alpha": 0.1, "low": 0.25, "high": 0.75, "guarantee": "..."}


def by_hand(scope: dict | None = None, **changes: object) -> Detector:
    card = {
        "name": "mean",
        "preprocessing": {"size": 16, "mean": [0.5] * 3, "std": [0.5] * 3},
        "calibration": {"temperature": 1.0},
        "threshold": 0.5,
        "scope": {"min_side": 8, "max_side": 32, **(scope or {})},
        **changes,
    }
    detector = Detector(Path("nowhere"), card)
    detector.__dict__["_session"] = Mean()
    return detector


def grey(value: int, side: int = 16) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def verdicts(detector: Detector, *values: int) -> list[str]:
    return [answer.verdict for answer in detector.predict([grey(value) for value in values])]


def flat_statistics(limit: float) -> dict:
    """Only the brightness counts, and the mean is grey: distance 10 for white, 0 for 127.5."""
    whitening = np.zeros((len(NAMES), len(NAMES)))
    whitening[0, 0] = 20
    return {"names": list(NAMES), "mean": [0.5] + [0.0] * (len(NAMES) - 1), "whitening": whitening.tolist(), "limit": limit}


def test_between_the_ends_of_the_cards_range_the_answer_is_unsure() -> None:
    # A logit of 1.0986 = ln 3 is p = 3/4: grey level 127.5 * 1.10986 = 141.5
    detector = by_hand(unsure=BAND)
    assert verdicts(detector, 0, 113, 114, 127, 128, 141, 142, 255) == [
        "real", "real", "unsure", "unsure", "unsure", "unsure", "fake", "fake",
    ]  # fmt: skip
    answer = detector.predict([grey(130)])[0]
    assert answer.reason == "p_fake lies in the range from 0.25 to 0.75, in which this detector errs too often"
    assert answer.p_fake == pytest.approx(1 / (1 + np.exp(-answer.logit)))
    assert verdicts(by_hand(), 127, 128) == ["real", "fake"]


def test_an_image_unlike_the_training_images_is_unsure() -> None:
    detector = by_hand({"statistics": flat_statistics(limit=9.5)}, unsure=BAND)
    answers = detector.predict([grey(255), grey(240), grey(0)])
    assert [answer.verdict for answer in answers] == ["unsure", "fake", "unsure"]
    assert "unlike those this detector was trained on" in answers[0].reason
    assert "10 away from theirs, the limit is 9.5" in answers[0].reason


def test_a_verdict_that_flips_under_re_encoding_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def mirrored(images: np.ndarray, name: str) -> np.ndarray:
        asked.append(name)
        return 255 - images

    monkeypatch.setattr("fauxto.detector.perturbed", mirrored)
    detector = by_hand({"stable_under": ["jpeg-90"]})
    answers = detector.predict([grey(180), grey(75)])
    assert [answer.verdict for answer in answers] == ["unsure", "unsure"]
    assert answers[0].reason == "the verdict changes from fake to real when the image is saved again as jpeg-90"
    assert "from real to fake" in answers[1].reason
    assert answers[0].p_fake == by_hand().predict([grey(180)])[0].p_fake
    assert asked == ["jpeg-90"]
    assert verdicts(detector, 200, 20) == ["fake", "real"], "answers of over 99 % are not asked again"
    assert asked == ["jpeg-90"]


def test_a_re_encoding_after_which_it_is_only_unsure_is_no_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxto.detector.perturbed", lambda images, name: np.full_like(images, 120))
    assert verdicts(by_hand({"stable_under": ["jpeg-90"]}, unsure=BAND), 180, 75) == ["fake", "real"]
    assert verdicts(by_hand({"stable_under": ["jpeg-90"]}), 180, 75) == ["unsure", "real"]


def test_the_reasons_come_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxto.detector.perturbed", lambda images, name: 255 - images)
    scope = {"statistics": flat_statistics(limit=9.5), "stable_under": ["jpeg-90"]}
    detector = by_hand(scope, unsure=BAND)
    images = [grey(255, side=40), grey(255), grey(180), grey(130)]
    words = {"size": "a side", "unfamiliar": "statistics", "unstable": "saved again", "evidence": "p_fake"}
    for image, (kind, word) in zip(images, words.items(), strict=True):
        (answer,) = detector.predict([image])
        assert answer.kind == kind
        assert word in answer.reason
        assert type(answer.kind) is str  # a CSV writer and a repr show the word alone
    (sure,) = by_hand().predict([grey(180)])
    assert (sure.reason, sure.kind) == ("", "")


def test_a_flip_under_any_of_several_re_encodings_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxto.detector.perturbed", lambda images, name: 255 - images if name == "webp-80" else images)
    answer = by_hand({"stable_under": ["jpeg-90", "webp-80"]}).predict([grey(180)])[0]
    assert answer.reason.endswith("saved again as webp-80")


def test_the_second_look_is_taken_in_batches_and_only_where_it_can_matter() -> None:
    detector = by_hand({"stable_under": ["jpeg-90"]}, unsure=BAND)
    images = [grey(180), grey(130), grey(180, side=40)] * 100  # sure, in the range, out of scope
    detector.predict(images)
    assert detector._session.seen == [256, 86, 44, 14]
    plain = by_hand()
    plain.predict(images)
    assert plain._session.seen == [256, 44]


def test_a_real_re_encoding_gives_the_same_answer_alone_and_among_others(run_folder: Path, store: Store) -> None:
    detector = Detector.load(run_folder)
    assert detector.scope.stable_under == ("jpeg-90",)
    images = [store.image(at) for at in range(20)]
    together = detector.predict(images)
    for at in range(0, 20, 3):
        alone = detector.predict([images[at]])[0]
        assert (alone.verdict, alone.reason) == (together[at].verdict, together[at].reason)


def test_at_an_operating_point_its_threshold_decides_and_the_scope_stays() -> None:
    scope = {"statistics": flat_statistics(limit=9.5)}
    points = {"fpr1": {**POINT, "threshold": 0.75}, "measured_on": "validation"}
    detector = by_hand(scope, unsure=BAND, operating_points=points)
    at = detector.at("fpr1")
    assert (at.threshold, at.operating_point, at.folder, at.card) == (0.75, "fpr1", detector.folder, detector.card)
    assert verdicts(at, 20, 114, 141, 142, 240, 255) == ["real", "real", "real", "fake", "fake", "unsure"]
    assert at._session is detector._session
    assert detector.threshold == 0.5
    assert at.p_fake(np.array([0.3])) == detector.p_fake(np.array([0.3]))


def test_a_missing_operating_point_is_refused_with_those_that_are_there(run_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no operating point 'fpr1', its card has none: .* 100 real validation images"):
        Detector.load(run_folder).at("fpr1")
    with pytest.raises(UsageError, match="its card has fpr5"):
        by_hand(operating_points={"fpr5": {**POINT, "threshold": 0.75}}).at("fpr1")


def test_an_operating_points_own_threshold_says_what_is_far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxto.detector.perturbed", lambda images, name: 255 - images)
    high = by_hand({"stable_under": ["jpeg-90"]}, operating_points={"fpr1": POINT | {"threshold": 0.9}}).at("fpr1")
    # White is 10 by its logit, 7.8 above the threshold's; grey 200 is 5.7, 3.5 above it.
    assert verdicts(high, 255, 200) == ["fake", "unsure"]
    assert verdicts(by_hand({"stable_under": ["jpeg-90"]}), 255, 200) == ["fake", "fake"]


class Shaped:
    """A model that answers in another shape than its card promises."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [self.values for _ in outputs]


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros(()), np.zeros(1), np.zeros((2, 1, 1, 1)), np.array(["a", "b"])])
def test_a_model_that_answers_in_another_shape_is_refused(values: np.ndarray) -> None:
    detector = by_hand()
    detector.__dict__["_session"] = Shaped(values)
    with pytest.raises(DetectorError, match="does not fit its card"):
        detector.predict([grey(10), grey(200)])


def test_a_large_network_sees_fewer_images_at_once() -> None:
    detector = by_hand(preprocessing={"size": 2048, "mean": [0.5] * 3, "std": [0.5] * 3})
    detector.logits([grey(value) for value in range(10)])
    assert detector._session.seen == [1] * 10


def test_a_network_that_sees_images_one_by_one_gets_them_so() -> None:
    detector = by_hand(model={"at_once": 1})
    detector.logits([grey(value) for value in range(3)])
    assert detector._session.seen == [1, 1, 1]
