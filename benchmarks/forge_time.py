"""Time ``fauxto forge --recipe quick``, and keep how long every family took.

``python benchmarks/forge_time.py --data cifar10_lossless_train.npz --out FOLDER`` writes results/forge.json. The bar is 15
minutes on 2 cores for some 5,000 real images of 32 x 32 pixels, writing included. Waits until the machine is quiet.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import record

from fauxto.forge.settings import ForgeSettings
from fauxto.forge.zoo import forge

BAR_MIN = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="real images")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the forge")
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    load_before = record.quiet_load()
    settings = ForgeSettings(recipe=arguments.recipe)
    (seconds,) = record.timed(lambda: forge(arguments.data, arguments.out, settings, device=arguments.device), n_runs=1)
    summary = json.loads((arguments.out / "forge.json").read_text(encoding="utf-8"))
    record.write_result("forge", {"load_before": load_before, **result_of(summary, seconds)})


def result_of(summary: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return what is kept of a forge's own summary and the wall seconds of the whole."""
    members = summary["members"]
    families: dict[str, dict[str, float]] = {}
    for one in members:
        family = families.setdefault(one["member"]["family"], {"n_members": 0, "n_images": 0, "minutes": 0.0})
        family["n_members"] += 1
        family["n_images"] += one["n_images"]
        family["minutes"] += one["seconds"] / 60
    return {
        "settings": summary["settings"], "reals": summary["reals"],
        "device": members[0]["device"], "in_bf16": members[0]["in_bf16"],
        "n_members": len(members), "n_fakes": sum(one["n_images"] for one in members), "families": families,
        "total_min": record.against_bar(seconds / 60, BAR_MIN, at_most=True),
    }  # fmt: skip


if __name__ == "__main__":
    main()
