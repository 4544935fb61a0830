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


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("group", ["pretense", "network", "training", "segmenter", "explanations"])
def test_steps_work_on_the_pretend_gpu(group: str, kind: str):
    for module in {"training": ["pytorch_lightning"], "explanations": ["captum"]}.get(group, []):
        pytest.importorskip(module)
    run(group, kind, 600)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_every_view_works_on_the_pretend_gpu(kind: str):
    pytest.importorskip("streamlit")
    run("dashboard", kind, 1200)
