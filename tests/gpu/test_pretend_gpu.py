"""The package on a pretend GPU: no tensor is left on the CPU, and nothing needs float64 of Apple's GPU.

The pretense changes PyTorch for good, so each group of steps runs in a process of its own (`groups.py`).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GROUPS = Path(__file__).with_name("groups.py")
ROOT = Path(__file__).resolve().parents[2]


def run(group: str, kind: str, seconds: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(GROUPS), group, kind],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


# Apple's refuses all that the other refuses, and float64 as well, so it alone is asked for what takes longer.
@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("group", ["pretense", "network", "training", "segmenter"])
def test_steps_work_on_the_pretend_gpu(group: str, kind: str):
    if group == "training":
        pytest.importorskip("pytorch_lightning")
    run(group, kind, 600)


def test_explanations_work_on_the_pretend_gpu():
    pytest.importorskip("captum")
    run("explanations", "mps", 600)


@pytest.mark.slow
def test_every_view_works_on_the_pretend_gpu():
    pytest.importorskip("streamlit")
    run("dashboard", "mps", 1200)
