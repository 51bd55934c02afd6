"""fauxto.evaluation.answering: the answers of Detector.predict, kept on disk, the same in parts and in several processes."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from fauxto.data.sources import open_source
from fauxto.data.store import open_store
from fauxto.detector import Detector
from fauxto.errors import ConfigError, DetectorError, UsageError
from fauxto.evaluation import answering
from fauxto.evaluation.answering import Answers, Loose, Stored, answers
from fauxto.perturb import perturbed
from fauxto.vocabulary import Kind


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FAUXTO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def detector(run_folder):
    return Detector.load(run_folder)


@pytest.fixture
def asked(monkeypatch):
    """Counts the images that the network is asked about."""
    counts = []
    plain = Detector.logits
    monkeypatch.setattr(
        Detector, "logits", lambda self, images, **more: counts.append(len(images)) or plain(self, images, **more)
    )
    return counts


def same(found: Answers, predictions) -> None:
    np.testing.assert_allclose(found.logit, [one.logit for one in predictions], atol=1e-6)
    np.testing.assert_allclose(found.p_fake, [one.p_fake for one in predictions], atol=1e-6)
    assert found.verdict.tolist() == [one.verdict for one in predictions]
    assert found.kind.tolist() == [one.kind for one in predictions]


def test_answers_are_those_of_predict(detector, store):
    members = np.array([3, 5, 40, 41, 80])
    found = answers(detector, Stored(store, members), ["", "noise-0.1", "jpeg-40"], seed=2)
    assert list(found) == ["", "noise-0.1", "jpeg-40"]
    same(found[""], detector.predict(store.batch(members)))
    for name in ("noise-0.1", "jpeg-40"):
        same(found[name], detector.predict(perturbed(store.batch(members), name, seed=2)))
        np.testing.assert_array_equal(found[name].called_fake, found[name].p_fake >= detector.threshold)


def test_parts_do_not_matter(detector, store, monkeypatch):
    images = Stored(store, np.arange(20))
    whole = answers(detector, images, ["noise-0.1"])["noise-0.1"]
    monkeypatch.setattr(answering, "AT_ONCE", 7)
    monkeypatch.setattr(answering, "_kept", lambda place, n: None)
    steps = []
    parts = answers(detector, images, ["noise-0.1"], progress=lambda done, total: steps.append((done, total)))["noise-0.1"]
    np.testing.assert_allclose(parts.logit, whole.logit, atol=1e-6)
    assert steps == [(0, 20), (7, 20), (14, 20), (20, 20)]


def test_several_processes_give_the_same_answers(detector, store, monkeypatch):
    images, names = Stored(store, np.arange(12)), ["noise-0.1", "jpeg-40"]
    alone = answers(detector, images, names)
    monkeypatch.setattr(answering, "WORTH_PROCESSES", 1)
    monkeypatch.setattr(answering, "_kept", lambda place, n: None)
    together = answers(detector, images, names, n_workers=2)
    for name in names:
        np.testing.assert_array_equal(together[name].logit, alone[name].logit)
        assert together[name].verdict.tolist() == alone[name].verdict.tolist()


def test_what_is_kept_is_not_asked_again(detector, store, asked):
    images = Stored(store, np.arange(10))
    first = answers(detector, images, ["jpeg-40"])["jpeg-40"]
    n = sum(asked)
    again = answers(Detector.load(detector.folder), images, ["jpeg-40", "jpeg-60"])
    np.testing.assert_array_equal(again["jpeg-40"].logit, first.logit)
    assert again["jpeg-40"].kind.tolist() == first.kind.tolist()
    assert sum(asked) < 2 * n + 10
    n = sum(asked)
    answers(detector, images, ["jpeg-40", "jpeg-60"])
    assert sum(asked) == n
    for other, name, seed in ((Stored(store, np.arange(1, 11)), "jpeg-40", 0), (images, "jpeg-40", 1), (images, "jpeg-41", 0)):
        answers(detector, other, [name], seed=seed)
        assert sum(asked) > n
        n = sum(asked)


def test_another_threshold_keeps_the_networks_answers(detector, store, asked):
    images = Stored(store, np.arange(10))
    before = answers(detector, images, [""])[""]
    asked.clear()
    threshold = float(np.median(before.p_fake))
    card = detector.card | {"threshold": threshold, "unsure": {"low": threshold, "high": threshold, "alpha": 0.5}}
    other = dataclasses.replace(detector, card=card | {"scope": {"min_side": 1, "max_side": 99}})
    after = answers(other, images, [""])[""]
    assert asked == []
    np.testing.assert_array_equal(after.logit, before.logit)
    np.testing.assert_array_equal(after.called_fake, before.p_fake >= threshold)
    assert set(after.kind.tolist()) == {""}


def test_another_bias_is_another_answer(detector, store):
    """A verdict that flips when re-encoded hangs on the bias also where the card has no unsure range."""
    images, card = Stored(store, np.arange(12)), {key: value for key, value in detector.card.items() if key != "unsure"}
    card["scope"] = card["scope"] | {"stable_under": ["jpeg-60"]}
    plain = np.stack(images.part(0, 12))
    middles = (detector.logits(plain) + detector.logits(perturbed(plain, "jpeg-60"))) / 2 / detector.temperature
    for bias in (5.0, -float(middles[0])):
        one = dataclasses.replace(detector, card=card | {"calibration": card["calibration"] | {"bias": bias}})
        found = answers(one, images, [""])[""]
        same(found, one.predict(plain))
    assert found.kind[0] == Kind.UNSTABLE.value


def test_a_calibrated_detector_has_keys_of_its_own(detector):
    def places(**more):
        card = detector.card | {"calibration": detector.card["calibration"] | more}
        return answering._places(dataclasses.replace(detector, card=card), "images", "", 0)

    found = [places(), places(bias=1.0), places(bias=2.0), places(certain_logit=1.0)]
    assert len({of_logits for of_logits, _ in found}) == len({of_kinds for _, of_kinds in found}) == 4


def test_an_interrupt_loses_one_perturbation_at_most(detector, store, asked):
    images, names = Stored(store, np.arange(10)), ["jpeg-40", "jpeg-60", "jpeg-80"]

    def stop(done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answers(detector, images, names, progress=stop)
    asked.clear()
    steps = []
    answers(detector, images, names, progress=lambda done, total: steps.append(done))
    assert steps[0] == 10
    assert asked


@pytest.mark.parametrize("damage", [b"", b"not an array", "short"])
def test_a_damaged_file_is_made_again(detector, store, tmp_path, damage):
    images = Stored(store, np.arange(6))
    first = answers(detector, images, ["jpeg-40"])["jpeg-40"]
    for path in answering.cache_folder().joinpath("answers").iterdir():
        if damage == "short":
            values = np.load(path)[:-1]
            with path.open("wb") as stream:
                np.save(stream, values)
        else:
            path.write_bytes(damage)
    np.testing.assert_array_equal(answers(detector, images, ["jpeg-40"])["jpeg-40"].logit, first.logit)


def test_images_of_several_sizes(detector, store, tmp_path):
    from PIL import Image

    for name, size in (("real/a.png", (32, 32)), ("real/b.png", (1, 1)), ("fake/c.png", (40, 20))):
        path = tmp_path / "mixed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    mixed = open_store(open_source(tmp_path / "mixed"), cache=tmp_path / "c")
    found = answers(detector, Stored(mixed, np.arange(3)), ["noise-0.1"])["noise-0.1"]
    expected = [perturbed(mixed.image(at)[None], "noise-0.1", first=at)[0] for at in range(3)]
    same(found, detector.predict(expected))


def test_loose_images_are_those_of_a_store(detector, store):
    pixels = store.batch(np.arange(5))
    loose, stored = (answers(detector, some, ["noise-0.1"])["noise-0.1"] for some in (Loose(pixels), Stored(store, np.arange(5))))
    np.testing.assert_array_equal(loose.logit, stored.logit)
    assert Loose(pixels).key != Loose(pixels[::-1]).key
    assert Stored(store, np.arange(5)).key != Stored(store, np.arange(5)[::-1]).key


def test_a_store_goes_to_another_process_by_its_name(store):
    there = pickle.loads(pickle.dumps(Stored(store, np.array([4, 2]))))
    np.testing.assert_array_equal(np.stack(there.part(0, 2)), store.batch(np.array([4, 2])))


def test_refusals(detector, store):
    images = Stored(store, np.arange(2))
    with pytest.raises(UsageError, match="at least 1 process"):
        answers(detector, images, [""], n_workers=0)
    with pytest.raises(ConfigError, match="no perturbation is called 'jpg'"):
        answers(detector, images, ["jpg-40"])
    wrong = dataclasses.replace(detector, card=detector.card | {"sha256": {"model.onnx": "0" * 64}})
    with pytest.raises(DetectorError):
        answers(wrong, images, [""])
