"""``fauxto data``: what a data set holds, for people and programs; refusals before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from fauxto.data import kaggle, synthetic
from fauxto.errors import NetworkError

Run = Callable[..., tuple[int, str, str]]


def test_info_counts(run: Run, image_folder: Path) -> None:
    code, out, err = run("data", "info", image_folder)
    cells = [line.replace("│", " ").split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert "88 images" in out
    assert ["train", "32", "32"] in cells
    assert ["test", "12", "12"] in cells
    assert "32 x 32 88" in out
    assert "equal pixels 0 images in 0 groups, 0 with both labels" in out


def test_info_as_json_and_files(run: Run, image_folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("data", "info", image_folder, "--json", "--out", tmp_path / "info")
    found = json.loads(out)
    assert code == 0
    assert found["counts"] == {"train": {"real": 32, "fake": 32}, "test": {"real": 12, "fake": 12}}
    assert json.loads((tmp_path / "info" / "info.json").read_text()) == found
    with Image.open(tmp_path / "info" / "contact-sheet.png") as sheet:
        assert sheet.width > 10 * 96


def test_info_takes_the_data_of_the_environment(run: Run, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAUXTO_DATA", str(image_folder))
    assert json.loads(run("data", "info", "--json")[1])["n_images"] == 88


def test_broken_images_are_refused_or_left_out(run: Run, simulated_folder: Path) -> None:
    (simulated_folder / "real-0000.jpg").write_text("no image")
    code, out, err = run("data", "info", simulated_folder)
    assert (code, out) == (5, "")
    assert "real-0000.jpg" in err
    assert "--skip-broken" in err
    code, out, err = run("data", "info", simulated_folder, "--skip-broken")
    assert code == 0
    assert "11 images" in out
    assert "skipped real-0000.jpg" in err
    assert "1 images could not be read" in err


@pytest.mark.parametrize("words", [("data", "info"), ("train", "--out", "x"), ("evaluate", "DETECTOR", "--out", "x")])
def test_no_data_named(
    run: Run, words: tuple[str, ...], run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*(run_folder if word == "DETECTOR" else word for word in words))
    assert (code, out) == (2, "")
    assert "FAUXTO_DATA" in err
    assert "fauxto data get cifake" in err
    assert not (tmp_path / "x").exists()


def test_get_knows_cifake_only(run: Run) -> None:
    code, out, err = run("data", "get", "imagenet")
    assert (code, out) == (2, "")
    assert "'imagenet'" in err
    assert "cifake" in err


def test_get_prints_the_folder_or_the_reason(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get = mock.create_autospec(kaggle.get_cifake, return_value=tmp_path / "cifake")
    monkeypatch.setattr(kaggle, "get_cifake", get)
    assert run("data", "get", "cifake", "--out", tmp_path) == (0, f"{tmp_path / 'cifake'}\n", "")
    get.assert_called_once_with(tmp_path)
    get.side_effect = NetworkError("Kaggle cannot be reached: check the connection")
    assert run("data", "get", "cifake") == (9, "", "error: Kaggle cannot be reached: check the connection\n")


def test_synthetic_passes_its_options_on_and_talks_on_stderr(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = mock.create_autospec(synthetic.make_synthetic, side_effect=lambda folder, *, n_per_photo, seed, say: say("made"))
    monkeypatch.setattr(synthetic, "make_synthetic", make)
    assert run("data", "synthetic", tmp_path / "new", "--n-per-photo", 12, "--seed", 3) == (0, "", "made\n")
    assert make.call_args.args == (tmp_path / "new",)
    assert {key: make.call_args.kwargs[key] for key in ("n_per_photo", "seed")} == {"n_per_photo": 12, "seed": 3}


def test_synthetic_refuses_a_full_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    code, out, err = run("data", "synthetic", tmp_path)
    assert (code, out) == (2, "")
    assert "not empty: choose another folder" in err
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["mine.txt"]
