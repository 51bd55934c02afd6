"""``fauxto explain``: maps of single images, the gallery, and wrong calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def test_one_image_and_one_that_cannot_be_read(
    run: Run, run_folder: Path, images: tuple[Path, Path], image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAUXTO_DATA", str(image_folder))  # no gallery is asked for by this
    (tmp_path / "text.jpg").write_text("no image")
    words = ("--target", "fake", "--out", tmp_path / "maps")
    code, out, err = run("explain", run_folder, images[1], tmp_path / "text.jpg", *words)
    assert code == 4
    assert "map for fake, 4x4, from backbone.layer2" in out
    assert out.count("\n") == 1
    assert "text.jpg" in err
    folder = tmp_path / "maps" / images[1].stem
    assert {"map.npy", "overlay.png", "manifest.json"} == {path.name for path in folder.iterdir()}
    assert json.loads((folder / "manifest.json").read_text())["target"] == "fake"
    code, out, err = run("explain", run_folder, images[1], *words)
    assert (code, out) == (2, "")
    assert "already exists" in err


def test_a_gallery(run: Run, run_folder: Path, image_folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("explain", run_folder, "--data", image_folder, "--out", tmp_path / "maps", "--n-each", 1)
    assert (code, out) == (0, f"gallery written to {tmp_path / 'maps' / 'gallery.html'}\n")
    groups = json.loads((tmp_path / "maps" / "cases.json").read_text())["groups"]
    assert sum(group["n_images"] for group in groups) == 24  # the test part, and nothing of the training part
    assert all(len(group["cases"]) <= 1 for group in groups)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("IMAGE", "--data", "DATA"), 2, "name either images or --data"),
        ((), 2, "name either images or --data"),
        (("--data", "DATA", "--target", "fake"), 2, "leave --target out"),
        (("IMAGE", "--target", "fack"), 2, "fake"),
        (("IMAGE", "--layer", "backbone.layer4"), 2, "backbone.layer2"),
        (("--data", "nowhere"), 5, "nowhere"),
        (("nowhere.jpg",), 4, "nowhere.jpg"),
    ],
)
def test_wrong_calls_leave_nothing_behind(
    run: Run, run_folder: Path, image_folder: Path, images: tuple[Path, Path], tmp_path: Path,
    words: tuple[str, ...], code: int, message: str,
) -> None:  # fmt: skip
    places = {"IMAGE": images[0], "DATA": image_folder}
    got, out, err = run("explain", run_folder, *(places.get(word, word) for word in words), "--out", tmp_path / "maps")
    assert (got, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_no_detector(run: Run, images: tuple[Path, Path], tmp_path: Path) -> None:
    code, out, err = run("explain", tmp_path / "nowhere", images[0], "--out", tmp_path / "maps")
    assert (code, out) == (6, "")
    assert "no detector" in err
