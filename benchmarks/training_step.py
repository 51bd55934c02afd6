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

VARIANTS: dict[str, set[str]] = {
    "plain": set(),
    "fused Adam": {"fused"},
    "kept blocks": {"blocks"},
    "fused Adam, kept blocks (what fauxto train does)": {"fused", "blocks"},
    "both, channels_last": {"fused", "blocks", "channels_last"},
    "both, bf16 autocast": {"fused", "blocks", "bf16"},
    "both, denormals flushed": {"fused", "blocks", "flush"},
}
BATCH_SIZE, N_WARM, N_STEPS = 16, 15, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.variant:
        print(step_ms(VARIANTS[arguments.variant]))
        return
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(arguments.rounds):
        for name in VARIANTS:
            call = [sys.executable, __file__, "--variant", name]
            found[name].append(float(subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()[-1]))
    rows = {
        name: {
            "median_ms": statistics.median(times), "min_ms": min(times), "max_ms": max(times),
            "times_as_fast_as_plain": statistics.median(plain / own for plain, own in zip(found["plain"], times, strict=True)),
        }
        for name, times in found.items()
    }  # fmt: skip
    write_result("training_step", {"model": "resnet18, imagenet stem", "batch_size": BATCH_SIZE, "step": rows})


def step_ms(options: set[str]) -> float:
    """Return milliseconds per step."""
    if "blocks" in options:
        keep_large_blocks()
    torch.set_flush_denormal("flush" in options)
    torch.manual_seed(0)
    network = factory.build("resnet18", stem="imagenet").train()
    images, labels = torch.rand(BATCH_SIZE, 3, 32, 32), torch.rand(BATCH_SIZE).round()
    if "channels_last" in options:
        network, images = network.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4, fused="fused" in options)
    started = 0.0
    for step in range(N_WARM + N_STEPS):
        if step == N_WARM:
            started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in options):
            logits = network(images)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - started) / N_STEPS * 1e3


if __name__ == "__main__":
    main()
