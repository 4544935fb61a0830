"""A lower bound on a run's memory, compared with what the machine has, before anything is allocated."""

import os
from typing import Any

from torch import nn

from skinlesion.checkpoint import MAX_OPTION, Budget, plausible
from skinlesion.errors import SkinlesionError
from skinlesion.training.config import TrainConfig
from skinlesion.zoo import create_model

_UNKNOWN = 1 << 40  # bytes that a machine is taken to have if it doesn't say
_COPIES = 4  # of every weight: itself, its gradient and two moments
_MAPS = 16  # floats for each pixel of a batch at the very least: image, mask, logits, losses and their gradients


def machine_memory() -> int:
    """Bytes of memory that the machine has, used or not."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return _UNKNOWN


def check_memory(config: TrainConfig) -> None:
    """Refuse a run whose batch or synthetic images cannot fit, whatever the network is.

    Raises:
        SkinlesionError: there isn't enough; the message has the need, the available memory and the options to change.
    """
    needed = {
        f"a batch part of {config.part_size} images of {config.size} x {config.size}": 4
        * _MAPS
        * config.part_size
        * config.size**2,
    }
    if config.data == "synthetic" and config.root is None and config.images is None:
        kept = config.synthetic_count * (3 * config.size**2 + config.truth_size**2)
        needed[f"{config.synthetic_count} synthetic images"] = kept
    for what, size in needed.items():
        if size > machine_memory():
            raise SkinlesionError(
                f"There is not enough memory: {what} take at least {_gigabytes(size)}, and this machine has "
                f"{_gigabytes(machine_memory())}. Choose a smaller --size, --batch-size or --synthetic-count."
            )


def build_model(config: TrainConfig) -> nn.Module:
    """The network of a run, untrained.

    Raises:
        SkinlesionError: as `create_model`, or its weights cannot fit into memory.
    """
    options: dict[str, Any] = config.model_options()
    for name, value in options.items():
        if not plausible(list(value) if isinstance(value, tuple) else value):
            raise SkinlesionError(f"--model {name}={str(value)[:40]} is out of range: use at most {MAX_OPTION}.")
    most = machine_memory() // (4 * _COPIES)
    try:
        with Budget(most):
            return create_model(config.preset, **options)
    except MemoryError:
        raise SkinlesionError(
            f"There is not enough memory: a network with more than {most:,} weights cannot be trained in "
            f"{_gigabytes(machine_memory())}. Choose a smaller dim or fewer depths in --model."
        ) from None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
