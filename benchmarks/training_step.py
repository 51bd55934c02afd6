"""Time one optimizer step of the notebook preset with and without each speed-up: ``python benchmarks/training_step.py``.

Each variant runs in a process of its own, in turn, several times over; quoted is the ratio to the plain step.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import torch
from record import write_result

from fauxto.models import factory
from fauxto.training import keep_large_blocks

VARIANTS = {"plain": (False, False), "fused Adam": (True, False), "kept blocks": (False, True), "both": (True, True)}
BATCH_SIZE, N_WARM, N_STEPS = 16, 15, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.variant:
        print(step_ms(*VARIANTS[arguments.variant]))
        return
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(arguments.rounds):
        for name in VARIANTS:
            call = [sys.executable, __file__, "--variant", name]
            found[name].append(float(subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()[-1]))
    rows = {
        name: {
            "median_ms": statistics.median(times), "min_ms": min(times), "max_ms": max(times),
            "faster_than_plain": statistics.median(plain / own for plain, own in zip(found["plain"], times, strict=True)),
        }
        for name, times in found.items()
    }  # fmt: skip
    write_result("training_step", {"model": "resnet18, imagenet stem", "batch_size": BATCH_SIZE, "step": rows})


def step_ms(is_fused: bool, keeps_blocks: bool) -> float:
    """Return milliseconds per step."""
    if keeps_blocks:
        keep_large_blocks()
    torch.manual_seed(0)
    network = factory.build("resnet18", stem="imagenet").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4, fused=is_fused)
    images, labels = torch.rand(BATCH_SIZE, 3, 32, 32), torch.rand(BATCH_SIZE).round()
    started = 0.0
    for step in range(N_WARM + N_STEPS):
        if step == N_WARM:
            started = time.perf_counter()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - started) / N_STEPS * 1e3


if __name__ == "__main__":
    main()
