"""A whole forge: what every member makes, the folder, going on after an interruption, refusals."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fauxto.data.store import load_data
from fauxto.errors import ConfigError, TrainingError, UsageError
from fauxto.forge import making, zoo
from fauxto.forge.reals import Reals
from fauxto.forge.recipes import Member
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.workshop import Workshop
from fauxto.perturb import perturbed

from .conftest import MEMBERS, MEMBERS_BY_NAME, SHORT, SIZE


@pytest.fixture(scope="module")
def forged(reals: Reals, settings: ForgeSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished forge of every family; treat it as read-only."""
    return zoo.make_zoo(reals, MEMBERS, tmp_path_factory.mktemp("forge") / "out", settings, device="cpu", shown=False)


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", MEMBERS_BY_NAME)
def test_every_member_makes_images_of_its_own(name: str, workshop: Workshop, photographs: np.ndarray) -> None:
    member = MEMBERS_BY_NAME[name]
    made, trained = making.forge_images(member, workshop, seed=1)
    assert made.images.dtype == np.uint8
    assert made.images.shape == (member.n_images, SIZE, SIZE, 3)
    assert np.isfinite(trained.loss)
    assert len(np.unique(made.images)) > 2
    reconstructs = member.family == "autoencoder"
    assert ((made.source >= 0) == reconstructs).all()
    if reconstructs:
        assert len(set(made.source.tolist())) == member.n_images
        assert (made.images != photographs[made.source]).any(axis=(1, 2, 3)).all()
    again, _ = making.forge_images(member, workshop, seed=1)
    np.testing.assert_array_equal(again.images, made.images)
    other, _ = making.forge_images(member, workshop, seed=2)
    assert (other.images != made.images).any()


def test_every_family_is_tried_here() -> None:
    assert {member.family for member in MEMBERS} == set(making.FAMILIES)


def test_the_data_set_opens_as_any_other(forged: Path, reals: Reals) -> None:
    store = load_data(forged)
    assert len(store) == len(reals.images) + sum(member.n_images for member in MEMBERS)
    assert set(store.generator[store.is_fake].tolist()) == set(MEMBERS_BY_NAME)
    assert set(store.file_format.tolist()) == {"PNG"}
    assert sorted(store.group[~store.is_fake].tolist()) == sorted(reals.group)
    of_autoencoders = np.char.startswith(store.generator, "autoencoder/")
    assert set(store.group[of_autoencoders].tolist()) <= set(reals.group)
    assert (store.group[store.is_fake & ~of_autoencoders] == "").all()
    assert (store.split == "").all()


def test_real_images_that_no_operation_touched_are_the_photographs(forged: Path, reals: Reals) -> None:
    rows = [row for row in rows_of(forged) if row["label"] == "real"]
    assert len(rows) == len(reals.images)
    for number, row in enumerate(rows):
        pixels = np.asarray(Image.open(forged / row["path"]))
        assert (pixels == reals.images[number]).all() == (row["operation"] == ""), row


def test_the_manifest_says_how_each_fake_was_made(forged: Path) -> None:
    fakes = [row for row in rows_of(forged) if row["label"] == "fake"]
    guided = [row for row in fakes if row["generator"] == "diffusion/ddim-guided"]
    assert len(guided) == 6
    assert guided[0]["family"] == "diffusion"
    assert json.loads(guided[0]["config"]) == SHORT | {"n_classes": 2, "n_steps": 3, "guidance": 1.0}
    assert guided[0]["path"].startswith("fake/diffusion/ddim-guided/")


def test_the_summary_names_members_photographs_and_versions(forged: Path, reals: Reals) -> None:
    found = json.loads((forged / "forge.json").read_text())
    assert found["reals"] == {"source": "photos", "n_images": 20, "fingerprint": reals.fingerprint}
    assert [record["member"]["name"] for record in found["members"]] == sorted(MEMBERS_BY_NAME)
    shared = {record["member"]["name"]: record["shares_a_network"] for record in found["members"]}
    assert [name for name, shares in shared.items() if shares] == ["diffusion/ddim-guided"]
    assert all(record["seconds"] >= 0 and np.isfinite(record["final_loss"]) for record in found["members"])
    assert "torch" in found["environment"]["packages"]
    with Image.open(forged / "contact.png") as page:
        assert page.height > len(MEMBERS) * 64


class Stopped(Exception):
    """Stands for Ctrl-C."""


def test_an_interrupted_forge_goes_on_without_doing_again(
    reals: Reals, settings: ForgeSettings, tmp_path: Path, forged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, out, real_make = MEMBERS[3:6], tmp_path / "out", making.forge_images
    begun: list[str] = []

    def stopping(member: Member, workshop: Workshop, **more: object) -> object:
        begun.append(member.name)
        if len(begun) == 3:
            raise Stopped
        return real_make(member, workshop, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "forge_images", stopping)
    with pytest.raises(Stopped):
        zoo.make_zoo(reals, members, out, settings, device="cpu", shown=False)
    assert len(load_data(out)) == 20 + 6 + 6, "what is whole is a data set already"
    zoo.make_zoo(reals, members, out, settings, resume=True, device="cpu", shown=False)
    assert begun == [*(member.name for member in members), members[2].name]
    for member in members:
        for file in sorted((forged / "fake" / member.name).glob("*.png")):
            assert (out / "fake" / member.name / file.name).read_bytes() == file.read_bytes(), "as if never interrupted"


def test_members_made_at_once_are_the_same(
    reals: Reals, settings: ForgeSettings, tmp_path: Path, forged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_threads = torch.get_num_threads()
    monkeypatch.setattr("os.cpu_count", lambda: 2 * n_threads)  # as many threads for each of two as here, for the same sums
    out = zoo.make_zoo(reals, MEMBERS[:4], tmp_path / "out", settings, device="cpu", n_jobs=2, shown=False)
    for member in MEMBERS[:4]:
        files = sorted((out / "fake" / member.name).glob("*.png"))
        assert files
        for file in files:
            assert file.read_bytes() == (forged / "fake" / member.name / file.name).read_bytes()
    assert {row["generator"] for row in rows_of(out)} == {"", *(member.name for member in MEMBERS[:4])}


def test_what_ends_one_of_several_processes_ends_the_forge(reals: Reals, settings: ForgeSettings, tmp_path: Path) -> None:
    impossible = Member("gan/a", "gan", "a", {"colour": 1})
    with pytest.raises(ConfigError, match="unknown key 'colour'"):
        zoo.make_zoo(reals, (impossible, *MEMBERS[:1]), tmp_path / "out", settings, device="cpu", n_jobs=2, shown=False)
    assert (tmp_path / "out" / "manifest.csv").is_file(), "what was whole by then is a data set"


def test_a_forge_that_is_killed_has_said_which_photographs_belong_together(
    reals: Reals, settings: ForgeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    monkeypatch.setattr(zoo, "_make", lambda *place: found.extend(row["group"] for row in rows_of(tmp_path / "out")))
    zoo.make_zoo(reals, MEMBERS[:1], tmp_path / "out", settings, device="cpu", shown=False)
    assert found == list(reals.group), "before the first member is made"


def test_members_come_into_one_folder_bit_by_bit(reals: Reals, settings: ForgeSettings, tmp_path: Path) -> None:
    for member, resume in ((MEMBERS[0], False), (MEMBERS[2], True)):
        zoo.make_zoo(reals, (member,), tmp_path / "out", settings, resume=resume, device="cpu", shown=False)
    assert {row["generator"] for row in rows_of(tmp_path / "out")} == {"", "autoencoder/kl", "gan/dcgan"}


def test_another_forge_is_refused(forged: Path, reals: Reals, settings: ForgeSettings) -> None:
    def go_on(reals: Reals, settings: ForgeSettings, member: Member = MEMBERS[0], *, resume: bool = True) -> None:
        zoo.make_zoo(reals, (member,), forged, settings, resume=resume, device="cpu", shown=False)

    with pytest.raises(UsageError, match="--resume"):
        go_on(reals, settings, resume=False)
    with pytest.raises(UsageError, match="another encode, seed"):
        go_on(reals, ForgeSettings(size=16, encode="jpeg-75", seed=4))
    with pytest.raises(UsageError, match="another fingerprint"):
        go_on(Reals("photos", reals.images[::-1].copy(), reals.group), settings)
    with pytest.raises(UsageError, match="other settings of this member"):
        go_on(reals, settings, Member("autoencoder/kl", "autoencoder", "kl", {"n_steps": 9}, {}, 12))


def test_impossible_members_and_machines(workshop: Workshop, photographs: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="unknown key 'colour'"):
        making.forge_images(Member("gan/a", "gan", "a", {"colour": 1}), workshop)
    broken = Workshop(photographs, device="cpu")
    broken.note(torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match="NaN"):
        broken.final_loss()
    with pytest.raises(TrainingError, match="--device cpu"):
        Workshop(photographs, device="nowhere")


def test_what_cannot_be_as_it_was_meant_is_said(reals: Reals, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guided = replace(MEMBERS_BY_NAME["diffusion/ddim-guided"], n_images=2)
    asked = ForgeSettings(size=16, recipe="guided", align="spectrum")
    classes = replace(reals, kind=tuple("ab" * (len(reals.group) // 2)))
    for name, photographs, settings, n_said in (
        ("both", reals, asked, 2), ("aligned", classes, asked, 1), ("neither", reals, ForgeSettings(size=16), 0),
    ):  # fmt: skip
        zoo.make_zoo(photographs, (guided,), tmp_path / name, settings, device="cpu")
        said = capsys.readouterr().err
        assert ("nothing to align" in said) + ("what these photographs show" in said) == n_said, name


def test_one_encoder_for_all(reals: Reals, tmp_path: Path) -> None:
    out = zoo.make_zoo(reals, MEMBERS[:1], tmp_path / "out", ForgeSettings(size=16, encode="jpeg-60"), device="cpu", shown=False)
    store = load_data(out)
    assert set(store.file_format.tolist()) == {"JPEG"}
    tables = set()
    for row in rows_of(out):
        with Image.open(out / row["path"]) as image:
            tables.add(str(image.quantization))  # type: ignore[attr-defined]
    assert len(tables) == 1
    row = next(row for row in rows_of(out) if row["operation"] == "")

    np.testing.assert_array_equal(
        np.asarray(Image.open(out / row["path"])), perturbed(reals.images, "jpeg-60")[int(Path(row["path"]).stem)]
    )
