"""Speed of the scan, as shares of what the card can do: its bandwidth and its rate of exponentials, both measured."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpu.record import Record
from skinlesion.benchmark.scan import make_inputs
from skinlesion.scan import cross_selective_scan, engines

# The first stage of the paper's network at 256 x 256, for one image and for a batch of the recipe.
SIZES = {
    "1 x 64 x 64 x 192, 16 states": {"batch": 1, "height": 64, "width": 64, "channels": 192, "states": 16},
    "32 x 64 x 64 x 192, 16 states": {"batch": 32, "height": 64, "width": 64, "channels": 192, "states": 16},
}
TINY = {"1 x 4 x 4 x 4, 2 states": {"batch": 1, "height": 4, "width": 4, "channels": 4, "states": 2}}
EXP_REPEATS = 512


def seconds(call: Callable[[], object], device: str, *, budget: float = 1.0, least: int = 3, most: int = 50) -> float:
    """Median time of a call, the device's work included, after one unmeasured call."""

    def once() -> float:
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    times: list[float] = []
    while len(times) < least or (sum(times) < budget and len(times) < most):
        times.append(once())
    return statistics.median(times)


def bandwidth(device: str, *, tiny: bool) -> float:
    """Bytes a second of a copy, reads and writes both counted."""
    source = torch.rand(2**12 if tiny else 2**28, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / seconds(lambda: target.copy_(source), device)


def exp_rate(device: str, *, tiny: bool) -> float:
    """Exponentials a second of a Triton kernel that does little else."""
    from gpu.exp_kernel import BLOCK, exponentials

    repeats = 4 if tiny else EXP_REPEATS
    source = torch.rand(2 * BLOCK if tiny else 2**24, device=device)
    target = torch.empty_like(source)
    grid = (source.numel() // BLOCK,)
    return repeats * source.numel() / seconds(lambda: exponentials[grid](source, target, repeats), device)


def _least_bytes(inputs: list[Tensor], y: Tensor) -> dict[str, int]:
    """Bytes that must move at least: forward reads the inputs and writes y; backward reads the inputs and dy and writes
    a gradient of every input."""
    read = sum(t.numel() * t.element_size() for t in inputs)
    output = y.numel() * y.element_size()
    return {"forward": read + output, "backward": 2 * read + output}


def measure(engine: str, size: dict[str, int], device: str, *, gradients: bool) -> dict[str, float]:
    """Seconds, state updates a second and bytes a second of one engine, forward and backward on its own."""
    inputs = [t.to(device) for t in make_inputs(**size)]
    updates = inputs[1].numel() * inputs[2].shape[-1]
    once = {"budget": 0.0, "least": 1} if engine == "reference" else {}
    with torch.no_grad():
        y = cross_selective_scan(*inputs, engine=engine)
        took = {"forward": seconds(lambda: cross_selective_scan(*inputs, engine=engine), device, **once)}
    moved = _least_bytes(inputs, y)
    if gradients:
        leaves = [t.detach().requires_grad_() for t in inputs]
        y = cross_selective_scan(*leaves, engine=engine)
        dy = torch.ones_like(y)
        took["backward"] = seconds(lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True), device, **once)
    return {
        name: value
        for direction, time_taken in took.items()
        for name, value in (
            (f"{direction}_seconds", time_taken),
            (f"{direction}_updates_per_second", updates / time_taken),
            (f"{direction}_bytes_per_second", moved[direction] / time_taken),
        )
    }


def run(record: Record, *, device: str, tiny: bool, deadline: float) -> None:
    """Measure the ceilings, then every engine at every size; what fails is written down."""
    found = record.step("speed")
    for name, ceiling in (("bytes_per_second", bandwidth), ("exp_per_second", exp_rate)):
        try:
            found[name] = ceiling(device, tiny=tiny)
        except Exception as error:
            found[f"{name}_error"] = f"{type(error).__name__}: {error}"[:400]
        record.save()
    found["rows"] = []
    available = [n for n, status in engines().items() if status.available and device in status.devices]
    for label, size in (TINY if tiny else SIZES).items():
        # the loop last: it takes seconds a call, and its graph doesn't fit for a batch
        for engine in [*(name for name in ("triton", "mamba") if name in available), "reference"]:
            if time.monotonic() > deadline:
                found["cut_off"] = True
                return
            row: dict[str, Any] = {"engine": engine, "size": label}
            try:
                row |= measure(engine, size, device, gradients=engine != "reference" or size["batch"] == 1)
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {error}"[:400]
                if device == "cuda":
                    torch.cuda.empty_cache()
            found["rows"].append(row)
            record.save()
