"""What this machine can do: versions, devices, scan engines, weights, speed."""

import os
import platform
import time
from typing import Any

import torch

from skinlesion.checkpoint import WEIGHTS, available_weights, read_card
from skinlesion.errors import SkinlesionError
from skinlesion.scan import choose_engine, engines
from skinlesion.training.environment import installed
from skinlesion.version import __version__
from skinlesion.zoo import create_model

_PACKAGES = ("numpy", "numba", "pytorch-lightning", "albumentations", "captum", "streamlit", "mamba-ssm")
_SPEED_MODEL, _SPEED_SIZE = "tiny", 128


def diagnose(*, seconds: float = 2.0) -> dict[str, Any]:
    """Collect everything that determines what runs and how fast.

    Args:
        seconds: length of the speed check.

    Returns:
        JSON values: "skinlesion", "python", "system", "torch", "packages" {name: version or None}, "devices"
        [{"name", "description"}], "threads" {"cores", "torch", "wait_policy"}, "engines" [{"name", "available",
        "reason", "devices"}],
        "auto" {device: engine or None}, "weights" [{"name", "megabytes", "model", "error"}] and "speed".
    """
    devices = _devices()
    return {
        "skinlesion": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "packages": {name: installed(name) for name in _PACKAGES},
        "devices": devices,
        "threads": {
            "cores": os.cpu_count(),
            "torch": torch.get_num_threads(),
            "wait_policy": os.environ.get("OMP_WAIT_POLICY", "active"),
        },
        "engines": [
            {"name": e.name, "available": e.available, "reason": e.reason, "devices": list(e.devices)}
            for e in engines().values()
        ],
        "auto": {device["name"]: _auto(device["name"]) for device in devices},
        "weights": [_weights(name) for name in available_weights()],
        "speed": _speed(seconds),
    }


def _devices() -> list[dict[str, str]]:
    found = [{"name": "cpu", "description": platform.processor() or platform.machine()}]
    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    found += [{"name": f"cuda:{index}", "description": torch.cuda.get_device_name(index)} for index in gpus]
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "description": "Apple GPU"})
    return found


def _auto(device: str) -> str | None:
    try:
        return choose_engine("auto", device)
    except SkinlesionError:
        return None  # the table of engines says why


def _weights(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "megabytes": (WEIGHTS / f"{name}.safetensors").stat().st_size / 1e6}
    try:
        return {**found, "model": read_card(name)["model"]["name"], "error": None}
    except SkinlesionError as error:
        return {**found, "model": None, "error": str(error)}


def _speed(seconds: float) -> dict[str, Any]:
    """How fast the smallest network runs on the CPU; the first image, which may compile kernels, is timed apart."""
    try:
        engine = choose_engine("auto", "cpu")
    except SkinlesionError as error:
        return {"error": str(error)}
    model = create_model(_SPEED_MODEL).eval()
    image = torch.rand(1, 3, _SPEED_SIZE, _SPEED_SIZE)
    count = 0
    with torch.inference_mode():
        start = time.perf_counter()
        model(image)
        first = time.perf_counter() - start
        start = time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds or count == 0:
            model(image)
            count += 1
    return {
        "model": _SPEED_MODEL,
        "size": _SPEED_SIZE,
        "engine": engine,
        "first_image_seconds": round(first, 3),
        "images_per_second": round(count / spent, 1),
        "error": None,
    }
