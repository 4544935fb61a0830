"""Starting the app, for real: it is as safe from any folder, and its help is its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = ROOT / "dashboard" / "app.py"


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT)}


def test_the_settings_hold_wherever_it_is_started(tmp_path: Path) -> None:
    """Also where another folder's settings say the opposite."""
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text('[server]\naddress = "0.0.0.0"\nmaxUploadSize = 500\n')
    program = (
        "import sys; from streamlit import config\n"
        f"config._main_script_path = {str(APP)!r}\n"
        "for name in sys.argv[1:]: print(config.get_option(name))"
    )
    names = ("server.address", "server.maxUploadSize", "browser.gatherUsageStats", "client.showErrorDetails")
    words = [sys.executable, "-c", program, *names]
    done = subprocess.run(
        words, cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["127.0.0.1", "10", "False", "none"]


@pytest.mark.slow
def test_streamlit_run_from_elsewhere_listens_on_this_machine_alone(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    words = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.headless=true", f"--server.port={port}"]
    with log.open("w") as out:
        process = subprocess.Popen(words, cwd=tmp_path, env=_environment(tmp_path), stdout=out, stderr=out)
    try:
        for _ in range(120):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        with socket.socket() as other:  # on Linux all of 127.0.0.0/8 is this machine; 127.0.0.1 alone is listened on
            assert other.connect_ex(("127.0.0.2", port)) != 0
    finally:
        process.terminate()
        process.wait(60)
    assert "Network URL" not in log.read_text()
    assert "usage statistics" not in log.read_text()


@pytest.mark.slow
def test_the_command_leaves_the_device_of_the_environment_alone(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "skinlesion", "dashboard", "--no-open-browser"]
    environment = {**_environment(tmp_path), "SKINLESION_DEVICE": "abacus"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("SKINLESION_DEVICE: The device must be auto")


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_help_is_short_and_names_the_variables(encoding: str) -> None:
    words = [sys.executable, "-m", "dashboard", "--help"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") < 25
    for name in ("WEIGHTS_DIR", "RUNS_DIR", "DATA_DIR", "RESULTS_DIR", "DEVICE"):
        assert f"SKINLESION_{name}" in done.stdout
