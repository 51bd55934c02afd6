"""The tables: every member can be built, no name comes twice, and the axes are all there."""

from __future__ import annotations

import itertools

import pytest

from fauxto.errors import ConfigError
from fauxto.forge.diffusion import Sampling
from fauxto.forge.flow import Walk
from fauxto.forge.making import FAMILIES, network_key
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


@pytest.mark.parametrize("recipe", ["quick", "full"])
def test_a_zoo_has_all_families(recipe: str) -> None:
    assert {member.family for member in RECIPES[recipe]} == set(FAMILIES)


@pytest.mark.parametrize("recipe", ["quick", "full"])
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
        keys = [network_key(member, 0) for member in members]
        runs = [key for key, _ in itertools.groupby(keys)]
        assert len(runs) == len(set(runs)), "a network would be trained twice"
        assert len(runs) < len(keys), "some are shared"


def test_networks_of_full_that_learn_with_classes_are_asked_for_them_strongly_too() -> None:
    guided = [member for member in RECIPES["full"] if member.family in ("diffusion", "flow")]
    for _, together in itertools.groupby(guided, key=lambda member: network_key(member, 0)):
        ways = {member.name.split("/")[1].split("-")[1]: dict(member.sampling) for member in together}
        guidance = {name: how.get("guidance", 0.0) for name, how in ways.items()}
        assert {"guided", "strongly"} <= set(guidance), "one network, drawn from in all ways"
        assert guidance["strongly"] >= 2 > guidance["guided"] > 0
        assert sum(not value for value in guidance.values()) >= 1, "and without guidance"


def test_a_member_draws_only_in_ways_that_its_family_knows() -> None:
    ways = {"diffusion": Sampling, "flow": Walk}
    for member in itertools.chain(*RECIPES.values()):
        if member.sampling:
            from_mapping(ways[member.family], dict(member.sampling))


def test_critics_of_full_see_images_changed_at_one_of_two_widths() -> None:
    members = members_of("full", only="gan")
    changed = {kind: [one.config["augmented"] for one in members if one.kind == kind] for kind in {one.kind for one in members}}
    assert changed.pop("stylegan") == [False, False]
    assert all(sorted(both) == [False, True] for both in changed.values())
    assert len(changed) == 4


def test_patient_ones_are_four_networks_drawn_from_in_many_ways() -> None:
    members = RECIPES["patient"]
    assert len({network_key(member, 0) for member in members}) == 4
    guidance = [dict(member.sampling).get("guidance", 0.0) for member in members]
    assert max(guidance) >= 4
    assert min(guidance) == 0
    assert {member.kind for member in members if member.family == "gan"} == {"growing"}


def test_members_are_chosen_by_the_beginning_of_their_names() -> None:
    assert members_of("quick") == RECIPES["quick"]
    chosen = members_of("quick", only="autoencoder/vq-f4")
    assert chosen
    assert all(member.config["factor"] == 4 and member.kind == "vq" for member in chosen)
    with pytest.raises(ConfigError, match="its families: autoencoder, gan"):
        members_of("quick", only="gun")


def test_full_has_more() -> None:
    assert len(RECIPES["full"]) > 3 * len(RECIPES["quick"])
