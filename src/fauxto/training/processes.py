"""One run on one or several processes: the device, torchrun's environment, and errors that reach every process."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from fauxto.config import TrainConfig
from fauxto.errors import ConfigError, FauxtoError, TrainingError
from fauxto.runs import seed_everything


def open_fabric(config: TrainConfig) -> Fabric:
    """Return Fabric on the configured device, with every generator seeded.

    Under torchrun each process that it started is one of the run's; else ``n_devices`` says how many there are.

    Raises:
        ConfigError: torchrun started another number of processes than ``n_devices`` asks for.
        TrainingError: The device is not there.
    """
    if config.n_threads:
        torch.set_num_threads(config.n_threads)
    keep_large_blocks()
    # Among cuDNN's algorithms only some give the same bits each time; same seed, same weights on a GPU too.
    torch.backends.cudnn.deterministic = True
    n_here, n_machines = _processes(config)
    strategy = "ddp" if n_here * n_machines > 1 else "auto"
    try:
        fabric = Fabric(
            accelerator=config.device, devices=n_here, num_nodes=n_machines, strategy=strategy, precision=precision_of(config)
        )
        fabric.launch()
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"device {config.device!r} x {n_here} cannot be used ({reason}): try --device cpu") from error
    seed_everything(config.seed)
    torch.manual_seed(config.seed)
    return fabric


def on_first(fabric: Fabric, do: Callable[[], None]) -> None:
    """Let the first process alone do something; an error of ours is raised in all, so that none waits for ever.

    Raises:
        FauxtoError: What ``do`` raised.
    """
    failure: FauxtoError | None = None
    if fabric.is_global_zero:
        try:
            do()
        except FauxtoError as error:
            failure = error
    failure = fabric.broadcast(failure)
    if failure is not None:
        raise failure


def share_buffers(fabric: Fabric, network: nn.Module) -> None:
    """Give all processes the first one's buffers: each has gathered batch statistics of its own images only."""
    if fabric.world_size > 1:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)


def summed(fabric: Fabric, values: list[float]) -> list[float]:
    """Return each value's sum over all processes, in float64."""
    if fabric.world_size == 1:
        return values
    together = fabric.all_reduce(torch.tensor(values, dtype=torch.float64, device=fabric.device), reduce_op="sum")
    return together.tolist()  # type: ignore[union-attr]


def leave_processes() -> None:
    """Part from the other processes together; one that ends while another still talks to it can abort that one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def device_name(fabric: Fabric) -> str:
    """Return the name of the device for the record, such as "cpu" or "NVIDIA H200"."""
    return torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else fabric.device.type


def keep_large_blocks() -> None:
    """Let glibc keep large freed blocks instead of giving them back to the system at every step.

    ResNet-18's gradients (45 MB) are otherwise mapped, zeroed and unmapped at each step; benchmarks/training_step.py
    measures what that costs.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            m_trim_threshold, m_mmap_threshold = -1, -3
            mallopt(m_mmap_threshold, 1 << 30)
            mallopt(m_trim_threshold, (1 << 31) - 1)


def n_loader_threads(fabric: Fabric) -> int:
    """Return how many threads make batches ahead: none on the CPU, whose cores the network needs itself."""
    return 0 if fabric.device.type == "cpu" else min(8, os.cpu_count() or 1)


def computes_in_bf16(device: str) -> bool:
    """Tell whether a device multiplies bfloat16 numbers itself; imitated, they are slower than float32.

    Args:
        device: "cpu", "cuda", "mps", or "auto", which is the one that Fabric would take.
    """
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_capability() >= (8, 0)
    if device == "mps" or (device == "auto" and torch.backends.mps.is_available()):
        return False
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("amx_tile"))


def precision_of(config: TrainConfig) -> Any:
    """Return what "auto" comes to on this machine: "bf16-mixed" or "32-true"; any other precision as it is."""
    if config.precision != "auto":
        return config.precision
    return "bf16-mixed" if computes_in_bf16(config.device) else "32-true"


def _processes(config: TrainConfig) -> tuple[int, int]:
    """Return how many processes this machine has, and how many machines there are."""
    if not torch.distributed.is_available() or not torch.distributed.is_torchelastic_launched():
        return config.n_devices, 1
    n_here, n_all = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if config.n_devices not in (1, n_here):
        raise ConfigError(f"n_devices = {config.n_devices}, but torchrun started {n_here} processes: leave n_devices out")
    return n_here, n_all // n_here
