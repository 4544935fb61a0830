"""Values and all gradients of the engines against the float64 reference, in fp32 and bf16."""

import time
from typing import Any

import torch
from torch import Tensor

from gpu.record import Record
from skinlesion.benchmark.scan import make_inputs
from skinlesion.scan import cross_selective_scan, engines

NAMES = ("y", "x", "delta", "A", "B", "C", "D", "delta_bias")
# Largest error of a tensor over its largest value. A GPU's exponential is approximate (a few units in the last place,
# carried along the sequence), and its sums run in another order; bf16 rounds every output to 8 bits.
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

Case = dict[str, Any]
CASES: list[Case] = [
    {"batch": 1, "height": 1, "width": 1, "channels": 1, "states": 1},
    {"batch": 1, "height": 3, "width": 5, "channels": 4, "states": 2},
    {"batch": 2, "height": 7, "width": 9, "channels": 35, "states": 3},
    {"batch": 1, "height": 1, "width": 32, "channels": 2, "states": 2},
    {"batch": 3, "height": 5, "width": 7, "channels": 33, "states": 16},
    {"batch": 2, "height": 8, "width": 8, "channels": 96, "states": 4, "rate": 100.0, "step": 3.0},
    {"batch": 2, "height": 8, "width": 8, "channels": 96, "states": 16, "rate": 1e-3, "step": -12.0},
    {"batch": 2, "height": 16, "width": 16, "channels": 192, "states": 16},
    {"batch": 1, "height": 31, "width": 33, "channels": 100, "states": 16},
]
TINY: list[Case] = [
    {"batch": 1, "height": 1, "width": 1, "channels": 1, "states": 1},
    {"batch": 2, "height": 3, "width": 5, "channels": 3, "states": 2},
]


def describe(case: Case) -> str:
    """A case in words."""
    extreme = f", rates x {case['rate']:g}, step {case['step']:g}" if "rate" in case else ""
    return (
        f"{case['batch']} x {case['height']} x {case['width']} x {case['channels']}, {case['states']} states{extreme}"
    )


def _inputs(case: Case, device: str, dtype: torch.dtype) -> list[Tensor]:
    """The scan's inputs for a case, rounded to a type: both sides get the same numbers."""
    sizes = {name: case[name] for name in ("batch", "height", "width", "channels", "states")}
    x, delta, A, B, C, D, bias = make_inputs(**sizes)
    if "rate" in case:
        A = case["rate"] * A / A.abs().max()
        delta = delta + 2 + case["step"]
    generator = torch.Generator().manual_seed(1)
    D, bias = (torch.randn(t.shape, generator=generator) for t in (D, bias))
    return [t.to(device, dtype) for t in (x, delta, A, B, C, D, bias)]


def _value_and_gradients(inputs: list[Tensor], engine: str, dy: Tensor) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    y = cross_selective_scan(*leaves, engine=engine)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(y.dtype))]


def errors(case: Case, engine: str, kind: str, device: str) -> dict[str, float]:
    """Relative error of the value and of each gradient: largest difference over largest value."""
    inputs = _inputs(case, device, TYPES[kind])
    dy = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(2)).to(device, TYPES[kind])
    ours = _value_and_gradients(inputs, engine, dy)
    theirs = _value_and_gradients([t.double() for t in inputs], "reference", dy.double())
    return {
        name: float((a.double() - b).abs().max() / b.abs().max().clamp_min(1e-12))
        for name, a, b in zip(NAMES, ours, theirs, strict=True)
    }


def run(record: Record, *, device: str, tiny: bool, deadline: float) -> None:
    """Try every engine, type and case; a case that fails is written down."""
    found = record.step("correctness")
    found["tolerance"] = TOLERANCE
    found["cases"] = []
    names = [name for name in ("triton", "mamba") if (status := engines()[name]).available and device in status.devices]
    found["engines"] = names
    for case in TINY if tiny else CASES:
        for engine in names:
            for kind in TYPES:
                if time.monotonic() > deadline:
                    found["cut_off"] = True
                    return
                row: dict[str, Any] = {"engine": engine, "type": kind, "case": describe(case)}
                try:
                    row["errors"] = errors(case, engine, kind, device)
                    row["passed"] = all(error < TOLERANCE[kind] for error in row["errors"].values())
                except Exception as error:
                    row |= {"passed": False, "error": f"{type(error).__name__}: {error}"[:400]}
                found["cases"].append(row)
                record.save()
