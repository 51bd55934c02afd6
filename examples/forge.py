"""Make fakes of one's own photographs: ``python examples/forge.py PHOTOS FORGED [FAMILY]``; FORGED is a new folder."""

from __future__ import annotations

import sys
from pathlib import Path

from fauxto.forge.settings import ForgeSettings
from fauxto.forge.zoo import forge


def main(photos: str, forged: str, family: str = "") -> None:
    settings = ForgeSettings(recipe="quick", size=32, crops=4)  # four native crops of each photograph that is larger
    out = forge(photos, Path(forged), settings, only=family)  # such as "gan"; "" makes the whole zoo
    print("a labelled data set:", out / "manifest.csv")
    print("look at it:", out / "contact.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
