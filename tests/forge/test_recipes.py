"""The tables: every member can be built, no name comes twice, and the axes are all there."""

from __future__ import annotations

import pytest

from fauxto.errors import ConfigError
from fauxto.forge.making import FAMILIES
from fauxto.forge.recipes import RECIPES, members_of
from fauxto.mapping import from_mapping


@pytest.mark.parametrize("recipe", RECIPES)
def test_names_are_unique_and_safe_and_settings_known(recipe: str) -> None:
    members = RECIPES[recipe]
    assert len({member.name for member in members}) == len(members)
    for member in members:
        family, name = member.name.split("/")
        assert family == member.family
        assert name.replace("-", "").isalnum(), name
        from_mapping(FAMILIES[family].config, dict(member.config))
    assert {member.family for member in members} == set(FAMILIES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_axis_of_the_autoencoders_is_walked(recipe: str) -> None:
    configs = [member.config for member in members_of(recipe, only="autoencoder")]
    axes = {
        "latent": {"kl", "vq"}, "factor": {2, 4, 8}, "kernel": {3, 4, 5},
        "up": {"transposed", "nearest", "bilinear", "shuffle"},
        "loss": {"l1", "l2", "perceptual", "adversarial"}, "norm": {"none", "batch", "group"},
        "output": {"tanh", "sigmoid", "clamp"},
    }  # fmt: skip
    for key, values in axes.items():
        assert {config[key] for config in configs} == values


def test_members_that_share_a_network_stand_together() -> None:
    for members in RECIPES.values():
        keys = [repr((member.family, member.kind, member.config, member.seed)) for member in members]
        runs = [key for before, key in zip(["", *keys], keys, strict=False) if key != before]
        assert len(runs) == len(set(runs)), "a network would be trained twice"


def test_members_are_chosen_by_the_beginning_of_their_names() -> None:
    assert members_of("quick") == RECIPES["quick"]
    chosen = members_of("quick", only="autoencoder/vq-f4")
    assert chosen
    assert all(member.config["factor"] == 4 and member.kind == "vq" for member in chosen)
    with pytest.raises(ConfigError, match="its families: autoencoder, gan"):
        members_of("quick", only="gun")


def test_full_has_more() -> None:
    assert len(RECIPES["full"]) > 3 * len(RECIPES["quick"])
