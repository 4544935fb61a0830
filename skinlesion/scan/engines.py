r"""Which engine runs the scan: chosen explicitly, never silently replaced.

All of them compute the cross scan of VMamba (https://arxiv.org/abs/2401.10166), with Mamba's selective scan
(https://arxiv.org/abs/2312.00752) along each route:

.. math::
    y = \sum_k \mathrm{merge}_k\bigl(\mathrm{S6}_k(\mathrm{expand}_k(x))\bigr)
"""

import functools
import warnings
from dataclasses import dataclass

import torch

from skinlesion.device import choose_device
from skinlesion.errors import MachineError, SkinlesionError
from skinlesion.plugins import EXTRA_ENGINES, load_plugins
from skinlesion.text import printable

ENGINES = ("reference", "cpu", "triton", "mamba")

# What `auto` tries, in order; the slow loop is never chosen unasked. On a GPU Triton comes before mamba-ssm: it is
# there with every CUDA build of PyTorch for Linux, so two machines run the same engine whatever else is installed; it
# copies nothing into another layout; and its gradients have the same bits every time, while mamba-ssm adds up those
# of B and C with atomics.
AUTO = ("cpu", "triton", "mamba")


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can run here.

    Attributes:
        name: the engine.
        available: True if it can be selected.
        reason: what it is, or why it is not available and how to get it.
        devices: the device types that it runs on.
    """

    name: str
    available: bool
    reason: str
    devices: tuple[str, ...]


# torch.compile follows the four functions below into its graph: hence plain import statements, which Python caches,
# and neither importlib nor functools.cache.


def _reference() -> EngineStatus:
    return EngineStatus("reference", True, "the readable loop, on any device; slow", ("cpu", "cuda", "mps"))


def _cpu() -> EngineStatus:
    try:
        import skinlesion.scan.cpu  # noqa: F401 - the import is the test
    except ImportError as error:
        return EngineStatus("cpu", False, f"Numba cannot be imported ({error}): pip install -U numba", ("cpu",))
    return EngineStatus("cpu", True, "fused Numba kernels", ("cpu",))


def _triton() -> EngineStatus:
    try:
        from skinlesion.scan import triton
    except ImportError as error:
        reason = (
            f"Triton cannot be imported ({error}); it comes with PyTorch for CUDA on Linux; otherwise: pip install "
            "triton"
        )
        return EngineStatus("triton", False, reason, ("cuda",))
    if triton.INTERPRETED:
        return EngineStatus("triton", True, "fused Triton kernels, interpreted and very slow", triton.DEVICES)
    if not torch.cuda.is_available():
        return EngineStatus("triton", False, "PyTorch finds no GPU", triton.DEVICES)
    return EngineStatus("triton", True, "fused Triton kernels", triton.DEVICES)


def _mamba() -> EngineStatus:
    from skinlesion.scan import mamba

    try:
        mamba.load_kernel()
    except ImportError as error:
        return EngineStatus("mamba", False, f"its CUDA kernel cannot be imported ({error}): {mamba.BUILD}", ("cuda",))
    if not torch.cuda.is_available():
        return EngineStatus("mamba", False, "PyTorch finds no GPU", ("cuda",))
    return EngineStatus("mamba", True, "the CUDA kernel of mamba-ssm", ("cuda",))


_PROBES = {"reference": _reference, "cpu": _cpu, "triton": _triton, "mamba": _mamba}


def engines() -> dict[str, EngineStatus]:
    """The status of every engine on this machine, by name."""
    return {name: _PROBES[name]() for name in ENGINES}


def choose_fitting_device(name: torch.device | str, engine: str | None) -> torch.device:
    """Find a device of this machine; for "auto", one that the scan runs on.

    Args:
        name: as `skinlesion.device.choose_device`. "auto" means a CUDA GPU if there is one that works and the engine
            runs on it, otherwise the CPU; a warning says so if the engine was left open.
        engine: "auto", one of `ENGINES`, or a registered engine; None for a network without a selective scan.

    Raises:
        SkinlesionError: there is no such device, or it doesn't work.
    """
    device = choose_device(name)
    if device.type != "cuda":
        return device
    try:
        check_gpu(device, None if engine is None else choose_engine(engine, device))
    except SkinlesionError as error:
        if name != "auto":
            raise
        if engine in (None, "auto"):
            warnings.warn(f"The GPU isn't used: {error}", stacklevel=2)
        return choose_device("cpu")
    return device


@functools.cache
def check_gpu(device: torch.device, engine: str | None) -> None:
    """Compute a sum and a small scan on a GPU, once per process.

    This fails if PyTorch has no kernels for that GPU, or if Triton has no C compiler.

    Args:
        device: a GPU.
        engine: one of `ENGINES`, or None for the sum alone; a registered engine isn't tried.

    Raises:
        MachineError: it failed.
    """
    from skinlesion.scan.operator import cross_selective_scan  # which imports this module

    try:
        (torch.zeros(1, device=device) + 1).item()
        if engine in ENGINES:
            shapes = ((1, 2, 2, 4), (1, 2, 2, 4, 4), (4, 4, 2), (1, 2, 2, 4, 2), (1, 2, 2, 4, 2), (4, 4), (4, 4))
            cross_selective_scan(*(torch.zeros(shape, device=device) for shape in shapes), engine=engine).sum().item()
    except Exception as error:  # whatever the libraries of a GPU raise
        why = printable(str(error).strip().partition("\n")[0])
        raise MachineError(f"The device {device} cannot be used ({type(error).__name__}: {why}).") from error


def choose_engine(engine: str = "auto", device: torch.device | str = "cpu") -> str:
    """The engine that will run.

    Args:
        engine: "auto", one of `ENGINES`, or a registered engine.
        device: where the tensors are.

    Returns:
        The name of an available engine for that device.

    Raises:
        SkinlesionError: the name is unknown, or the engine is not available here, or `auto` finds no fast engine
            for the device.
    """
    kind = torch.device(device).type
    if engine == "auto":
        for name in AUTO:
            status = _PROBES[name]()
            if status.available and kind in status.devices:
                return name
        raise SkinlesionError(
            f"No fast scan engine is available for device {kind!r} (see `skinlesion doctor`); "
            'use device="cpu", or the slow loop with engine="reference".'
        )
    if engine not in ENGINES and engine not in EXTRA_ENGINES and not torch.compiler.is_compiling():
        load_plugins()
    if engine in EXTRA_ENGINES:
        devices = EXTRA_ENGINES[engine][1]
    elif engine in ENGINES:
        status = _PROBES[engine]()
        if not status.available:
            raise SkinlesionError(f"The scan engine {engine!r} is not available: {status.reason}.")
        devices = status.devices
    else:
        names = ", ".join(("auto", *ENGINES, *EXTRA_ENGINES))
        raise SkinlesionError(f"Unknown scan engine {engine!r}; choose one of: {names}.")
    if kind not in devices:
        raise SkinlesionError(f"The scan engine {engine!r} does not run on device {kind!r}; use {devices[0]!r}.")
    return engine
