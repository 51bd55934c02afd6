"""The measurements' own arithmetic: tests, ratios, medians and bars, worked out by hand or against SciPy."""

from __future__ import annotations

import doctest
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fauxto.config import preset, to_dict, to_toml
from fauxto.data.splits import fingerprint, make_split
from fauxto.data.store import Store
from fauxto.detector import Detector
from fauxto.evaluation.answering import Answers
from fauxto.perturb import STANDARD, perturbed
from fauxto.vocabulary import Prediction

from .conftest import module

ROOT = Path(__file__).parents[2]
WITH_EXAMPLES = ("record", "peers", "best_detector", "fast_preset")


record, peers, best, fast, unseen, twins = (
    module(name) for name in ("record", "peers", "best_detector", "fast_preset", "unseen", "lossless")
)


class Asked:
    """A detector that calls an image fake by its brightness."""

    threshold = 0.5

    def predict(self, images: Any) -> list[Prediction]:
        means = [float(np.mean(image)) / 255 for image in images]
        return [Prediction(p, p - 0.5, "fake" if p >= 0.5 else "real") for p in means]

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        return logits.astype(np.float64) + 0.5


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings(name: str) -> None:
    done = doctest.testmod(module(name), optionflags=doctest.ELLIPSIS)
    assert done.attempted > 0
    assert done.failed == 0


def test_over_seeds_is_students_interval() -> None:
    values = [0.979, 0.981, 0.984]
    found = record.over_seeds(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high))


def test_order_of_refuses_what_is_missing_or_double() -> None:
    with pytest.raises(SystemExit, match=r"1 of 2 images are not there, such as 'test/REAL/2.jpg'"):
        record.order_of(["test/REAL/1.jpg"], ["test/REAL/1.jpg", "test/REAL/2.jpg"])
    with pytest.raises(SystemExit, match="the same"):
        record.order_of(["a/test/REAL/1.jpg", "b/test/REAL/1.jpg"], [])
    with pytest.raises(SystemExit, match="same name"):
        record.by_name([Path("a/x"), Path("b/x")])


def trained_with(store: Store, split: str) -> Any:
    config = preset("notebook", split=split)
    about = {
        "store": store.folder.name,
        "config": to_dict(config),
        "test_part": fingerprint(store, make_split(store, config).test),
    }
    return SimpleNamespace(card={"trained_on": about})


def test_only_runs_with_the_official_split_are_measured_on_the_official_test_part(store: Store) -> None:
    columns = record.official_columns({"run": trained_with(store, "official")}, store)
    assert columns["test"].tolist() == np.flatnonzero(store.split == "test").tolist()
    trained = trained_with(store, "official")
    assert record.split_of(trained, store).train.tolist() == make_split(store, preset("notebook")).train.tolist()
    trained.card["trained_on"]["store"] = "other"
    assert record.split_of(trained, store) is None
    with pytest.raises(SystemExit, match="drawn was not trained with the official split"):
        record.official_columns({"drawn": trained_with(store, "notebook")}, store)


def test_against_bar() -> None:
    assert record.against_bar(0.012, 0.01, 0.005, at_most=True)["reached"] is False
    assert record.against_bar(0.01, 0.01, 0.005, at_most=True) == {
        "value": 0.01, "bar": 0.01, "reached": True, "reach_for": 0.005, "reach_for_reached": False,
    }  # fmt: skip
    assert record.against_bar(None, 5, at_most=True)["reached"] is False


def test_results_name_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "peers.py"), "--run", str(tmp_path / "best-0")])
    text = record.write_result("x", {"a": 1}).read_text()
    assert '"command": "python benchmarks/peers.py --run best-0"' in text
    table = record.write_table("x", [{"name": "a", "value": 1 / 3}, {"name": "b", "value": None}])
    assert table.read_text() == "name,value\na,0.333333\nb,\n"


def test_mcnemar_is_the_exact_binomial_test() -> None:
    rng = np.random.default_rng(0)
    own, other = rng.random(500) < 0.95, rng.random(500) < 0.9
    found = peers.mcnemar(own, other)
    n_own, n_other = int((own & ~other).sum()), int((other & ~own).sum())
    assert (found["only_own_right"], found["only_other_right"]) == (n_own, n_other)
    assert found["p_value"] == pytest.approx(stats.binomtest(n_own, n_own + n_other).pvalue)
    gain = found["accuracy_gain"]
    assert gain["value"] == pytest.approx(own.mean() - other.mean())
    # The paired z-interval: mean and standard error of the differences per image, one more image right alone on either side.
    differences = np.append(own.astype(float) - other, [1.0, -1.0])
    assert (gain["high"] - gain["low"]) / 2 == pytest.approx(1.959964 * differences.std() / np.sqrt(502))
    same = peers.mcnemar(own, own)
    assert same["p_value"] == 1.0
    assert same["accuracy_gain"]["low"] < 0 < same["accuracy_gain"]["high"], "that nobody differed here is no proof"


def test_peers_are_matched_by_path(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", path=["test/REAL/1.jpg", "test/FAKE/1.jpg"], someone=np.array([0.25, 0.75], np.float32))
    found = peers.of_peers(tmp_path / "p.npz", ["test/FAKE/1.jpg", "test/REAL/1.jpg"])
    assert found["someone"].tolist() == [0.75, 0.25]


def test_table_and_picture_of_peers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    is_fake = np.repeat([True, False], 400)
    p_fake = {name: np.clip(is_fake + rng.normal(0, noise, 800), 0, 1) for name, noise in (("own", 0.1), ("a", 0.6), ("b", 0.9))}
    found = peers.measured(is_fake, p_fake, ["own"], n=20)
    assert tuple(found["scores"]["a"]) == record.SCORES
    assert all(one["low"] <= one["value"] <= one["high"] for one in found["scores"]["a"].values())
    assert found["best_peer"] == "a"
    assert [row["detector"] for row in peers.flat("test", found)] == ["own", "a", "b"]
    table = peers.markdown({"test": found, "unseen": found})
    assert table.splitlines()[2].startswith("| **own** (fauxto) | 100.00 (99.52-100.00) |")
    peers.draw(tmp_path / "p.png", found)
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_the_page_on_peers_has_a_place_for_the_table() -> None:
    page = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    once = record.filled(page, "peers", "| new |")
    assert "\n| new |\n" in once
    assert record.filled(once, "peers", "| new |") == once


def test_alarm_ratio_counts_only_what_counts() -> None:
    lossless = np.array([[True, True, False, True], [True, False, False, True]])
    jpeg = np.array([[True, False, False, True], [False, False, False, True]])
    counted = np.array([[True, True, True, False], [True, True, True, False]])  # the last picture belongs to no run
    found = twins.alarm_ratio(lossless, jpeg, counted, n_resamples=200)
    assert found["n_answers"] == 6
    assert found["rates"] == {"lossless": 3 / 6, "jpeg": 1 / 6}
    assert found["verdict_changes"] == pytest.approx(2 / 6)
    assert found["ratio"]["value"] == pytest.approx(3)
    assert found["ratio"]["reason"].startswith("too few")  # one alarm only: it is missing from many resamples
    many = np.random.default_rng(0).random((3, 400)) < 0.1
    assert twins.alarm_ratio(many, many, ~many | many, n_resamples=50)["ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert twins.alarm_ratio(many, many & False, ~many | many, n_resamples=50)["ratio"]["value"] is None


def scores_of(value: float) -> dict[str, Any]:
    number = {"value": value, "low": value - 0.01, "high": value + 0.01}
    wrong = {"real": 0.01, "fake": 0.02}
    unsure = {"share": 0.0, "reasons": {}, "accuracy_of_answered": value, "wrong_verdicts": wrong}
    return dict.fromkeys(record.SCORES, number) | {"unsure": unsure}


def test_rows_and_bars_of_two_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "n_parameters", lambda detector: 900_000)
    (tmp_path / "model.onnx").write_bytes(bytes(10))
    found = {
        run: {"test": {kind: scores_of(value) for kind in ("clean", *STANDARD)}}
        for run, value in (("best-0", 0.97), ("best-1", 0.99))
    }
    assert sorted(kind for some in best.families(STANDARD).values() for _, kind in some) == sorted(STANDARD)
    found["plain-0"] = {"test": {"clean": scores_of(0.985), "blur-0.6": scores_of(0.6)}}
    mean = next(row for row in best.mean_rows(found) if row["group"] == "best" and row["perturbation"] == "clean")
    assert (mean["run"], mean["accuracy"]) == ("mean of 2", pytest.approx(0.98))
    lossless = [{"pictures": "all pictures", "runs": ["best-0", "best-1"], "ratio": {"value": 1.3, "low": 1.1, "high": 1.5}}]
    detector = SimpleNamespace(folder=tmp_path, card={"unsure": {"alpha": 0.015}})
    bars = best.bars(found, ["best-0", "best-1"], ["plain-0"], lossless, detector)
    assert bars["test"]["accuracy"]["reached"] is True
    assert bars["test"]["accuracy"]["low"] < 0.97  # two seeds: a wide interval
    assert bars["clean accuracy paid for robustness"]["value"] == pytest.approx(0.005)
    assert bars["clean accuracy paid for robustness"]["reached"] is False
    assert bars["false alarms, lossless to JPEG: all pictures"]["reached"] is False
    promised = [bars[f"wrong verdicts on {label} images, promised"]["reached"] for label in ("real", "fake")]
    assert promised == [True, False]
    missing = best.bars(found, ["best-0", "best-1"], [], lossless, detector)["clean accuracy paid for robustness"]
    assert missing == {"value": None, "bar": 0.003, "reached": False, "reach_for": 0.0, "reach_for_reached": False}
    assert bars["parameters"]["reached"] is bars["model bytes"]["reached"] is True


def test_numbers_count_forced_answers_and_abstentions(tmp_path: Path) -> None:
    is_fake, logit = np.array([True, True, False, False]), np.array([0.4, -0.1, 0.2, -0.4], np.float32)
    p_fake = Asked().p_fake(logit)
    said = Answers(logit, p_fake, p_fake >= 0.5, np.array(["", "", "evidence", ""]), np.array(["fake", "real", "unsure", "real"]))
    found = best.numbers(Asked(), is_fake, said, np.arange(4), n_resamples=20)
    assert found["accuracy"]["value"] == 0.5
    assert found["unsure"] == {
        "share": 0.25, "reasons": {"evidence": 0.25}, "accuracy_of_answered": pytest.approx(2 / 3),
        "wrong_verdicts": {"real": 0.0, "fake": 0.5},
    }  # fmt: skip


def run_of(*accuracies: float, seconds: float = 60.0, n_threads: int = 2) -> dict[str, Any]:
    history = [{"epoch": at, "seconds": seconds, "validation_accuracy": value} for at, value in enumerate(accuracies, start=1)]
    return {
        "history": history, "final_validation_accuracy": accuracies[-1], "n_threads": n_threads,
        "seconds_to_final": seconds * len(accuracies), "whole_run": {"seconds": seconds * len(accuracies) + 30},
        "test_accuracy": {"value": accuracies[-1]},
        "seconds_to": {str(target): fast.seconds_to(history, target) for target in fast.TARGETS},
    }  # fmt: skip


def test_the_quickest_schedule_counts() -> None:
    long = [run_of(0.90, 0.94, 0.96, 0.977), run_of(0.91, 0.956, 0.97, 0.978)]
    schedules = {"2 epochs": fast.of_schedule([run_of(0.93, 0.96)]), "4 epochs": fast.of_schedule(long)}
    assert schedules["4 epochs"]["to 0.955"] == {"median_minutes": 2.5, "min_minutes": 2.0, "max_minutes": 3.0, "n_reached": 2}
    bars = fast.bars(schedules)
    assert (bars["minutes to 0.955"]["schedule"], bars["minutes to 0.955"]["value"]) == ("2 epochs", 2.0)
    assert bars["minutes to 0.955"]["whole_run"] == 2.5
    assert (bars["minutes to 0.976"]["schedule"], bars["minutes to 0.976"]["value"]) == ("4 epochs", 4.0)
    assert bars["minutes to 0.976"]["reach_for_reached"] is True
    assert fast.bars({"1 epoch": fast.of_schedule([run_of(0.5)])})["minutes to 0.976"]["reached"] is False


def test_a_run_that_is_there_is_not_trained_again(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "fast-max_epochs-2-1"
    folder.mkdir()
    (folder / "wall.json").write_text("{}")
    (folder / "config.toml").write_text(to_toml(preset("fast", seed=1, max_epochs=2)))
    assert fast.go(store, tmp_path, 1, {"max_epochs": 2}) == folder
    (folder / "config.toml").write_text(to_toml(preset("fast", seed=1, max_epochs=2, batch_size=64)))
    with pytest.raises(SystemExit, match="another configuration"):
        fast.go(store, tmp_path, 1, {"max_epochs": 2})


def test_against_the_notebook() -> None:
    notebook = run_of(0.90, 0.95, seconds=600, n_threads=1)
    found = fast.against(notebook, [run_of(0.96), run_of(0.94, 0.95), run_of(0.90)])
    assert found["goal"] == 0.95
    assert found["fast"]["n_reached"] == 2
    assert found["times_as_fast"] == {"median": 15.0, "min": 10.0, "max": 20.0}
    assert found["times_as_fast_per_core"] == 7.5  # one core against two
    assert found["bar"]["reached"] is True


def test_as_jpeg_is_the_quality_of_cifake() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(unseen.as_jpeg(pixels), perturbed(pixels[None], "jpeg-75")[0])


def test_shares() -> None:
    answers = [Prediction(0.9, 2, "fake"), Prediction(0.1, -2, "real"), Prediction(0.5, 0, "unsure", "too small", "size")]
    found = unseen.shares([*answers, answers[2]])
    assert found == {"n": 4, "fake": 0.25, "real": 0.25, "unsure": 0.5, "reasons": "size 0.500"}


def test_a_table_by_generator(tmp_path: Path) -> None:
    images = [np.full((4, 4, 3), grey, np.uint8) for grey in (250, 200, 30, 10)]
    reals = np.stack([np.full((4, 4, 3), grey, np.uint8) for grey in (0, 20, 100, 220)])
    names = ["seen", "seen", "new", unseen.REAL]
    table = unseen.by_generator(Asked(), images, names, reals, {"seen"})
    assert [row["generator"] for row in table] == [unseen.REAL, "new", "seen", f"{unseen.REAL} matched"]
    assert [row["roc_auc"] for row in table] == [None, 0.5, 0.875, None]
    whole = unseen.overall(table)
    assert (whole["n_generators"], whole["mean_roc_auc"], whole["lowest_auc"]) == (1, 0.5, {"new": 0.5})
    assert whole["reals"][f"{unseen.REAL} matched"]["fake"] == 0.25


def test_what_was_written_of_a_notebook_run_can_stand_for_it(tmp_path):
    history = [{"epoch": at, "validation_accuracy": 0.9 + at / 100, "seconds": 60.0} for at in (1, 2, 3)]
    path = tmp_path / "told.json"
    path.write_text(json.dumps({"history": history, "best_epoch": 2, "config": {"seed": 5, "n_threads": 1}}))
    notebook = fast.told(path)
    assert (notebook["final_validation_accuracy"], notebook["seconds_to_final"]) == (0.92, 120.0)
    run = {"history": [{"epoch": 1, "seconds": 10.0, "validation_accuracy": 0.93}], "n_threads": 2}
    found = fast.against(notebook, [run])
    assert found["times_as_fast"]["median"] == 12.0
    assert found["times_as_fast_per_core"] == 6.0


def test_the_cost_of_tiles_is_measured_at_its_size(tiled_folder: Path) -> None:
    tiles = module("tiles_cost")
    found = tiles.costs(Detector.load(tiled_folder), 0.02, n_runs=2)
    assert (found["height"], found["width"], found["n_tiles"]) == (122, 163, 15)  # sqrt(20000 * 3 / 4) = 122.5; 3 rows of 5
    assert all(found[name]["n_runs"] == 2 and found[name]["min_s"] > 0 for name in ("decode", "predict", "at_most"))
