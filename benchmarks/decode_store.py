"""Time from CIFAKE's archive to the decoded store: ``python benchmarks/decode_store.py --data cifake.tar.xz``; bar: 60 s."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from record import summary, timed, write_result

from fauxto.data.store import load_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    n_images = 0

    def decode() -> None:
        nonlocal n_images
        with tempfile.TemporaryDirectory() as cache:
            n_images = len(load_data(arguments.data, cache=Path(cache)))

    seconds = timed(decode, n_runs=arguments.runs)
    with tempfile.TemporaryDirectory() as cache:
        load_data(arguments.data, cache=Path(cache))
        warm = timed(lambda: load_data(arguments.data, cache=Path(cache)), n_runs=5)
    write_result("decode_store", {"bar_s": 60, "n_images": n_images, "build": summary(seconds), "open_again": summary(warm)})


if __name__ == "__main__":
    main()
