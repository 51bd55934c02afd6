"""data.joined: guests beside a main data set; nothing on two sides, every family its share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fauxto.config import TrainConfig, from_mapping
from fauxto.data.joined import MOST, _capped, family_of, joined
from fauxto.data.splits import fingerprint, make_split
from fauxto.data.store import load_data
from fauxto.errors import ConfigError, DataError


def folder_of(home, rows):
    """Write images of their own colours and a manifest; rows are (path, label, generator, group, split)."""
    home.mkdir()
    lines = ["path,label,generator,group,split"]
    for at, (path, *about) in enumerate(rows):
        pixels = np.random.default_rng([at, sum(map(ord, str(home.name) + path))]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(home / path)
        lines.append(",".join([path, *about]))
    (home / "manifest.csv").write_text("\n".join(lines) + "\n")
    return home


@pytest.fixture
def main(tmp_path, monkeypatch):
    monkeypatch.setenv("FAUXTO_CACHE", str(tmp_path / "cache"))
    rows = [(f"train/REAL/{at}.png", "real", "", "", "train") for at in range(20)]
    rows += [(f"train/FAKE/{at}.png", "fake", "", "", "train") for at in range(20)]
    rows += [(f"test/{label}/{at}.png", label, "", "", "test") for label in ("real", "fake") for at in range(4)]
    return load_data(folder_of(tmp_path / "main", rows))


@pytest.fixture
def forged(tmp_path, main):
    """Of 16 photographs of the main data a copy and fakes of it; fakes that show none of them; four photographs of its own."""
    pictures = [f"train/REAL/{at}.png" for at in range(14)] + ["test/real/0.png", "test/real/1.png"]
    rows = [(f"real/{at}.png", "real", "", picture, "") for at, picture in enumerate(pictures)]
    rows += [(f"kl/{at}.png", "fake", "autoencoder/kl", picture, "") for at, picture in enumerate(pictures)]
    rows += [(f"vq/{at}.png", "fake", "autoencoder/vq", picture, "") for at, picture in enumerate(pictures[:4])]
    rows += [(f"gan/{at}.png", "fake", "gan/dcgan", "", "") for at in range(10)]
    rows += [(f"flow/{at}.png", "fake", "flow/euler", "", "") for at in range(2)]
    rows += [(f"more/{at}.png", "real", "", "", "") for at in range(4)]
    rows += [("kept/0.png", "fake", "gan/dcgan", "", "test")]
    return load_data(folder_of(tmp_path / "forged", rows))


CONFIG = TrainConfig(validation_share=0.25, left_out=("flow",), main_share=0.4)


def sides(data, chosen):
    return set(data.store.split[chosen].tolist())


def test_a_picture_and_all_that_was_made_of_it_stay_on_one_side(main, forged):
    data = joined(main, {"forge": forged}, CONFIG)
    for picture in set(data.store.group.tolist()) - {""}:
        assert len(sides(data, data.store.group == picture) - {""}) == 1, picture


def guest_of(tmp_path, name, numbers):
    """Write a forge of some training photographs of the main data: a copy and a reconstruction of each."""
    rows = [(f"real/{at}.png", "real", "", f"train/REAL/{at}.png", "") for at in numbers]
    rows += [(f"kl/{at}.png", "fake", f"autoencoder/{name}", f"train/REAL/{at}.png", "") for at in numbers]
    return load_data(folder_of(tmp_path / name, rows))


def test_what_a_guest_of_training_pictures_holds_back_is_learned_nowhere(main, tmp_path):
    config = replace(CONFIG, left_out=())
    own = joined(main, {}, config).store
    learned = [int(path.split("/")[-1][:-4]) for path in own.path[(own.split == "train") & ~own.is_fake].tolist()]
    early, late = guest_of(tmp_path, "early", learned[:12]), guest_of(tmp_path, "late", learned[4:])
    for guests in ({"early": early, "late": late}, {"late": late, "early": early}):
        store = joined(main, guests, config).store
        is_guest = np.char.startswith(store.path, "early/") | np.char.startswith(store.path, "late/")
        held = set(store.group[is_guest & (store.split == "val")].tolist())
        assert 3 <= len(held) <= 5, "some are held back, and by both the same where both have them"
        assert not held & set(store.group[store.split == "train"].tolist())
        assert set(store.split[~is_guest & np.isin(store.group, list(held))].tolist()) == {""}, "the main data's own too"
        validation = store.path[~is_guest & (store.split == "val")]
        assert validation.tolist() == own.path[own.split == "val"].tolist(), "whose validation stays"
        assert (store.is_fake & is_guest & np.isin(store.group, list(held)) & (store.split != "")).sum() == 0


def test_nothing_of_a_test_picture_is_trained_or_validated_with(main, forged):
    data = joined(main, {"forge": forged}, CONFIG)
    is_copy = np.char.startswith(data.store.path, "forge/") & np.isin(data.store.group, ["test/real/0.png", "test/real/1.png"])
    assert is_copy.sum() == 4
    assert sides(data, is_copy) == {""}
    assert sides(data, data.store.path == "forge/kept/0.png") == {""}, "what a guest keeps for testing stays out"


def test_a_left_out_family_validates_and_the_others_train(main, forged):
    data = joined(main, {"forge": forged}, CONFIG)
    families = np.array([family_of(name) for name in data.store.generator.tolist()])
    assert sides(data, families == "flow") == {"val"}
    assert sides(data, (families == "gan") & (data.store.path != "forge/kept/0.png")) == {"train"}
    assert sides(data, families == "autoencoder") == {"train", ""}, "those of held-out pictures neither train nor validate"


def test_a_left_out_family_of_reconstructions_validates_on_held_out_pictures_alone(main, forged):
    data = joined(main, {"forge": forged}, TrainConfig(validation_share=0.25, left_out=("autoencoder",)))
    chosen = np.char.startswith(data.store.generator, "autoencoder")
    held = set(data.store.group[(data.store.split == "val") & ~data.store.is_fake].tolist())
    assert set(data.store.group[chosen & (data.store.split == "val")].tolist()) <= held
    assert sides(data, chosen) == {"val", ""}


def test_the_split_of_what_is_joined_is_the_main_datas_with_the_guests_added(main, forged):
    own = make_split(main, CONFIG)
    data = joined(main, {"forge": forged}, CONFIG)
    split = make_split(data.store, CONFIG)
    assert split.test.tolist() == own.test.tolist()
    for part in ("train", "validation"):
        mine = getattr(split, part)
        assert mine[mine < len(main)].tolist() == getattr(own, part).tolist()
        assert (mine >= len(main)).any()


def test_pixels_and_facts_stay_with_their_image(main, forged):
    data = joined(main, {"forge": forged}, CONFIG)
    assert len(data.store) == len(main) + len(forged)
    for at in (0, 5, len(forged) - 1):
        np.testing.assert_array_equal(data.store.image(len(main) + at), forged.image(at))
        assert data.store.path[len(main) + at] == f"forge/{forged.path[at]}"
    np.testing.assert_array_equal(data.store.batch(np.array([3, len(main) + 2])), np.stack([main.image(3), forged.image(2)]))


def test_every_level_gets_its_share_of_a_batch(main, forged):
    data = joined(main, {"forge": forged}, CONFIG)
    store, weight = data.store, data.weight
    is_guest = np.char.startswith(store.path, "forge/")
    assert weight.sum() == pytest.approx(1)
    assert weight[store.split != "train"].sum() == 0
    assert weight[store.is_fake].sum() == pytest.approx(0.5)
    for is_fake in (False, True):
        assert weight[is_guest & (store.is_fake == is_fake)].sum() == pytest.approx(0.5 * 0.6)
    of = {name: weight[store.generator == name].sum() for name in ("autoencoder/kl", "autoencoder/vq", "gan/dcgan")}
    assert of["gan/dcgan"] == pytest.approx(0.15), "two families, each half of 0.3"
    assert of["autoencoder/kl"] == pytest.approx(of["autoencoder/vq"]) == pytest.approx(0.075)


def test_training_images_of_which_none_of_a_class_is_wanted_are_refused(main, forged):
    alone = joined(main, {"forge": forged}, replace(CONFIG, main_share=0.0))
    whole = make_split(alone.store, CONFIG)
    np.testing.assert_array_equal(alone.wanted(whole), alone.weight[whole.train])
    own = replace(whole, train=whole.train[whole.train < len(main)])
    with pytest.raises(DataError, match="no real image is left to learn from.*a higher limit"):
        alone.wanted(own)


def test_two_guests_count_alike_however_large(main, forged, tmp_path):
    rows = [(f"a/{at}.png", "fake", "dragan", "", "") for at in range(3)]
    rows += [(f"r/{at}.png", "real", "", "", "") for at in range(3)]
    other = load_data(folder_of(tmp_path / "other", rows))
    data = joined(main, {"forge": forged, "generators": other}, CONFIG)
    chosen = data.store.is_fake & np.char.startswith(data.store.path, "generators/")
    assert data.weight[chosen].sum() == pytest.approx(0.15)
    reals = ~data.store.is_fake & (data.weight > 0)
    of_forge, alone = (data.weight[reals & np.char.startswith(data.store.path, f"{name}/")] for name in ("forge", "generators"))
    assert alone.sum() == pytest.approx(of_forge.sum()), "so few that none comes too often"


def test_a_small_guest_s_photographs_are_cut_before_shares_add_up_again() -> None:
    weight = _capped(np.repeat([0.5 / 990, 0.5 / 10], [990, 10]))
    assert weight.sum() == pytest.approx(1)
    assert len(np.unique(weight[:990])) == 1
    assert weight[-1] / weight[0] == pytest.approx(MOST / 1000 / (0.5 / 990))
    np.testing.assert_allclose(_capped(np.full(7, 1 / 7)), 1 / 7)
    assert not _capped(np.zeros(0)).size


def test_the_key_tells_what_is_joined_and_how_it_is_split(main, forged):
    keys = {
        joined(main, {"forge": forged}, CONFIG).store.folder.name,
        joined(main, {"forge": forged}, TrainConfig(validation_share=0.25)).store.folder.name,
        main.folder.name,
    }
    assert len(keys) == 3
    assert joined(main, {"forge": forged}, CONFIG).store.folder.name in keys


def test_the_card_says_of_each_data_set_what_it_needs_to_be_known_again(main, forged):
    parts = joined(main, {"forge": forged}, CONFIG).parts
    split = make_split(main, from_mapping(TrainConfig, parts[""]["config"]))
    assert parts[""]["test_part"] == fingerprint(main, split.test)
    assert split.train.tolist() == make_split(main, CONFIG).train.tolist()
    assert [part["store"] for part in parts.values()] == [main.folder.name, forged.folder.name]
    assert parts["forge"]["pixels"] == fingerprint(forged, np.arange(len(forged)))
    otherwise = joined(main, {"forge": forged}, replace(CONFIG, left_out=("gan",))).parts
    assert otherwise["forge"]["divided"] != parts["forge"]["divided"]
    assert joined(main, {"forge": forged}, replace(CONFIG, seed=0, main_share=0.1)).parts == parts


def test_a_part_of_the_main_data_is_drawn_from_all_that_is_joined_and_its_own_validation_stays(main, forged):
    half = joined(main, {"forge": forged}, replace(CONFIG, subset=0.5))
    split = make_split(main, from_mapping(TrainConfig, half.parts[""]["config"]))
    own = half.shares(make_split(half.store, replace(CONFIG, subset=0.5)))[0].split
    assert own.validation.tolist() == split.validation.tolist()
    assert set(own.train.tolist()) < set(split.train.tolist())


def test_the_shares_of_a_split_are_positions_in_each_data_set(main, forged):
    data = joined(main, {"forge": forged}, CONFIG)
    split = make_split(data.store, CONFIG)
    own, of_guest = data.shares(split)
    assert (own.store, of_guest.store) == (main, forged)
    assert own.split.test.tolist() == split.test.tolist()
    assert of_guest.split.test.tolist() == []
    assert (of_guest.split.train + len(main)).tolist() == split.train[split.train >= len(main)].tolist()
    assert len(own.split.validation) + len(of_guest.split.validation) == len(split.validation)


def test_guests_without_a_picture_of_the_main_data_hold_some_of_their_own_back(main, tmp_path):
    rows = [(f"real/{at}.png", "real", "", f"photo-{at}", "") for at in range(12)]
    rows += [(f"fake/{at}.png", "fake", "autoencoder/kl", f"photo-{at}", "") for at in range(12)]
    guest = load_data(folder_of(tmp_path / "guest", rows))
    data = joined(main, {"forge": guest}, TrainConfig(validation_share=0.25))
    held = (data.store.split == "val") & np.char.startswith(data.store.path, "forge/real/")
    assert held.sum() == 3
    of_held = np.isin(data.store.group, data.store.group[held]) & data.store.is_fake
    assert sides(data, of_held) == {""}


def test_a_family_that_is_not_there_cannot_be_left_out(main, forged):
    with pytest.raises(ConfigError, match="'diffusion'; there are autoencoder, flow, gan"):
        joined(main, {"forge": forged}, TrainConfig(left_out=("diffusion",)))
