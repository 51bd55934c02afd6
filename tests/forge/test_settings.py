"""What may be asked of a forge."""

from __future__ import annotations

import pytest

from fauxto.errors import ConfigError
from fauxto.forge.settings import ForgeSettings, codec_of


def test_codecs_are_those_of_perturb() -> None:
    assert codec_of("png") == (".png", "PNG", {})
    assert codec_of("jpeg444-90") == (".jpg", "JPEG", {"subsampling": 0, "quality": 90})
    assert codec_of("webp-80") == (".webp", "WEBP", {"method": 4, "quality": 80})


@pytest.mark.parametrize("encode", ["gif", "jpeg", "jpeg-0", "jpeg-75+blur-1", "blur-1", "", "png-3"])
def test_no_such_encoding(encode: str) -> None:
    with pytest.raises(ConfigError):
        ForgeSettings(encode=encode)


@pytest.mark.parametrize("values", [{"size": 33}, {"recipe": "slow"}, {"fit": "pad"}, {"crops": 0}, {"limit": -1}, {"seed": -1}])
def test_impossible_settings(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ForgeSettings(**values)  # type: ignore[arg-type]
