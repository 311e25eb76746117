"""This machine: its devices, memory and speed, and what a stage of the work costs on it.

The one thing a reader would get wrong: bfloat16 is the default on CUDA only; common processors
compute it hundreds of times slower than float32.
"""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """`auto` is the first of cuda, mps, cpu that is there.

    Raises:
        ValueError: a device that this machine does not have.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    there = ["cuda"] * cuda + ["mps"] * mps + ["cpu"]
    if name == "auto":
        return torch.device(there[0])
    if name.split(":")[0] not in there:
        raise ValueError(f"Device {name!r} is not on this machine; it has: {', '.join(there)}.")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on CUDA and float32 elsewhere.

    Raises:
        ValueError: a dtype we do not compute in.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise ValueError(f"Unknown dtype {name!r}; use one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def measured_gflops(device: torch.device, dtype: torch.dtype) -> float:
    """Matrix products a second, in 1e9 operations, from a product of a fraction of a second."""
    n = 4096 if device.type == "cuda" else 1024
    a = torch.ones(n, n, device=device, dtype=dtype)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        (a @ a).sum().item()
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds) / 1e9


@dataclass
class Cost:
    """What a stage took."""

    seconds: float = 0.0
    peak_gb: float = 0.0
    """Largest resident memory of the process while the stage ran, 1e9 bytes."""
    peak_gpu_gb: float | None = None
    """Largest allocation on the CUDA device, None without one."""


@contextmanager
def measured() -> Generator[Cost, None, None]:
    """Time a block and watch its memory; the yielded `Cost` is filled in when the block ends."""
    cost, process, done = Cost(), psutil.Process(), threading.Event()
    peak = [process.memory_info().rss]

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    watcher.start()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - start
        done.set()
        watcher.join()
        cost.peak_gb = max(peak[0], process.memory_info().rss) / 1e9
        if torch.cuda.is_available():
            cost.peak_gpu_gb = torch.cuda.max_memory_allocated() / 1e9
