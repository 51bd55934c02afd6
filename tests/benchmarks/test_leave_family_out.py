"""benchmarks/leave_family_out.py and generalisation_page.py: what of a left-out family is measured, and how the page shows it."""

from __future__ import annotations

import dataclasses
import doctest
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fauxto.data.store import Store
from fauxto.perturb import perturbed

from .conftest import module
from .test_generalisation import Brightness

study, page = module("leave_family_out"), module("generalisation_page")


def test_only_images_without_an_operation_are_measured(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,label,operation\na.png,fake,\nb.png,fake,sharpen\nr.png,real,\n")
    assert study.unchanged(tmp_path) == {"a.png", "r.png"}


@pytest.fixture
def forged(store: Store) -> Store:
    """Fakes of two members of one family and of one of another, in turn."""
    names = np.array(["gan/a", "gan/b", "flow/c"])[np.arange(len(store)) % 3]
    return dataclasses.replace(store, generator=np.where(store.is_fake, names, ""))


def test_each_member_of_the_family_stands_against_photographs_saved_alike(forged: Store) -> None:
    reals = forged.batch(np.flatnonzero(~forged.is_fake)[:20])
    material = SimpleNamespace(reals={"lossless": reals, "jpeg": perturbed(reals, "jpeg-75")})
    of_a, of_b = (np.flatnonzero(forged.generator == name) for name in ("gan/a", "gan/b"))
    kept = {*forged.path[of_a[:5]].tolist(), *forged.path[of_b].tolist()}
    lines = study.of_family(Brightness(), "gan", forged, kept, material)
    assert [(line["member"], line["codec"], line["n"]) for line in lines] == [("gan/a", "jpeg", 5), ("gan/b", "jpeg", of_b.size)]
    brighter = forged.batch(of_a[:5]).mean(axis=(1, 2, 3))[:, None] > material.reals["jpeg"].mean(axis=(1, 2, 3))
    assert lines[0]["auc"] == pytest.approx(brighter.mean())
    lossless = dataclasses.replace(forged, file_format=np.full(len(forged), "PNG"))
    found = study.of_family(Brightness(), "gan", lossless, kept, material)
    assert [(line["member"], line["codec"]) for line in found] == [
        ("gan/a", "lossless"), ("gan/a", "jpeg"), ("gan/b", "lossless"), ("gan/b", "jpeg"),
    ]  # fmt: skip


def test_epochs_are_read_from_the_history(tmp_path: Path) -> None:
    text = "epoch,train_loss,validation_loss,validation_accuracy\n1,0.9,0.5,0.75\n2,0.8,0.25,0.875\n"
    (tmp_path / "history.csv").write_text(text)
    assert study.epochs_of(tmp_path / "history.csv")[1] == {"epoch": 2, "validation_loss": 0.25, "validation_accuracy": 0.875}


def test_every_table_has_its_place_on_the_page() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    for name in page.TABLES:
        assert text.count(f"<!-- table: {name} -->") == text.count(f"<!-- end: {name} -->") == 1, name


@pytest.mark.parametrize("name", page.TABLES)
def test_a_table_on_the_page_is_what_the_committed_results_make(name: str) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.record.filled(text, name, page.TABLES[name]()) == text, "run python benchmarks/generalisation_page.py"


def test_a_family_that_is_not_there_is_refused_before_anything_is_trained(forged: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(data="cifake", forge=["forge"], family="gans", finished=False, out=Path("nowhere"))
    monkeypatch.setattr(study, "parsed", lambda: given)
    monkeypatch.setattr(study, "load_data", lambda path: forged)
    monkeypatch.setattr(study, "train", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(SystemExit, match="no family is called 'gans': give one of flow, gan"):
        study.main()


def test_the_page_shows_what_the_results_say(monkeypatch: pytest.MonkeyPatch) -> None:
    member = {"n_steps": 5, "batch_size": 32, "n_images": 10}
    members = {"gan/a": member, "gan/b": member | {"n_steps": 2000}, "flow/c": member}
    number = {"mean": {"value": 0.75}, "min": {"value": 0.5}}
    left_out = {"own_images": {"jpeg": {"mean": 0.625, "n_members": 3}}, "generators32": {"lossless": number, "jpeg": number}}
    results = {
        "forged_sets": {"forged": {"reals": {"n_images": 4000}, "members": members}, "command": "x"},
        "leave_family_out": {"families": {"gan": left_out}},
    }
    monkeypatch.setattr(page, "json_of", results.__getitem__)
    assert page.sets().splitlines()[2:] == [
        "| forged | 4,000 | gan | 2 | 20 | 5 to 2,000 | 32 |",
        "| forged | 4,000 | flow | 1 | 10 | 5 | 32 |",
    ]
    assert page.families().splitlines()[2:] == ["| gan |  | 0.62 (3 members) | 0.75 | 0.50 | 0.75 | 0.50 |"]


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(page).attempted > 0
    assert doctest.testmod(page).failed == 0
