"""Timing and peak memory of a call, measured in the same way for all benchmarks."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def median_seconds(call: Callable[[], object], *, budget: float = 1.0, least: int = 3, most: int = 50) -> float:
    """Median wall time of a call after one unmeasured call.

    Args:
        call: what to time.
        budget: seconds to spend, roughly.
        least: repeats at least.
        most: repeats at most.
    """
    call()
    times: list[float] = []
    while len(times) < least or (sum(times) < budget and len(times) < most):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch, and so the CPU engine, use `count` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_PEAK = """
from skinlesion.benchmark.timing import resident_bytes
{setup}
before = resident_bytes("VmRSS")
{call}
print(resident_bytes("VmHWM") - before)
"""


def resident_bytes(field: str) -> int:
    """Memory of this process on Linux: VmRSS is now, VmHWM the most so far.

    `resource.ru_maxrss` will not do: a child inherits its parent's peak.
    """
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def peak_bytes(setup: str, call: str) -> int | None:
    """By how much a piece of code raises the peak memory of a fresh process; None anywhere but on Linux.

    Args:
        setup: Python that is not counted.
        call: Python that is.
    """
    if sys.platform != "linux":
        return None
    code = _PEAK.format(setup=setup, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def machine() -> dict[str, str | int]:
    """The hardware class, without naming the machine."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    except FileNotFoundError:  # not Linux: the short name will do
        pass
    return {"processor": model, "cores": os.cpu_count() or 1, "system": platform.system(), "torch": torch.__version__}
