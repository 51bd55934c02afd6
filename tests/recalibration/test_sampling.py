"""fauxto.recalibration.sampling: which of somebody's images calibrate, each picture once, and what is said of the others."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fauxto import Detector
from fauxto.asking import Network
from fauxto.data.decoding import pixel_digest
from fauxto.data.sources import open_source
from fauxto.data.splits import fingerprint
from fauxto.data.store import Store, open_store
from fauxto.errors import DataError, UsageError
from fauxto.recalibration import recalibrate
from fauxto.recalibration.sampling import NEEDED, labelled_sample, unlabelled_sample

Write = Callable[..., Path]


@pytest.fixture
def detector(judging: Path) -> Detector:
    """Judges images of 16 to 64 pixels a side, whatever they show."""
    return Detector.load(judging)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write images of chance, all different, below a folder."""
    rng = np.random.default_rng(0)

    def images(place: str, n: int, size: tuple[int, int] = (32, 32)) -> Path:
        folder = tmp_path / "mine" / place
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(n):
            pixels = rng.integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{size[0]}-{number}.png")
        return tmp_path / "mine"

    return images


def stored(folder: Path, cache: Path) -> Store:
    return open_store(open_source(folder), cache=cache)


def test_images_that_are_not_judged_by_their_size_are_left_out_and_counted(
    detector: Detector, write: Write, tmp_path: Path
) -> None:
    write("real", 12), write("fake", 12)
    plain = labelled_sample(detector, stored(tmp_path / "mine", tmp_path / "one"))
    folder = write("real", 7, (65, 30))
    sample = labelled_sample(detector, stored(folder, tmp_path / "two"), data="mine")
    assert (sample.logit.size, int(sample.is_fake.sum()), sample.left_out) == (24, 12, {"size": 7})
    assert sorted(sample.pixel_hash) == sorted(plain.pixel_hash)
    np.testing.assert_allclose(np.sort(sample.logit), np.sort(plain.logit), atol=1e-5)
    said = "unsure of 7 of 31 images whatever they show (7 by size; of the first: the image has 30 x 65 pixels"
    made = recalibrate(detector, sample)
    assert [said in warning for warning in made.warnings].count(True) == 1
    assert made.card["calibration"]["sample"]["left_out"] == {"size": 7}
    assert not any("whatever they show" in warning for warning in recalibrate(detector, plain).warnings)


def test_a_sample_of_which_little_is_judged_is_refused(detector: Detector, write: Write, tmp_path: Path) -> None:
    write("real", 40, (80, 60)), write("fake", 40)
    said = "of 80 images this detector judges only 0 real and 40 fake, of all others it is unsure whatever they show"
    with pytest.raises(UsageError, match=said):
        labelled_sample(detector, stored(tmp_path / "mine", tmp_path / "cache"))
    with pytest.raises(UsageError, match="of 40 images this detector judges only 0, .*60 x 80 pixels.* give at least 10 that"):
        unlabelled_sample(detector, tmp_path / "mine" / "real")
    write("real", NEEDED)
    assert labelled_sample(detector, stored(tmp_path / "mine", tmp_path / "other")).logit.size == 50


def test_unfamiliar_images_are_those_that_check_is_unsure_of(store: Store) -> None:
    bundled = Detector.load()
    kinds = [answer.kind for answer in bundled.predict(store.image(at) for at in np.flatnonzero(store.split != "test"))]
    assert kinds.count("unfamiliar") > 50
    with pytest.raises(UsageError, match=f"judges only 0 real and {64 - kinds.count('unfamiliar')} fake.*away from theirs"):
        labelled_sample(bundled, store)


def test_copies_count_once(detector: Detector, store: Store, tmp_path: Path) -> None:
    train = np.flatnonzero(store.split != "test")
    one_of_each = np.array([train[~store.is_fake[train]][0], train[store.is_fake[train]][0]])
    twice = replace(store, pixel_hash=store.pixel_hash.copy())
    for label, at in enumerate(one_of_each.tolist()):
        same = train[store.is_fake[train] == bool(label)]
        twice.pixel_hash[same] = store.pixel_hash[at]
    sample = labelled_sample(detector, twice)
    assert (sorted(sample.is_fake.tolist()), sample.left_out) == ([False, True], {"copies": 62})
    np.testing.assert_allclose(
        np.sort(sample.logit), np.sort(detector.logits(store.image(at) for at in one_of_each.tolist())), atol=1e-5
    )
    made = recalibrate(detector, sample)
    assert made.card["calibration"]["temperature"] == detector.temperature  # a bias from two pictures, no slope from 64
    assert any("62 images are left out, having the pixels of another one" in warning for warning in made.warnings)


def test_pixels_under_both_labels_teach_nothing(detector: Detector, store: Store) -> None:
    train = np.flatnonzero(store.split != "test")
    real, fake = train[~store.is_fake[train]], train[store.is_fake[train]]
    torn = replace(store, pixel_hash=store.pixel_hash.copy())
    torn.pixel_hash[fake[:3]] = store.pixel_hash[real[0]]
    sample = labelled_sample(detector, torn)
    assert sample.left_out == {"both labels": 4}
    assert (int((~sample.is_fake).sum()), int(sample.is_fake.sum())) == (31, 29)
    assert any("4 images are left out, since the same pixels" in line for line in sample.caveats)
    torn.pixel_hash[train] = store.pixel_hash[real[0]]
    with pytest.raises(UsageError, match="mend the labels"):
        labelled_sample(detector, torn)


def test_the_training_data_are_refused_and_a_part_of_them_is_warned_of(detector: Detector, store: Store) -> None:
    for about in ({"store": store.folder.name}, {"pixels": fingerprint(store, np.arange(len(store)))}):
        with pytest.raises(UsageError, match="trained on"):
            labelled_sample(Detector(detector.folder, detector.card | {"trained_on": about}), store)
    part = Detector(detector.folder, detector.card | {"trained_on": {"store": "the whole", "pixels": "of the whole"}})
    caveats = labelled_sample(part, store).caveats
    assert caveats == (
        "These are not the data that the detector was trained on, as far as their content key tells. If they hold images of its "
        "training set all the same, its answers on them are surer than on others, and what is calibrated here is too certain.",
    )
    assert recalibrate(part, labelled_sample(part, store)).warnings[0] == caveats[0]


def test_a_test_part_calibrates_nothing(detector: Detector, store: Store) -> None:
    with pytest.raises(UsageError, match="marked as a test part"):
        labelled_sample(detector, replace(store, split=np.full(len(store), "test")))


def test_labelled_images_are_counted_as_they_are_answered(detector: Detector, store: Store) -> None:
    seen: list[tuple[int, int]] = []
    labelled_sample(detector, store, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 64) for done in range(1, 65)]


def test_a_plain_folder_is_a_sample_without_labels(detector: Detector, image_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    shutil.copytree(image_folder / "test", folder)
    seen: list[tuple[int, int]] = []
    sample = unlabelled_sample(detector, folder, progress=lambda done, total: seen.append((done, total)))
    assert (sample.logit.size, sample.is_fake, sample.left_out, sample.data) == (24, None, {}, "inbox")
    assert seen == [(done, 24) for done in range(1, 25)]
    paths = sorted(folder.rglob("*.jpg"))
    pixels = [np.asarray(Image.open(path)) for path in paths]
    assert sample.pixel_hash == tuple(pixel_digest(each) for each in pixels)
    np.testing.assert_allclose(sample.logit, detector.logits(pixels), atol=1e-5)
    (caveat,) = sample.caveats
    assert "trained on some of these images is not checked" in caveat


def test_what_is_no_image_or_broken_or_twice_in_a_folder(detector: Detector, image_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    shutil.copytree(image_folder / "test", folder)
    whole = unlabelled_sample(detector, folder)
    for left in ("__MACOSX/._x.jpg", ".hidden/y.jpg", "._z.jpg"):  # what others leave behind
        (folder / left).parent.mkdir(exist_ok=True)
        (folder / left).write_bytes(b"no image")
    shutil.copy(folder / "REAL" / "0003.jpg", folder / "again.jpg")
    again = unlabelled_sample(detector, folder)
    assert (sorted(again.pixel_hash), again.left_out) == (sorted(whole.pixel_hash), {"copies": 1})
    (folder / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="broken.jpg cannot be read.*skip-broken"):
        unlabelled_sample(detector, folder)
    without = unlabelled_sample(detector, folder, skip_broken=True)
    assert without.left_out == {"copies": 1, "unreadable": 1}
    assert without.caveats[-1] == "1 image is left out, being unreadable."


def test_places_without_images_are_named_for_what_they_are(detector: Detector, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no image"):
        unlabelled_sample(detector, tmp_path / "empty")
    with pytest.raises(DataError, match="nope is not there"):
        unlabelled_sample(detector, tmp_path / "nope")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    with pytest.raises(DataError, match="set.zip is a file, and no folder: .* unpack an archive first"):
        unlabelled_sample(detector, tmp_path / "set.zip")
    (tmp_path / "empty" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 1 images"):
        unlabelled_sample(detector, tmp_path / "empty", skip_broken=True)


def test_the_network_sees_many_images_at_once(detector: Detector, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, run = [], Network.of_squares
    monkeypatch.setattr(
        Network, "of_squares", lambda self, squares, output: (sizes.append(len(squares)), run(self, squares, output))[1]
    )
    unlabelled_sample(detector, image_folder / "train")
    assert sizes[0] == 64
    assert len(sizes) <= 2  # once more for those whose verdict a save could turn
