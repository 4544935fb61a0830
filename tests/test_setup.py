"""The files that set the project up."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_conda_environment_has_the_package_and_nothing_needs_the_cuda_kernel() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert "- -e .[dev]" in lines
    assert not any("mamba" in line for line in lines)
    assert "mamba-ssm" not in (ROOT / "pyproject.toml").read_text()


@pytest.mark.skipif(os.name == "nt", reason="the scripts are for a POSIX shell")
@pytest.mark.parametrize(
    ("python", "expected"), [("/nowhere/python", "is not Python 3.11 or newer"), ("", "No Python 3.11 or newer")]
)
def test_setup_without_a_new_enough_python_says_so(tmp_path: Path, python: str, expected: str) -> None:
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "setup.sh")],
        cwd=tmp_path,
        env={"PYTHON": python, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert expected in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="the scripts are for a POSIX shell")
def test_ci_runs_the_tests_and_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
    for path in (script, ROOT / "setup.sh"):
        shell = "bash" if path == script else "sh"
        subprocess.run([shell, "-n", str(path)], check=True)


def test_this_python_is_one_that_the_project_allows() -> None:
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert sys.version_info >= (3, 11)
