"""Small photographs, and one tiny member of every family."""

from __future__ import annotations

import numpy as np
import pytest

from fauxto.forge.reals import Reals
from fauxto.forge.recipes import Member
from fauxto.forge.settings import ForgeSettings
from fauxto.forge.workshop import Workshop

SIZE = 16
SHORT = {"n_steps": 3, "batch_size": 4, "width": 8}
MEMBERS = (
    Member("autoencoder/kl", "autoencoder", "kl", SHORT, {}, 12),
    Member(
        "autoencoder/vq", "autoencoder", "vq", SHORT | {"latent": "vq", "factor": 2, "n_codes": 8, "loss": "adversarial"}, {}, 12
    ),
    Member("gan/dcgan", "gan", "dcgan", SHORT | {"critic_norm": "batch", "warm_steps": 2}, {}, 6),
    Member("gan/style", "gan", "style", SHORT | {"warm_steps": 0, "block": "style", "loss": "softplus", "penalty": 1.0}, {}, 6),
    Member("gan/growing", "gan", "growing", SHORT | {"block": "growing", "penalty": 1.0}, {}, 6),
    Member("diffusion/ddpm", "diffusion", "ddpm", SHORT | {"n_classes": 2}, {"n_steps": 4, "noise": 1.0}, 6),
    Member("diffusion/ddim-guided", "diffusion", "ddpm", SHORT | {"n_classes": 2}, {"n_steps": 3, "guidance": 1.0}, 6),
    Member("flow/heun", "flow", "flow", SHORT | {"patch": 2}, {"n_steps": 2, "method": "heun"}, 6),
    Member("autoregressive/pixels", "autoregressive", "pixels", SHORT | {"n_blocks": 1}, {}, 6),
    Member(
        "autoregressive/codes",
        "autoregressive",
        "codes",
        SHORT | {"over": "codes", "n_blocks": 1, "code_steps": 2, "n_codes": 8},
        {},
        6,
    ),
)
MEMBERS_BY_NAME = {member.name: member for member in MEMBERS}


@pytest.fixture(scope="session")
def photographs() -> np.ndarray:
    """Smooth images with some noise: uint8, shape (20, 16, 16, 3)."""
    rng = np.random.default_rng(0)
    slopes = rng.uniform(-6, 6, (20, 2, 1, 1, 3))
    place = np.arange(SIZE)
    smooth = 128 + slopes[:, 0] * place[None, :, None, None] + slopes[:, 1] * place[None, None, :, None]
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def reals(photographs: np.ndarray) -> Reals:
    return Reals("photos", photographs, tuple(f"photo {number // 2}.jpg" for number in range(len(photographs))))


@pytest.fixture(scope="session")
def workshop(photographs: np.ndarray) -> Workshop:
    return Workshop(photographs, device="cpu")


@pytest.fixture(scope="session")
def settings() -> ForgeSettings:
    return ForgeSettings(size=16)
