"""Cleaning: what goes and what stays, by hand; the manifest reads back; a clean set has no leak."""

from __future__ import annotations

import csv
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto.audit.cleaning import UNWRITABLE, clean, write_manifest
from fauxto.audit.duplicates import Pair, find_duplicates
from fauxto.audit.leaks import find_leaks, leak_findings
from fauxto.audit.twins import Twins
from fauxto.data.sources import source_of
from fauxto.data.store import Store, load_data
from fauxto.errors import DataError

ROWS = [  # path, label, split, group, value
    ("a.png", "real", "test", "", 1), ("b.png", "real", "train", "", 1), ("c.png", "real", "val", "", 1),
    ("d.png", "fake", "train", "", 2), ("e.png", "fake", "train", "", 2),
    ("f.png", "real", "train", "", 3), ("g.png", "fake", "test", "", 3),
    ("h.png", "fake", "train", "film", 4), ("i.png", "fake", "test", "film", 5),
    ("j.png", "real", "train", "", 6), ("k.png", "fake", "train", "", 7),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for path, *_, value in ROWS:
        Image.new("RGB", (4, 4), (value, 0, 0)).save(tmp_path / "data" / path)
    lines = [",".join((path, label, split, group)) for path, label, split, group, _ in ROWS]
    (tmp_path / "data/manifest.csv").write_text("path,label,split,group\n" + "\n".join(lines) + "\n")
    return tmp_path / "data"


@pytest.fixture
def store(folder: Path) -> Store:
    return load_data(folder, cache=folder.parent / "cache")


def test_what_goes_by_hand(store: Store) -> None:
    found = clean(store, find_duplicates(store).pairs)
    gone = {item.path: (item.reason, item.twin) for item in found.left_out}
    assert gone == {
        "b.png": ("stands in test", "a.png"),
        "c.png": ("stands in test", "a.png"),
        "e.png": ("doubled", "d.png"),
        "f.png": ("contradicting labels", "g.png"),
        "g.png": ("contradicting labels", "f.png"),
        "h.png": ("group stands in test", ""),
    }
    assert [str(path) for path in store.path[found.kept]] == ["a.png", "d.png", "i.png", "j.png", "k.png"]
    assert found.counts["stands in test"] == 2


def test_near_pairs_go_unless_only_equal_ones_are_asked_for(store: Store) -> None:
    near = [Pair(0, 9, "near", "flipped", 1.0)]
    assert "j.png" in {item.path for item in clean(store, near).left_out}
    assert next(item.change for item in clean(store, near).left_out if item.path == "j.png") == "near: flipped"
    assert "j.png" not in {item.path for item in clean(store, near, equal_only=True).left_out}


def test_near_pairs_of_two_labels_stay(store: Store) -> None:
    assert "k.png" not in {item.path for item in clean(store, [Pair(9, 10, "near", "", 1.0)]).left_out}


def test_a_chain_keeps_what_repeats_nothing_that_stays(store: Store) -> None:
    # i (test) ~ d = e (train) ~ k (train): d and e go for i, and then k repeats nothing
    gone = {item.path for item in clean(store, [Pair(3, 8, "near", "", 0.1), Pair(3, 10, "near", "", 0.1)]).left_out}
    assert {"d.png", "e.png"} <= gone
    assert "k.png" not in gone


def test_every_copy_of_a_test_image_goes_also_where_train_has_the_first(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lines = ["path,label,split"]
    for name, value, split in (("1", 1, "train"), ("2", 1, "train"), ("3", 1, "test"), ("4", 2, "train"), ("5", 3, "train")):
        Image.new("RGB", (4, 4), (value, 0, 0)).save(tmp_path / f"data/{name}.png")
        lines.append(f"{name}.png,{'fake' if value == 3 else 'real'},{split}")
    (tmp_path / "data/manifest.csv").write_text("\n".join(lines) + "\n")
    store = load_data(tmp_path / "data", cache=tmp_path / "cache")
    found = clean(store, [Pair(0, 3, "near", "", 0.1)])  # the finder gives near pairs of first copies only
    assert {item.path: item.twin for item in found.left_out} == {"1.png": "3.png", "2.png": "3.png", "4.png": "3.png"}
    leaks = find_leaks(store, Twins(store, [Pair(0, 3, "near", "", 0.1)]))
    assert leaks.known_test.tolist() == leaks.known_equal.tolist() == [2]
    assert [(pair.first, pair.second) for pair in leaks.inside] == [(0, 1), (0, 3)]


def test_val_images_in_train_are_told(store: Store) -> None:
    told = list(leak_findings(store, find_leaks(store, Twins(store, ()))))
    val = next(finding for finding in told if finding.kind == "val-in-train")
    assert (val.severity, val.numbers) == ("warning", {"n_images": 1, "n_near": 0})
    # without a test part, val is what measures: c stands in train as b, and i's film as h
    alone = replace(store, split=np.where(store.split == "test", "val", store.split))
    leaks = find_leaks(alone, Twins(alone, ()))
    told = list(leak_findings(alone, leaks))
    assert [finding.kind for finding in told if finding.severity == "leak"] == ["test-in-train", "group-on-two-sides"]
    assert alone.path[leaks.known_test].tolist() == ["a.png", "c.png"]
    assert "2 val images also in train" in [finding.title for finding in told]
    assert alone.path[leaks.group_test].tolist() == ["i.png"]
    assert leaks.known_val == ()
    out = clean(alone, ())
    assert ("h.png", "group stands in val") in {(item.path, item.reason) for item in out.left_out}


def test_the_manifest_reads_back_and_has_no_leak(folder: Path, store: Store, tmp_path: Path) -> None:
    found = clean(store, find_duplicates(store).pairs)
    out = tmp_path / "elsewhere/clean.csv"
    listed = write_manifest(source_of(folder, store.records), store, found, out)
    again = load_data(out, cache=tmp_path / "cache")
    assert again.path.tolist() == store.path[found.kept].tolist()
    for name in ("label", "group", "split", "generator", "pixel_hash"):
        assert np.array_equal(getattr(again, name), getattr(store, name)[found.kept])
    leaks = find_leaks(again, Twins(again, find_duplicates(again).pairs))
    assert list(leak_findings(again, leaks)) == []
    with listed.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {"path": "b.png", "reason": "stands in test", "twin": "a.png", "change": "equal"}
    assert len(list(folder.iterdir())) == len(ROWS) + 1


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
def test_an_archive_stays_where_it_is(folder: Path, tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    with tarfile.open(archive, "w:gz" if name.endswith("gz") else "w") as tar:
        tar.add(folder, arcname="set")
    store = load_data(archive, cache=tmp_path / "cache")
    found = clean(store, find_duplicates(store).pairs)
    write_manifest(source_of(archive, store.records), store, found, tmp_path / "clean.csv")
    again = load_data(tmp_path / "clean.csv", cache=tmp_path / "cache")
    assert again.path.tolist() == store.path[found.kept].tolist()
    assert again.folder != store.folder
    shorter = (tmp_path / "clean.csv").read_text().splitlines()[:-1]  # another choice from the same archive is another store
    (tmp_path / "clean.csv").write_text("\n".join(shorter) + "\n")
    assert len(load_data(tmp_path / "clean.csv", cache=tmp_path / "cache")) == len(again) - 1


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / f"data/{label}/1.png")
    store = load_data(tmp_path / "data", cache=tmp_path / "cache")
    with pytest.raises(DataError, match="nothing would stay of a class"):
        clean(store, find_duplicates(store).pairs)


def test_spaces_that_are_no_controls_are_held(tmp_path: Path) -> None:
    for label, name in (("real", "shot 3.04\u202fPM\u00a0\u3000x.png"), ("fake", "2.png")):
        (tmp_path / "data" / label).mkdir(parents=True)
        Image.new("RGB", (4, 4), (len(name), 1, 0)).save(tmp_path / "data" / label / name)
    store = load_data(tmp_path / "data", cache=tmp_path / "cache")
    found = clean(store, ())
    assert found.left_out == ()
    write_manifest(source_of(tmp_path / "data", store.records), store, found, tmp_path / "clean.csv")
    assert load_data(tmp_path / "clean.csv", cache=tmp_path / "cache").path.tolist() == store.path.tolist()


def test_a_group_with_a_line_end_is_left_out(folder: Path, store: Store) -> None:
    grouped = replace(store, group=np.where(store.path == "k.png", "a\rb", store.group))
    assert [item.path for item in clean(grouped, ()).left_out if item.reason == UNWRITABLE] == ["k.png"]


def test_a_root_that_a_manifest_cannot_hold_is_refused(folder: Path, tmp_path: Path) -> None:
    odd = folder.rename(tmp_path / " data")
    store = load_data(odd, cache=tmp_path / "cache")
    with pytest.raises(DataError, match="cannot hold the name ' data'"):
        write_manifest(source_of(odd, store.records), store, clean(store, ()), tmp_path / "clean.csv")
    assert not (tmp_path / "clean.csv").exists()


def test_a_linked_manifest_is_replaced_where_the_link_lies(folder: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/old.csv").write_text("old")
    (tmp_path / "clean.csv").symlink_to(tmp_path / "a/b/old.csv")
    write_manifest(source_of(folder, store.records), store, clean(store, ()), tmp_path / "clean.csv")
    assert len(load_data(tmp_path / "clean.csv", cache=tmp_path / "cache")) == len(clean(store, ()).kept)


def test_a_name_that_a_manifest_cannot_hold_is_left_out(tmp_path: Path) -> None:
    for label, name in (("real", "1.png"), ("real", "a\nb.png"), ("fake", "2.png")):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (len(name), 1, 0)).save(tmp_path / "data" / label / name)
    Image.new("RGB", (4, 4), (200, 1, 0)).save(tmp_path / "data/fake/2.png")
    store = load_data(tmp_path / "data", cache=tmp_path / "cache")
    found = clean(store, ())
    assert [item.reason for item in found.left_out] == ["a name that a manifest cannot hold"]
