"""fauxto.cli.common: no verb writes its pictures among the images that it reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxto.cli.common import opened, refuse_inside
from fauxto.errors import DataError, UsageError

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    "words",
    [
        ("train",),
        ("tune", "--config", "STUDY"),
        ("evaluate", "cifake"),
        ("evaluate", "cifake", "--by", "generator", "--reals", "OTHER"),
        ("compare", "a=cifake", "b=cifake"),
        ("calibrate", "cifake"),
        ("calibrate", "cifake", "--unlabelled"),
        ("explain", "cifake"),
        ("audit",),
        ("data", "info"),
    ],
)
def test_every_verb_refuses_to_write_into_its_data(run: Run, image_folder: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    data, other = tmp_path / "d4", tmp_path / "other"
    for folder in (data, other):
        for label in ("REAL", "FAKE"):
            (folder / label).mkdir(parents=True)
            shutil.copy(image_folder / "train" / label / "0000.jpg", folder / label)
    study = Path(__file__).parents[2] / "examples" / "tune-notebook-grid.toml"
    named = [{"OTHER": other, "STUDY": study}.get(word, word) for word in words]
    home = other if "OTHER" in words else data
    place = (data,) if words[0] in ("audit", "data") else ("--data", data)
    before = sorted(tmp_path.rglob("*.jpg"))
    code, out, err = run(*named, *place, "--out", home / "report")
    assert (code, out) == (2, "")
    assert f"{home / 'report'} lies inside the data {home}" in err
    assert "choose an --out outside of it, or let the data be the folder in it that holds the images alone" in err
    assert not (home / "report").exists()
    assert sorted(tmp_path.rglob("*.jpg")) == before


def test_pictures_beside_the_images_of_a_manifest_or_an_archive_are_none_of_them(
    simulated_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_inside(simulated_folder, simulated_folder / "report")
    refuse_inside(simulated_folder / "manifest.csv", simulated_folder / "report")
    shutil.make_archive(str(tmp_path / "set" / "images"), "zip", simulated_folder)
    refuse_inside(tmp_path / "set" / "images.zip", tmp_path / "set" / "report")
    (simulated_folder / "manifest.csv").unlink()
    refuse_inside(simulated_folder, tmp_path / "report")
    refuse_inside(simulated_folder, Path(f"{simulated_folder}-report"))
    monkeypatch.chdir(simulated_folder)
    (tmp_path / "link").symlink_to(simulated_folder)
    for data, out in ((".", "runs/x"), (".", "."), ("../simulated", "report"), ("../link", "../simulated/report")):
        with pytest.raises(UsageError, match="lies inside the data"):
            refuse_inside(Path(data), Path(out))


def test_data_that_are_not_there_are_told_before_where_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no data"):
        opened(tmp_path / "nope", out=tmp_path / "nope" / "x", skip_broken=False)
