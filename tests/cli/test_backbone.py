"""``fauxto train --backbone``: the recipe that it begins with, what it cannot be mixed with, and the whole way to a verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

import fauxto.training
from fauxto.config import TrainConfig

from ..models.extractors import extractor

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    path = tmp_path / "tower.onnx"
    path.write_bytes(extractor(tokens=5).SerializeToString())
    return path


def test_a_backbone_begins_with_the_frozen_recipe(
    run: Run, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = mock.create_autospec(fauxto.training.train, return_value=Path("some/detector"))
    monkeypatch.setattr(fauxto.training, "train", stand_in)
    words = ("--data", image_folder, "--out", tmp_path / "run", "--backbone", "timm:resnet18", "--set", "head=mlp")
    assert run("train", *words)[0] == 0
    expected = TrainConfig(model="frozen", backbone="timm:resnet18", fit="centre", balanced=True, main_share=0.3, head="mlp")
    assert stand_in.call_args.args[1] == expected


def test_a_backbone_with_a_networks_recipe_is_refused(run: Run, image_folder: Path, tmp_path: Path) -> None:
    words = ("--data", image_folder, "--out", tmp_path / "run", "--backbone", "timm:resnet18", "--preset", "best")
    code, _, err = run("train", *words)
    assert (code, "belongs to model 'frozen'" in err) == (2, True)


def test_from_images_to_a_verdict_and_a_report(run: Run, image_folder: Path, tmp_path: Path, tower: Path) -> None:
    out, images = tmp_path / "run", [str(path) for path in sorted((image_folder / "test").glob("*/*"))[:2]]
    code, _, err = run("train", "--data", image_folder, "--out", out, "--backbone", tower, "--set", "device=cpu")
    assert code == 0, err
    code, text, err = run("check", *images, "--detector", out, "--json")
    assert code in (0, 10), err  # 10: one of them is called fake
    assert '"p_fake"' in text
    code, _, err = run("evaluate", out, "--data", image_folder, "--out", tmp_path / "report", "--n-resamples", 100)
    assert code == 0, err
    assert "tower.onnx" in (tmp_path / "report" / "model-card.md").read_text()
    code, _, err = run("explain", out, images[0], "--out", tmp_path / "maps")
    assert (code, "head on a frozen backbone" in err) == (6, True)
