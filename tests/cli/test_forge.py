"""``fauxto forge``: what it writes and prints, and what it refuses before anything is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxto.data.store import load_data
from fauxto.forge import recipes

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """One short member of two families in place of the recipe."""
    chosen = [recipes.members_of("quick", only=family)[0] for family in ("autoencoder", "gan")]
    short = [
        dataclasses.replace(one, config={**one.config, "n_steps": 2, "width": 8, "batch_size": 4}, n_images=8) for one in chosen
    ]
    monkeypatch.setitem(recipes.RECIPES, "quick", tuple(short))


def test_a_data_set_comes_out(run: Run, image_folder: Path, tmp_path: Path, tiny: None) -> None:
    out = tmp_path / "forged"
    code, said, err = run("forge", image_folder, "--out", out, "--only", "autoencoder", "--device", "cpu", "--limit", 20)
    assert (code, said) == (0, f"{out}\n")
    assert "1/1 autoencoder/" in err
    assert "only they are used" in err
    assert len(load_data(out)) == 20 + 8
    code, said, err = run("forge", image_folder, "--out", out, "--device", "cpu", "--limit", 20, "--resume")
    assert code == 0
    assert "1/2 autoencoder/" in err
    assert "was there" in err
    assert "2/2 gan/" in err
    assert len(load_data(out)) == 20 + 16


def test_members_are_listed(run: Run) -> None:
    code, said, _ = run("forge", "--list", "--only", "gan")
    assert code == 0
    assert said.split() == [member.name for member in recipes.members_of("quick", only="gan")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "x"), "name the photographs"),
        (("FOLDER",), "name the photographs"),
        (("FOLDER", "--out", "x", "--only", "gun"), "begins with 'gun'"),
        (("FOLDER", "--out", "x", "--size", "33"), "size = 33"),
        (("FOLDER", "--out", "x", "--encode", "gif"), "'gif'"),
        (("FOLDER", "--out", "x", "--recipe", "slow"), "recipe = 'slow'"),
        (("FOLDER", "--out", "FOLDER/forged"), "lies inside the data"),
    ],
)
def test_refusals(
    run: Run, image_folder: Path, words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, err = run("forge", *(word.replace("FOLDER", str(image_folder)) for word in words))
    assert (code, said) == (2, "")
    assert message in err
    assert not (tmp_path / "x").exists()


def test_no_photographs(run: Run, tmp_path: Path) -> None:
    code, _, err = run("forge", tmp_path / "nothing", "--out", tmp_path / "out")
    assert code == 5
    assert "there is no data" in err
