"""Where a network runs, spelled one way in every command: auto, cpu, cuda, cuda:N or mps."""

import re
from typing import TYPE_CHECKING

from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

if TYPE_CHECKING:
    import torch

_SPELLING = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def check_device_name(name: str) -> None:
    """Reject anything that isn't a device name, without checking whether this machine has the device.

    Raises:
        SkinlesionError: the message lists the possible values.
    """
    if not _SPELLING.fullmatch(name):
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
        check_device_name(name.type)
        device = name
    else:
        check_device_name(name)
        device = torch.device(("cuda" if found else "cpu") if name == "auto" else name)
    if device.type == "cuda" and (device.index or 0) >= found:
        there = f"only {found} CUDA GPU{'s' if found > 1 else ''}" if found else "no CUDA GPU"
        raise SkinlesionError(
            f"This machine has no device {name}: PyTorch finds {there}. See `skinlesion doctor`, or use cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SkinlesionError("This machine has no device mps: PyTorch finds no Apple GPU. Use cpu.")
    return device
