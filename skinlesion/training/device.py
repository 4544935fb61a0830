"""The device a run trains on, and what to do when it is missing, runs out of memory or lacks an operation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from skinlesion.errors import MachineError, SkinlesionError, is_out_of_memory
from skinlesion.model import has_scan
from skinlesion.scan import choose_engine, choose_fitting_device
from skinlesion.training.config import TrainConfig


def find_device(config: TrainConfig, model: nn.Module) -> torch.device:
    """The device of a run.

    Args:
        config: the run.
        model: its network; "auto" takes a GPU only if the network's scan runs there.

    Raises:
        SkinlesionError: it isn't there, or the precision needs another one.
    """
    device = choose_fitting_device(config.device, config.engine if has_scan(model) else None)
    if config.precision == "16-mixed" and device.type == "cpu":
        raise SkinlesionError("--precision 16-mixed needs a GPU, and this run is on the CPU; use 32 or bf16-mixed.")
    found = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type != "cpu" and config.devices > found:
        raise SkinlesionError(f"--devices {config.devices} needs {config.devices} GPUs, but PyTorch finds {found}.")
    if device.type == "mps" and config.precision != "32":
        raise SkinlesionError(f"--device mps supports only --precision 32, not {config.precision}.")
    return device


def engine_for(model: nn.Module, engine: str, device: torch.device) -> str:
    """The scan engine of a run; "none" for a network without a selective scan.

    Raises:
        SkinlesionError: none is fast on this device, or the one asked for isn't there.
    """
    if not has_scan(model):
        return "none"
    if device.type == "mps" and engine == "auto":
        raise SkinlesionError(
            "--device mps has no fast selective scan, and the slow one takes longer than on the CPU: use --device cpu, "
            "or try it anyway with --engine reference. Networks without a scan (--preset unet, ...) train on mps."
        )
    return choose_engine(engine, device)


@contextmanager
def explained(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Say what to do when memory runs out or the device lacks an operation."""
    try:
        yield
    except (MemoryError, RuntimeError, NotImplementedError, TypeError) as error:
        if is_out_of_memory(error):
            raise MachineError(_out_of_memory(config, device)) from error
        if device.type == "mps" and "mps" in str(error).lower():
            raise SkinlesionError(
                f"The Apple GPU doesn't support an operation that this run needs ({str(error).splitlines()[0]}): use "
                "--device cpu, or set PYTORCH_ENABLE_MPS_FALLBACK=1 to run the unsupported operations on the CPU."
            ) from error
        raise


def _out_of_memory(config: TrainConfig, device: torch.device) -> str:
    place = "memory" if device.type == "cpu" else f"memory on {device}"
    advice = []
    if (parts := _more_parts(config)) is not None:
        size = config.batch_size // (config.processes * parts)
        advice.append(f"--accumulate {parts} computes the same batch {size} images at a time")
    if device.type != "cpu" and config.precision == "32":
        advice.append("--precision bf16-mixed needs about half the memory")
    advice.append(f"a smaller --size (now {config.size}) or a smaller --preset needs less")
    return (
        f"Out of {place}: {config.part_size} images of {config.size} x {config.size} don't fit at once. "
        f"{'; '.join(advice)}. If the run has completed an epoch, continue it with --resume."
    )


def _more_parts(config: TrainConfig) -> int | None:
    """The next larger number of parts that divides the batch; at least twice as many."""
    share = config.batch_size // config.processes
    return next((n for n in range(2 * config.accumulate, share + 1) if share % n == 0), None)
