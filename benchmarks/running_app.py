"""The dashboard as its visitors meet it, for the programs that measure it: a process of its own, and a browser."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PATIENCE = 180_000  # milliseconds
# True once a view is complete: footer, charts and pictures.
READY = """() => document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'notRunning'
    && document.querySelector('.st-key-footer [data-testid="stCaptionContainer"]')
    && !document.querySelector('[data-testid="stMain"] [data-testid="stSkeleton"]')"""


class App(NamedTuple):
    """The running app: its address, without a slash at the end, and the number of its process."""

    url: str
    pid: int


@contextmanager
def running_app() -> Iterator[App]:
    """The dashboard with the weights that come with the package."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith("SKINLESION_")}
    words = ["-m", "dashboard", "--server.headless=true", "--server.fileWatcherType=none", f"--server.port={port}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=env, **quiet)
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.25)
        else:
            raise SystemExit("The dashboard has not started: see `python -m dashboard`.")
        yield App(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait(60)


def chromium() -> str:
    """The browser's path."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("SKINLESION_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise SystemExit("Chromium is missing: apt install chromium, or SKINLESION_CHROMIUM=PATH.")
    return found


def processor() -> str:
    """Its name."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write(folder: Path, name: str, text: str) -> None:
    """Write a results file, whole or not at all."""
    temporary = folder / f".{name}"
    temporary.write_text(text)
    os.replace(temporary, folder / name)
