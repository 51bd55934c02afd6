"""config: unknown keys, wrong types and impossible values are refused; TOML goes out and comes back."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fauxto.config import PRESETS, TrainConfig, bounded, from_mapping, nearest, preset, read_toml, to_dict, to_toml
from fauxto.errors import ConfigError, UsageError
from fauxto.mapping import tomllib

FIELDS = [field.name for field in dataclasses.fields(TrainConfig)]


@dataclass(frozen=True)
class Small:
    words: tuple[str, ...] = ("a",)
    rates: tuple[float, ...] = (0.1,)
    name: str = ""
    none: tuple[str, ...] = ()
    is_on: bool = False
    share: float = bounded(0.5, low=0, high=1)


# ---------------------------------------------------------------- the notebook's recipe


def test_the_defaults_are_the_notebooks_recipe():
    config = TrainConfig()
    assert config == preset("notebook")
    assert (config.model, config.stem, config.learning_rate, config.batch_size) == ("resnet18", "imagenet", 5e-4, 16)
    assert (config.horizontal_flip, config.patience, config.max_epochs) == (0.5, 3, 30)


def test_every_preset_is_possible():
    for name in PRESETS:
        assert isinstance(preset(name), TrainConfig)
    assert preset("notebook-cifar-stem").stem == "cifar"
    assert preset("notebook-cifar-stem", stem="imagenet") == preset("notebook")


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no preset is called 'notebok'; did you mean 'notebook'\?"):
        preset("notebok")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("key", "meant"),
    [("batchsize", "batch_size"), ("learning-rate", "learning_rate"), ("Seed", "seed"), ("epochs", "max_epochs")],
)
def test_an_unknown_key_is_refused_with_the_nearest(key, meant):
    with pytest.raises(ConfigError, match=rf"unknown key '{key}'; did you mean '{meant}'\?"):
        from_mapping(TrainConfig, {key: 1})


def test_a_key_like_no_other_is_refused_with_all_names():
    with pytest.raises(ConfigError, match=f"unknown key 'zzz'; known: {', '.join(FIELDS)}"):
        from_mapping(TrainConfig, {"zzz": 1})


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("batch_size", True, "a whole number"),
        ("batch_size", 16.0, "a whole number"),
        ("batch_size", "16", "a whole number"),
        ("batch_size", None, "a whole number"),
        ("learning_rate", "0.1", "a number"),
        ("learning_rate", False, "a number"),
        ("subset", [0.5], "a number"),
        ("seed", 1.5, "a whole number"),
        ("seed", {"a": 1}, "a whole number"),
    ],
)
def test_a_wrong_type_is_refused(key, value, wanted):
    with pytest.raises(ConfigError, match=f"{key} must be {wanted}, got "):
        from_mapping(TrainConfig, {key: value})


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("batch_size", 1, "at least 2 and at most 65536"),
        ("batch_size", 65537, "at least 2 and at most 65536"),
        ("learning_rate", 0, "above 0 and at most 10"),
        ("learning_rate", -1e-3, "above 0"),
        ("learning_rate", math.nan, "above 0"),
        ("learning_rate", math.inf, "above 0"),
        ("learning_rate", 10**400, "too large"),
        ("subset", 0.0, "above 0 and at most 1"),
        ("subset", 1.01, "above 0 and at most 1"),
        ("limit", -1, "at least 0"),
        ("validation_share", 0.0, "at least 0.01"),
        ("test_share", 1, "at most 0.9"),
        ("horizontal_flip", 1.1, "at most 1"),
        ("max_epochs", 0, "at least 1"),
        ("patience", 0, "at least 1"),
        ("seed", -1, "at least 0"),
        ("seed", 2**63, "at least 0"),
        ("n_devices", 0, "at least 1"),
        ("checkpoint_every_s", -0.1, "at least 0"),
        ("checkpoint_every_s", math.nan, "at least 0"),
    ],
)
def test_an_impossible_value_is_refused(key, value, wanted):
    with pytest.raises(ConfigError, match=wanted):
        from_mapping(TrainConfig, {key: value})


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("stem", "cifar10", "did you mean 'cifar'"),
        ("stem", 1, "known: imagenet, cifar"),
        ("split", "offical", "did you mean 'official'"),
        ("precision", "bf16", "did you mean 'bf16-mixed'"),
        ("device", "gpu", "'cpu'"),
        ("model", "resnet50", "did you mean 'resnet18'"),
        ("model", ["resnet18"], "resnet18"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_nearest(key, value, hint):
    with pytest.raises(ConfigError, match=hint):
        from_mapping(TrainConfig, {key: value})


def test_a_value_on_the_edge_is_possible():
    edges = {"batch_size": 2, "subset": 1, "limit": 0, "horizontal_flip": 0, "seed": 2**63 - 1, "learning_rate": 10}
    assert to_dict(from_mapping(TrainConfig, edges)).items() >= edges.items()


def test_no_impossible_configuration_can_be_made_by_hand_either():
    with pytest.raises(ConfigError, match="batch_size must be"):
        TrainConfig(batch_size=0)
    with pytest.raises(ConfigError, match="stem"):
        dataclasses.replace(TrainConfig(), stem="vit")


def test_a_whole_number_becomes_the_float_that_the_field_holds():
    assert type(from_mapping(TrainConfig, {"learning_rate": 1}).learning_rate) is float
    assert type(TrainConfig(subset=1).subset) is float


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1  # type: ignore[misc]


def test_a_config_error_is_a_usage_error():
    assert issubclass(ConfigError, UsageError)


@pytest.mark.parametrize("changes", [{"jitter": 0.5, "recode": 75}, {"recode_share": 0.5}, {"jitter": 0.5, "recode_share": 0.5}])
def test_what_would_do_nothing_is_refused(changes):
    with pytest.raises(ConfigError, match="jitter needs recode_share below 1"):
        TrainConfig(**changes)


# ---------------------------------------------------------------- other dataclasses


def test_lists_are_checked_item_by_item():
    assert from_mapping(Small, {"words": ["x", "y"], "rates": [1, 0.5]}) == Small(words=("x", "y"), rates=(1.0, 0.5))
    with pytest.raises(ConfigError, match="words must be a text, got 1"):
        from_mapping(Small, {"words": ["x", 1]})
    for empty_or_none in ([], "x", 3):
        with pytest.raises(ConfigError, match="words must be a list of a text"):
            from_mapping(Small, {"words": empty_or_none})
    assert from_mapping(Small, {"none": []}).none == (), "what is empty by itself may be empty"


def test_true_and_false_are_not_numbers_nor_the_other_way_round():
    assert from_mapping(Small, {"is_on": True}).is_on
    with pytest.raises(ConfigError, match="is_on must be true or false, got 1"):
        from_mapping(Small, {"is_on": 1})
    with pytest.raises(ConfigError, match="share must be a number, got True"):
        from_mapping(Small, {"share": True})


def test_the_documents_table_names_every_key_with_its_default():
    text = (Path(__file__).parents[1] / "docs" / "train.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE)
    assert from_mapping(TrainConfig, {key: tomllib.loads(f"x = {value}")["x"] for key, value in rows}) == TrainConfig()
    assert {key for key, _ in rows} == set(FIELDS)


# ---------------------------------------------------------------- TOML


def test_toml_round_trip_of_every_preset(tmp_path):
    for name in PRESETS:
        config = preset(name, learning_rate=1e-5, checkpoint_every_s=0, seed=2**63 - 1)
        path = tmp_path / f"{name}.toml"
        path.write_text(to_toml(config), encoding="utf-8")
        assert from_mapping(TrainConfig, read_toml(path)) == config


def test_to_toml_is_one_line_per_field_in_order():
    lines = to_toml(TrainConfig()).splitlines()
    assert [line.split(" = ")[0] for line in lines] == FIELDS
    assert "learning_rate = 0.0005" in lines
    assert 'precision = "32-true"' in lines


@settings(deadline=None, derandomize=True, max_examples=200, database=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1),
    st.floats(0, 1),
    st.booleans(),
)
def test_toml_round_trip_of_any_text(name, words, share, is_on):
    config = Small(name=name, words=tuple(words), share=share, is_on=is_on)
    assert from_mapping(Small, tomllib.loads(to_toml(config))) == config


@pytest.mark.parametrize("text", ["seed = ", "seed = 1\nseed = 2", "[[[", "a = " + "[" * 5000, "seed: 1"])
def test_what_is_not_toml_is_refused(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_toml(tmp_path / "a.toml")


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    for path in (tmp_path / "nothing.toml", tmp_path, tmp_path / "latin.toml", tmp_path / "a\0b"):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            read_toml(path)


def test_a_table_is_an_unknown_key(tmp_path):
    (tmp_path / "a.toml").write_text("[train]\nseed = 1\n")
    with pytest.raises(ConfigError, match="unknown key 'train'"):
        from_mapping(TrainConfig, read_toml(tmp_path / "a.toml"))


def test_an_empty_file_means_the_defaults(tmp_path):
    (tmp_path / "a.toml").touch()
    assert from_mapping(TrainConfig, read_toml(tmp_path / "a.toml")) == TrainConfig()


def test_nearest_of_nothing():
    assert nearest("a", []) == "; known: "


def test_a_stem_for_a_network_without_one_is_refused():
    with pytest.raises(ConfigError, match=r"stem = 'cifar' belongs to model 'resnet18', not to 'evidence'"):
        preset("best", stem="cifar")


@pytest.mark.parametrize("change", [{"crop": 24}, {"shift": 1}])
def test_routes_need_the_codecs_grid(change):
    with pytest.raises(ConfigError, match="set crop and shift to 0"):
        TrainConfig(model="routed", **change)


def test_infinity_is_refused_since_no_card_can_hold_it():
    with pytest.raises(ConfigError, match="checkpoint_every_s"):
        TrainConfig(checkpoint_every_s=float("inf"))
