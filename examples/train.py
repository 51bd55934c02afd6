"""Train a detector with the classroom notebook's recipe: ``python examples/train.py DATA RUN``; RUN is a new folder."""

from __future__ import annotations

import sys
from pathlib import Path

from fauxto.config import preset
from fauxto.data.store import load_data
from fauxto.training import train


def main(data: str, run: str) -> None:
    config = preset("notebook", seed=1)  # any key of TrainConfig may be changed; an unknown one is refused
    detector = train(load_data(data), config, Path(run))
    print("detector:", detector)
    print("curves:", Path(run) / "curves.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
