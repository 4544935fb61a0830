"""`skinlesion dashboard`."""

import os
import sys
from pathlib import Path

from skinlesion.bundled import bundled


def dashboard(
    *,
    port: int = 8501,
    address: str = "127.0.0.1",
    no_open_browser: bool = False,
    weights_dir: Path | None = None,
    runs_dir: Path | None = None,
    data_dir: Path | None = None,
    results_dir: Path | None = None,
    device: str | None = None,
) -> int:
    """Open the app in a browser. It works offline, and nothing leaves this machine.

    Args:
        port: Port to listen on.
        address: Address to listen on; 0.0.0.0 accepts connections from other machines, for a class.
        no_open_browser: Only print the address, and open no browser window.
        weights_dir: Folder of additional checkpoints (.safetensors files and run folders).
        runs_dir: Folder of training runs; ./runs by default.
        data_dir: A dataset with masks, or a folder of several, for the views Errors and Compare.
        results_dir: Results folder of `skinlesion reproduce`, for the view Compare.
        device: auto, cpu, cuda, cuda:N or mps; by default what SKINLESION_DEVICE says, or auto.
    """
    if device is not None:
        from skinlesion.device import choose_device  # loads torch, as the app does

        choose_device(device)
    sys.path.insert(0, str(bundled("dashboard").parent))
    from dashboard.__main__ import main

    folders = {"WEIGHTS_DIR": weights_dir, "RUNS_DIR": runs_dir, "DATA_DIR": data_dir, "RESULTS_DIR": results_dir}
    for name, value in {**folders, "DEVICE": device}.items():
        if value is not None:
            os.environ[f"SKINLESION_{name}"] = str(value)
    options = ["--server.port", str(port), "--server.address", address]
    sys.argv = ["skinlesion dashboard", *options, *(["--server.headless", "true"] if no_open_browser else [])]
    return main()
