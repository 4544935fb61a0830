"""The environment of a run: versions, threads, hardware class, command."""

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from skinlesion.version import __version__

_PACKAGES = ("torch", "numpy", "numba", "pytorch-lightning", "torchmetrics", "albumentations", "safetensors")


def describe_environment(engine: str, device: torch.device) -> dict[str, Any]:
    """JSON values that say what ran where; no user name, host name or folder of the machine.

    Args:
        engine: the scan engine that runs.
        device: where the network is.
    """
    return {
        "command": command(),
        "skinlesion": __version__,
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := installed(name)) is not None},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "scan_engine": engine,
    }


def installed(package: str) -> str | None:
    """The version of a package; None if it isn't installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def command() -> str:
    """The command as it was typed, with absolute paths reduced to their last part, since a checkpoint may be shared."""
    return shlex.join([Path(word).name if Path(word).is_absolute() else word for word in sys.argv])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
