"""Where a network runs, spelled one way in every command: auto, cpu, cuda, cuda:N or mps."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skinlesion.errors import MachineError, SkinlesionError, is_out_of_memory
from skinlesion.text import printable

if TYPE_CHECKING:
    import torch

_SPELLING = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9]\d?))?")


def check_device_name(name: str) -> None:
    """Reject anything that isn't a device name, without checking whether this machine has the device.

    Raises:
        SkinlesionError: the message lists the possible values.
    """
    if not (isinstance(name, str) and _SPELLING.fullmatch(name)):
        raise SkinlesionError(f"The device must be auto, cpu, cuda, cuda:N or mps; got {printable(name)!r}.")


def choose_device(name: "str | torch.device") -> "torch.device":
    """Find a device of this machine.

    Args:
        name: auto (a CUDA GPU if there is one, else the CPU), cpu, cuda, cuda:N (N from 0) or mps (Apple's GPU); or a
            `torch.device`.

    Raises:
        SkinlesionError: there is no such device here, or the name isn't one.
    """
    import torch  # which checking a name doesn't need

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if isinstance(name, torch.device):
        name = str(name) if name.type == "cuda" else name.type
    check_device_name(name)
    if name == "auto":
        name = "cuda" if found else "cpu"
    kind, _, index = name.partition(":")
    if kind == "cuda" and int(index or 0) >= found:
        there = f"only {found} CUDA GPU{'s' if found > 1 else ''}" if found else "no CUDA GPU"
        raise SkinlesionError(
            f"This machine has no device {name}: PyTorch finds {there}. See `skinlesion doctor`, or use cpu."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise SkinlesionError("This machine has no device mps: PyTorch finds no Apple GPU. Use cpu.")
    return torch.device(name)


@contextmanager
def enough_memory(device: "torch.device") -> Iterator[None]:
    """Turn running out of memory into one sentence.

    Args:
        device: where the work is done.

    Raises:
        MachineError: there was not enough.
    """
    try:
        yield
    except RuntimeError as error:  # Python's own MemoryError means that something else was too large
        if not is_out_of_memory(error):
            raise
        place, other = ("", "") if device.type == "cpu" else (f" on {device}", ", or use the device cpu")
        raise MachineError(
            f"Out of memory{place}: close other programs, or process fewer or smaller images at once{other}."
        ) from error
