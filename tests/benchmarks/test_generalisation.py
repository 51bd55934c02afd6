"""benchmarks/generalisation.py and leave_source_out.py: which images measure, and that what trained does not count."""

from __future__ import annotations

import argparse
import dataclasses
import doctest
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fauxto.config import preset
from fauxto.data.splits import make_split
from fauxto.data.store import Store
from fauxto.perturb import perturbed

from .conftest import module

general, folds = module("generalisation"), module("leave_source_out")
MANIFEST = """path,label,generator,source,note
a/0.png,fake,dcgan,one/gan,
b/0.png,fake,ddpm,two,images were already JPEG
r/0.png,real,,cifar,already not a fake
"""


def archive(folder: Path, files: dict[str, str]) -> Path:
    with tarfile.open(folder / "generators.tar", "w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return folder / "generators.tar"


class Brightness:
    """A detector that calls bright images fake."""

    def __init__(self, generators: tuple[str, ...] = ()) -> None:
        self.card = {"trained_on": {"generators": list(generators)}}
        self.threshold = 0.5

    def logits(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(images).mean(axis=(1, 2, 3)) / 255

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        return logits

    def at(self, name: str) -> Brightness:
        assert name == "fpr5"
        return self


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(folds).attempted == 1
    assert doctest.testmod(folds).failed == 0


def test_the_manifest_says_what_was_jpeg_and_where_each_generator_comes_from(tmp_path: Path) -> None:
    path = archive(tmp_path, {"manifest.csv": MANIFEST})
    assert general.formerly_jpeg(path) == {"ddpm"}
    assert folds.sources_of(path) == {"dcgan": "one/gan", "ddpm": "two"}
    with pytest.raises(SystemExit, match="holds no manifest"):
        general.manifest_of(archive(tmp_path, {"x.txt": "x"}))


def test_photographs_of_the_validation_part_measure_and_the_others_may_be_trained_on(store: Store, tmp_path: Path) -> None:
    reals = np.flatnonzero(~store.is_fake & (store.split == "train"))
    images = np.arange(len(reals), dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    np.savez(tmp_path / "lossless.npz", image=images, cifake_path=store.path[reals])
    measures, (others, paths) = general.divided_reals(store, tmp_path / "lossless.npz")
    held = make_split(store, preset("best", split_seed=0)).validation
    assert measures[:, 0, 0, 0].tolist() == np.flatnonzero(np.isin(reals, held)).tolist() != []
    assert set(paths.tolist()) == set(store.path[np.setdiff1d(reals, held)].tolist())
    assert len(measures) + len(others) == len(reals)


def named(store: Store) -> Store:
    at = np.flatnonzero(store.is_fake)
    generator = np.full(len(store), "", "<U5")
    generator[at] = np.where(np.arange(len(at)) % 2 == 0, "dcgan", "ddpm")
    return dataclasses.replace(store, generator=generator)


def test_every_generator_stands_against_photographs_saved_alike(store: Store) -> None:
    archive_store, reals = named(store), store.batch(np.flatnonzero(~store.is_fake))
    detector = Brightness(("dcgan",))
    rows = general.Material(archive_store, {"ddpm"}, reals).rows(detector)
    assert [(row["codec"], row["generator"], row["in_training"]) for row in rows] == [
        ("lossless", "dcgan", 1), ("lossless", "ddpm", 0), ("jpeg", "dcgan", 1), ("jpeg", "ddpm", 0),
    ]  # fmt: skip
    fakes = detector.logits(archive_store.batch(np.flatnonzero(archive_store.generator == "ddpm")))
    against = detector.logits(perturbed(reals, "jpeg-75"))  # for images that had been JPEG before
    wanted = np.mean((fakes[:, None] > against) + 0.5 * (fakes[:, None] == against))
    assert rows[1]["auc"] == pytest.approx(wanted, abs=1e-9)
    assert rows[1]["recall_at_fpr5"] == pytest.approx(np.mean(fakes >= 0.5))
    assert rows[1]["n"] == len(fakes)


def test_controls_count_false_alarms_of_either_kind(store: Store) -> None:
    reals = store.batch(np.flatnonzero(~store.is_fake))
    found = general.Material(named(store), set(), reals).controls(Brightness())
    never = Brightness().logits(reals)
    assert found["false_alarms_at_fpr5_lossless"]["value"] == pytest.approx(np.mean(never >= 0.5))
    assert 0.3 < found["was_jpeg_auc"]["value"] < 0.7, "JPEG does not change how bright an image is"


def test_what_was_in_the_training_counts_in_no_mean() -> None:
    values = [("lossless", "a", 0, 0.9), ("lossless", "b", 0, 0.5), ("lossless", "c", 1, 0.1), ("jpeg", "c", 1, 0.2)]
    rows = [dict(zip(("codec", "generator", "in_training", "auc"), row, strict=True)) for row in values]
    found = general.overall(rows)
    assert set(found) == {"lossless"}
    assert (found["lossless"]["mean"]["value"], found["lossless"]["min"]["value"]) == (pytest.approx(0.7), 0.5)
    assert (found["lossless"]["mean"]["reached"], found["lossless"]["min"]["reached"]) == (False, False)
    assert (found["lossless"]["lowest"], found["lossless"]["n_generators"]) == ("b", 2)
    assert general.overall(rows, {"lossless": {"mean": (0.6, 0.8), "min": (0.5, 0.9)}})["lossless"]["min"]["reached"]


def test_a_fold_lacks_the_generators_of_its_source_and_nothing_else(store: Store) -> None:
    whole = named(store)
    part = folds.without(whole, ["ddpm"])
    kept = np.flatnonzero(whole.generator != "ddpm")
    assert part.path.tolist() == whole.path[kept].tolist()
    np.testing.assert_array_equal(part.batch(np.arange(len(part))), whole.batch(kept))
    assert part.folder.name != whole.folder.name
    assert part.folder.name != folds.without(whole, ["dcgan"]).folder.name


def test_a_fold_of_no_source_is_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's name in place of a source's would leave nothing out, and measure a network on what it learned."""
    given = argparse.Namespace(data="", generators="", forge=[], fold="lab-gan", out=Path("nowhere"), init="")
    monkeypatch.setattr(folds, "parsed", lambda: given)
    monkeypatch.setattr(folds, "load_data", lambda path: None)
    monkeypatch.setattr(folds, "sources_of", lambda archive: {"dcgan": "lab/gan"})
    monkeypatch.setattr(folds, "train", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(SystemExit, match="no source is called 'lab-gan': give one of lab/gan"):
        folds.main()
