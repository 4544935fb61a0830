"""The scan's engines and their peers, side by side in one process."""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skinlesion.benchmark.timing import machine, median_seconds, threads
from skinlesion.scan import cross_selective_scan, engines, reference

Scan = Callable[..., Tensor]


def make_inputs(
    *, batch: int = 1, height: int = 64, width: int = 64, channels: int = 192, states: int = 16, seed: int = 0
) -> list[Tensor]:
    """x, delta, A, B, C, D, delta_bias of `cross_selective_scan`, laid out as SS2D lays them out."""
    g = torch.Generator().manual_seed(seed)
    grid = (batch, height, width)
    delta = torch.randn(4, *grid, channels, generator=g).permute(1, 2, 3, 0, 4)  # (B, H, W, K, D)
    projected = torch.randn(*grid, 4, 2 * states, generator=g)
    B, C = projected.split(states, dim=-1)
    return [
        torch.randn(*grid, channels, generator=g),
        delta - 2,
        -torch.arange(1.0, states + 1).repeat(4, channels, 1),
        B,
        C,
        torch.ones(4, channels),
        torch.zeros(4, channels),
    ]


def _by_route(one_route: Callable[..., Tensor]) -> Scan:
    """A cross scan from a scan of one sequence: (u, delta, A, B, C, D) -> y."""

    def scan(x, delta, A, B, C, D, delta_bias):
        height, width = x.shape[1:3]
        u, delta, B, C = (t.flatten(1, 2) for t in (x, delta, B, C))
        y = torch.zeros_like(u)
        for k, order in enumerate(reference.four_routes(height, width).long()):
            step = F.softplus(delta[:, order, k] + delta_bias[k])
            out = one_route(u[:, order], step, A[k], B[:, order, k], C[:, order, k], D[k])
            y = y + out[:, torch.argsort(order)]
        return y.unflatten(1, (height, width))

    return scan


def _slicing_loop(u, delta, A, B, C, D):
    """The common PyTorch loop: everything for all t at once, then one slice a step. Its gradient is quadratic in L."""
    decay = torch.exp(delta[..., None] * A)  # (B, L, D, N)
    write = (delta * u)[..., None] * B[:, :, None, :]  # (B, L, D, N)
    h = torch.zeros_like(decay[:, 0])
    y = []
    for t in range(u.shape[1]):
        h = decay[:, t] * h + write[:, t]
        y.append((h * C[:, t, None, :]).sum(-1))
    return torch.stack(y, dim=1) + D * u


def _mambapy(u, delta, A, B, C, D):
    from mambapy.pscan import pscan

    decay = torch.exp(delta[..., None] * A)
    states = pscan(decay, (delta * u)[..., None] * B[:, :, None, :])
    return (states * C[:, :, None, :]).sum(-1) + D * u


def _associative(u, delta, A, B, C, D):
    from torch._higher_order_ops.associative_scan import associative_scan

    def combine(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    decay = torch.exp(delta[..., None] * A)
    write = (delta * u)[..., None] * B[:, :, None, :]
    _, states = associative_scan(combine, (decay, write), dim=1, combine_mode="generic")
    return (states * C[:, :, None, :]).sum(-1) + D * u


def contestants() -> dict[str, Scan]:
    """Every scan that runs on this machine's CPU, by name."""
    available = [name for name, status in engines().items() if status.available and "cpu" in status.devices]
    found: dict[str, Scan] = {
        name: (lambda *t, engine=name: cross_selective_scan(*t, engine=engine)) for name in available
    }
    found["loop, slicing"] = _by_route(_slicing_loop)
    if importlib.util.find_spec("mambapy"):
        found["mambapy"] = _by_route(_mambapy)
    found["torch associative scan"] = _by_route(_associative)
    return found


def exp_per_second(budget: float = 0.5) -> float:
    """Rate of the kernels' own float32 exponential on one thread, from and to the first-level cache."""
    from numba import njit

    from skinlesion.scan.simd import BYTES, exp2, load, store

    lanes = BYTES // 4

    @njit(nogil=True)
    def run(source, target, repeats):
        for _ in range(repeats):
            for i in range(0, source.size, lanes):
                store(target, (i,), exp2(load(source, (i,))))

    source = -20 * torch.rand(2048).numpy()
    target = np.empty_like(source)
    repeats = 2000
    return repeats * source.size / median_seconds(lambda: run(source, target, repeats), budget=budget)


def measure(scan: Scan, inputs: list[Tensor], *, gradients: bool = True, budget: float = 1.0) -> dict[str, float]:
    """Seconds and state updates a second of one scan: forward, and backward on its own."""
    updates = inputs[1].numel() * inputs[2].shape[-1]
    with torch.no_grad():
        forward = median_seconds(lambda: scan(*inputs), budget=budget)
    result = {"forward_seconds": forward, "forward_updates_per_second": updates / forward}
    if gradients:
        leaves = [t.detach().requires_grad_() for t in inputs]
        y = scan(*leaves)
        dy = torch.ones_like(y)
        backward = median_seconds(lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True), budget=budget)
        result |= {"backward_seconds": backward, "backward_updates_per_second": updates / backward}
    return result


def benchmark_scan(*, slow: bool = False, side: int = 64, channels: int = 192, budget: float = 1.0) -> dict[str, Any]:
    """The figures at one size: 64 x 64 tokens, D = 192, N = 16, four routes, one thread.

    Args:
        slow: also measure the peers' gradients at this size; the slicing loop's takes many minutes.
        side: of the square grid of tokens.
        channels: D.
        budget: seconds to spend on each timing.
    """
    inputs = make_inputs(height=side, width=side, channels=channels)
    result: dict[str, Any] = {
        "machine": machine(),
        "size": {"tokens": [side, side], "channels": channels, "states": 16, "routes": 4, "batch": 1, "threads": 1},
        "exp_per_second": exp_per_second(),
        "engines": {},
    }
    with threads(1):
        for name, scan in contestants().items():
            try:
                gradients = slow or name in ("cpu", "mambapy")
                result["engines"][name] = measure(scan, inputs, gradients=gradients, budget=budget)
            except (RuntimeError, NotImplementedError, ImportError) as error:
                result["engines"][name] = {"error": str(error).splitlines()[0][:200]}
    with threads(2):
        result["engines"]["cpu"]["two_threads"] = measure(contestants()["cpu"], inputs, budget=budget)
    return result
