"""Which engine runs the scan: chosen in the open, never swapped behind the caller's back."""

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Literal

import torch

from skinlesion.errors import SkinlesionError

EngineName = Literal["auto", "reference", "cpu"]
ENGINES = ("reference", "cpu")


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can run here.

    Attributes:
        name: the engine.
        available: True when it can be asked for.
        reason: what it is, or why it is not available and how to get it.
        devices: the device types that it runs on.
    """

    name: str
    available: bool
    reason: str
    devices: tuple[str, ...]


def _reference() -> EngineStatus:
    return EngineStatus("reference", True, "the readable loop, on any device; slow", ("cpu", "cuda", "mps"))


def _cpu() -> EngineStatus:
    try:
        importlib.import_module("skinlesion.scan.cpu")
    except ImportError as error:
        return EngineStatus("cpu", False, f"Numba cannot be imported ({error}): pip install -U numba", ("cpu",))
    return EngineStatus("cpu", True, "fused Numba kernels", ("cpu",))


@functools.cache
def engines() -> dict[str, EngineStatus]:
    """The status of every engine on this machine, by name."""
    return {status.name: status for status in (_reference(), _cpu())}


def choose_engine(engine: str = "auto", device: torch.device | str = "cpu") -> str:
    """The engine that will run.

    Args:
        engine: "auto" or one of `ENGINES`.
        device: where the tensors are.

    Returns:
        The name of an available engine for that device.

    Raises:
        SkinlesionError: the name is unknown, or the engine is not available here, or `auto` finds no fast engine
            for the device.
    """
    kind = torch.device(device).type
    if engine == "auto":
        for name in reversed(ENGINES):
            status = engines()[name]
            if name != "reference" and status.available and kind in status.devices:
                return name
        raise SkinlesionError(
            f"No fast scan engine is available for device {kind!r} (see `skinlesion doctor`); "
            'use the CPU, or ask for the slow loop with engine="reference".'
        )
    if engine not in ENGINES:
        raise SkinlesionError(f"Unknown scan engine {engine!r}; choose one of: auto, {', '.join(ENGINES)}.")
    status = engines()[engine]
    if not status.available:
        raise SkinlesionError(f"The scan engine {engine!r} is not available: {status.reason}.")
    if kind not in status.devices:
        raise SkinlesionError(f"The scan engine {engine!r} does not run on device {kind!r}; use {status.devices[0]!r}.")
    return engine
