"""Which members a forge has: tables of settings, from which all its variety comes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fauxto.errors import ConfigError

Row = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """One generator of a zoo.

    Attributes:
        name: "family/what it is"; the generator of its images.
        family: Which module makes it.
        kind: What it is called inside its family.
        config: The settings in which its training differs from the family's defaults.
        sampling: How images are drawn from it, where there are several ways; members that differ in nothing else share one
            network, trained once.
        n_images: How many it makes.
        seed: Tells apart members with equal settings.
    """

    name: str
    family: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    n_images: int = 500
    seed: int = 0


_KEYS = ("latent", "factor", "up", "loss", "norm", "activation", "kernel", "output", "width")
# What stands after these keys differs from the defaults too.
_AUTOENCODERS: tuple[tuple[str, int, str, str, str, str, int, str, int, Row], ...] = (
    ("kl", 2, "transposed", "l2", "batch", "relu", 4, "tanh", 24, {"last_up": True}),
    ("kl", 2, "nearest", "l1", "group", "silu", 3, "clamp", 32, {}),
    ("kl", 2, "bilinear", "perceptual", "none", "leaky", 3, "tanh", 24, {}),
    ("kl", 2, "shuffle", "l2", "group", "gelu", 3, "sigmoid", 24, {"last_up": True}),
    ("kl", 4, "transposed", "l1", "none", "leaky", 3, "clamp", 24, {}),
    ("kl", 4, "transposed", "adversarial", "batch", "relu", 4, "tanh", 24, {"last_up": True}),
    ("kl", 4, "nearest", "l2", "group", "silu", 3, "clamp", 24, {}),
    ("kl", 4, "nearest", "perceptual", "group", "silu", 5, "tanh", 16, {}),
    ("kl", 4, "bilinear", "adversarial", "group", "leaky", 3, "tanh", 24, {}),
    ("kl", 4, "shuffle", "l1", "group", "silu", 3, "clamp", 24, {}),
    ("kl", 8, "nearest", "adversarial", "group", "silu", 3, "clamp", 24, {}),
    ("kl", 8, "transposed", "l2", "group", "relu", 5, "tanh", 20, {}),
    ("vq", 2, "nearest", "l2", "group", "silu", 3, "clamp", 24, {"code_width": 4}),
    ("vq", 2, "transposed", "perceptual", "batch", "relu", 4, "tanh", 24, {"code_width": 2, "n_codes": 64}),
    ("vq", 4, "shuffle", "l2", "group", "gelu", 3, "tanh", 24, {"code_width": 2, "n_codes": 64}),
    ("vq", 4, "transposed", "adversarial", "none", "leaky", 4, "sigmoid", 24, {"code_width": 2, "n_codes": 64, "last_up": True}),
    ("vq", 4, "bilinear", "l1", "batch", "silu", 4, "clamp", 24, {"code_width": 4}),
    ("vq", 8, "shuffle", "perceptual", "group", "silu", 3, "clamp", 24, {"code_width": 2, "n_codes": 64}),
)
_SNGAN: Row = {"loss": "hinge", "kernel": 3, "critic_norm": "spectral", "learning_rate": 3e-4, "critic_haste": 2.0}
_GANS: tuple[tuple[str, Row], ...] = (
    ("dcgan", {"block": "plain", "loss": "bce", "up": "transposed", "critic_norm": "batch", "warm_steps": 0}),
    (
        "wgan-gp",
        {"block": "residual", "loss": "wasserstein", "up": "nearest", "kernel": 3, "penalty": 1.0, "learning_rate": 3e-4},
    ),
    ("sngan", {"block": "residual", "up": "nearest", **_SNGAN}),
    ("sngan-shuffle", {"block": "plain", "up": "shuffle", **_SNGAN}),
    ("stylegan", {"block": "style", "loss": "softplus", "up": "bilinear", "penalty": 0.02, "learning_rate": 5e-4}),
)
_GROWING: Row = {"block": "growing", "penalty": 10.0, "n_noise": 128, "decay": 0.999, "batch_size": 128, "warm_steps": 0}
_DDPM: tuple[tuple[str, Row], ...] = (
    ("ddpm", {"n_steps": 100, "noise": 1.0}),
    ("ddim", {"n_steps": 25}),
    ("ddim-guided", {"n_steps": 25, "guidance": 1.5}),
)
_FLOWS: tuple[tuple[str, Row], ...] = (
    ("euler", {"n_steps": 25}),
    ("heun-guided", {"n_steps": 10, "method": "heun", "guidance": 1.0}),
)

_STRONGLY: tuple[tuple[str, Row], ...] = (("ddim-strongly", {"n_steps": 30, "guidance": 3.0}),)
_STRONGLY_FLOWS: tuple[tuple[str, Row], ...] = (("heun-strongly", {"n_steps": 15, "method": "heun", "guidance": 2.5}),)
_PATIENT: Row = {"n_steps": 6000, "batch_size": 128, "decay": 0.999}  # of the full recipe
_PATIENT_GANS: dict[str, Row] = {
    "dcgan": {"learning_rate": 2e-4},
    "wgan-gp": {"learning_rate": 2e-4, "penalty": 10.0, "critic_haste": 3.0},
    "sngan": {"learning_rate": 2e-4},
    "sngan-shuffle": {"learning_rate": 2e-4},
    "stylegan": {"augmented": False},
}


_LONG_WAYS: tuple[Row, ...] = (
    *({"n_steps": 12, "method": "heun", "guidance": guidance} for guidance in (1.0, 2.5)),
    *({"n_steps": 40, "method": "ancestral", "guidance": guidance} for guidance in (0.5, 1.8, 3.0, 4.5)),
)


_PATIENT_WAYS: tuple[tuple[str, Row], ...] = (
    ("ddpm", {"n_steps": 200, "noise": 1.0}),
    *((f"ddpm-g{round(10 * w):02d}", {"n_steps": 100, "noise": 1.0, "guidance": w}) for w in (0.5, 1.8, 3.0, 4.5)),
)


def _autoencoders(rows: tuple[tuple[str, int, str, str, str, str, int, str, int, Row], ...], more: Row) -> Iterator[Member]:
    for *values, extra in rows:
        yield _autoencoder(dict(zip(_KEYS, values, strict=True)) | extra | more, n_images=500, seed=0)


def _autoencoder(config: Row, *, n_images: int, seed: int) -> Member:
    shown = ("latent", "up", "loss", "norm", "activation", "output")
    parts = [
        config["latent"],
        f"f{config['factor']}",
        *(config[key] for key in shown[1:]),
        f"k{config['kernel']}",
        f"w{config['width']}",
    ]
    parts += ["last"] if config.get("last_up") else []
    return Member(f"autoencoder/{'-'.join((*parts, f's{seed}'))}", "autoencoder", config["latent"], config, {}, n_images, seed)


def _quick() -> Iterator[Member]:
    """Yield the members that two cores make in a quarter of an hour, for some 5,000 images of 32 x 32 pixels."""
    yield from _autoencoders(_AUTOENCODERS, {"n_steps": 500})
    for kind, config in _GANS:
        yield Member(f"gan/{kind}-w32-s0", "gan", kind, config | {"n_steps": 900 if kind == "dcgan" else 600})
    unet: Row = {"width": 32, "n_steps": 900, "batch_size": 32}
    for kind, sampling in _DDPM:
        yield Member(f"diffusion/{kind}-w32-s0", "diffusion", "velocity", unet, sampling, 300)
    for kind, sampling in _FLOWS:
        yield Member(f"flow/{kind}-w48-p2-s0", "flow", "flow", {"width": 48, "patch": 2, "n_steps": 700}, sampling, 400)
    yield Member("autoregressive/pixelcnn-w48-s0", "autoregressive", "pixels", {"n_steps": 400}, {}, 300)
    yield Member("autoregressive/vq-pixelcnn-w48-s0", "autoregressive", "codes", {"over": "codes", "n_steps": 400}, {}, 300)


def _full_autoencoders() -> Iterator[Member]:
    """Yield all products of the axes that matter most, the others changing along with them."""
    axes = (("kl", "vq"), (2, 4, 8), ("transposed", "nearest", "bilinear", "shuffle"), ("l1", "l2", "perceptual", "adversarial"))
    others = (
        ("group", "none", "batch"),
        ("silu", "leaky", "relu", "gelu"),
        (3, 4, 5),
        ("tanh", "clamp", "sigmoid"),
        (24, 32, 48),
    )
    # 7 divides none of the lengths, so that every value of an axis meets every value of the others.
    changing = itertools.islice(itertools.cycle(itertools.product(*others)), 0, None, 7)
    for number, (main, rest) in enumerate(zip(itertools.product(*axes), changing, strict=False)):
        extra = {"code_width": 2, "last_up": number % 3 == 0, "n_steps": 4000}
        yield _autoencoder(dict(zip(_KEYS, main + rest, strict=True)) | extra, n_images=600, seed=number % 2)


def _full() -> Iterator[Member]:
    """Yield the members for a GPU or a night: the same kinds, larger and longer at it, then products over axes."""
    for width, seed in ((64, 0), (96, 1)):
        for kind, config in _GANS:
            settings = config | _PATIENT | {"width": width, "n_noise": 128, "augmented": seed == 0} | _PATIENT_GANS[kind]
            yield Member(f"gan/{kind}-w{width}-s{seed}", "gan", kind, settings, {}, 1000, seed)
        for patch, predicts in ((1, "velocity"), (2, "noise")):
            unet: Row = _PATIENT | {"width": width, "patch": patch, "predicts": predicts, "learning_rate": 6e-4}
            for kind, sampling in (*_DDPM, *_STRONGLY):
                yield Member(
                    f"diffusion/{kind}-{predicts}-w{width}-p{patch}-s{seed}", "diffusion", predicts, unet, sampling, 600, seed
                )
        for patch in (1, 2):
            unet = _PATIENT | {"width": width, "patch": patch, "learning_rate": 6e-4}
            for kind, sampling in (*_FLOWS, *_STRONGLY_FLOWS):
                yield Member(f"flow/{kind}-w{width}-p{patch}-s{seed}", "flow", "flow", unet, sampling, 600, seed)
        for kind, over in (("pixelcnn", "pixels"), ("vq-pixelcnn", "codes")):
            config = {"over": over, "width": width, "n_blocks": 8, "code_steps": 4000, "n_steps": 6000, "learning_rate": 1e-3}
            yield Member(f"autoregressive/{kind}-w{width}-s{seed}", "autoregressive", over, config, {}, 500, seed)
    yield from _full_autoencoders()


def _guided() -> Iterator[Member]:
    """Yield one flow that learns for an hour or two on a core, drawn from in many ways; it wants photographs with classes."""
    config: Row = {"width": 64, "patch": 2, "decay": 0.999, "n_steps": 16_000, "learning_rate": 4e-4}
    for how in _LONG_WAYS:
        name = f"flow/long-{how['method']}-w64-p2-g{round(10 * how['guidance']):02d}"
        yield Member(name, "flow", "flow", config, how, 500)


def _patient() -> Iterator[Member]:
    """Yield four networks that learn at once for some ten minutes on a GPU; they want photographs with classes."""
    long: Row = {"decay": 0.9995, "batch_size": 512, "learning_rate": 1e-3}
    noise = long | {"predicts": "noise"}
    for kind, sampling in _PATIENT_WAYS:
        config = noise | {"width": 96, "n_steps": 2000}
        yield Member(f"diffusion/patient-{kind}-w96-p1-s0", "diffusion", "noise", config, sampling, 1000)
    kind, sampling = _PATIENT_WAYS[0]
    config = noise | {"width": 64, "n_classes": 0, "n_steps": 2500}
    yield Member(f"diffusion/patient-{kind}-w64-p1-s1", "diffusion", "noise", config, sampling, 1000, 1)
    for how in _LONG_WAYS:
        name = f"flow/patient-{how['method']}-g{round(10 * how['guidance']):02d}-w128-p2-s0"
        yield Member(name, "flow", "flow", long | {"width": 128, "patch": 2, "n_steps": 3500}, how, 1000)
    yield Member("gan/patient-growing-w96-s0", "gan", "growing", _GROWING | {"width": 96, "n_steps": 7500}, {}, 1000)


RECIPES: dict[str, tuple[Member, ...]] = {
    name: tuple(members()) for name, members in {"quick": _quick, "full": _full, "guided": _guided, "patient": _patient}.items()
}

WANT_CLASSES = ("guided", "patient")  # recipes that are about guidance towards what photographs show


def members_of(recipe: str, *, only: str = "") -> tuple[Member, ...]:
    """Return the members of a recipe whose names begin with ``only``.

    Raises:
        ConfigError: There is none.

    Example:
        >>> {member.family for member in members_of("quick", only="gan")}
        {'gan'}
    """
    chosen = tuple(member for member in RECIPES[recipe] if member.name.startswith(only))
    if not chosen:
        families = ", ".join(dict.fromkeys(member.family for member in RECIPES[recipe]))
        raise ConfigError(f"no member of the recipe {recipe!r} has a name that begins with {only!r}; its families: {families}")
    return chosen
