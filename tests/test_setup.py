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
    ("python", "expected"), [("/nowhere/python", "is not Python 3.11 to 3.14"), ("", "No Python 3.11 to 3.14")]
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


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _set_up(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "setup.sh")], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.name == "nt", reason="the scripts are for a POSIX shell")
def test_setup_does_not_ignore_the_python_that_was_named(tmp_path: Path) -> None:
    _script(tmp_path / ".venv" / "bin" / "python", "echo Python 3.11.0")
    done = _set_up(tmp_path, PYTHON=sys.executable, PATH=os.environ["PATH"])
    assert done.returncode == 1
    assert ".venv was made with Python 3.11.0" in done.stderr
    assert "rm -r .venv" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="the scripts are for a POSIX shell")
@pytest.mark.parametrize("version", ["3, 10", "3, 15", "4, 0"])
def test_setup_refuses_a_python_that_the_dependencies_are_not_made_for(tmp_path: Path, version: str) -> None:
    python = tmp_path / "python"
    program = f"import sys; sys.version_info = ({version}, 0); exec(sys.argv[1])"
    _script(python, f"exec {sys.executable} -c '{program}' \"$2\"")
    done = _set_up(tmp_path, PYTHON=str(python), PATH=os.environ["PATH"])
    assert done.returncode == 1
    assert "is not Python 3.11 to 3.14" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="the scripts are for a POSIX shell")
def test_setup_tells_intel_macs_at_once(tmp_path: Path) -> None:
    _script(tmp_path / "uname", 'case "$1" in -s) echo Darwin;; -m) echo x86_64;; esac')
    done = _set_up(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "Intel processor" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["uname"]


@pytest.mark.skipif(os.name == "nt", reason="the scripts are for a POSIX shell")
def test_ci_runs_the_tests_and_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
    for path in (script, ROOT / "setup.sh"):
        shell = "bash" if path == script else "sh"
        subprocess.run([shell, "-n", str(path)], check=True)


def test_this_python_is_one_that_the_project_allows() -> None:
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.15"
    assert (3, 11) <= sys.version_info < (3, 15)
