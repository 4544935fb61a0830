"""`skinlesion lab`."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import tyro

from skinlesion.bundled import bundled
from skinlesion.errors import SkinlesionError
from skinlesion.lessons.copies import Copies, copy_lessons
from skinlesion.text import counted, printable


def lab(
    folder: tyro.conf.Positional[Path] = Path("skinlesion-lessons"),
    *,
    copy_only: bool = False,
) -> int:
    """Copy the lessons into your own folder and open them in JupyterLab.

    A notebook that you have changed is never overwritten. After an upgrade of skinlesion, run the command again: it
    updates the notebooks that you haven't changed and lists those of yours for which there is a newer version.

    Args:
        folder: Your folder; created if missing.
        copy_only: Copy the lessons without opening JupyterLab.
    """
    if not copy_only and find_spec("jupyterlab") is None:
        raise SkinlesionError("JupyterLab is not installed: pip install 'skinlesion[course]'.")
    print(_summary(copy_lessons(bundled("notebooks"), folder), folder))
    if copy_only:
        return 0
    sys.stdout.flush()
    command = [sys.executable, "-m", "jupyterlab", str(folder / "00_start.ipynb")]
    return subprocess.run(command, env=os.environ | {"PYTHONUTF8": "1"}, check=False).returncode


def _summary(copies: Copies, folder: Path) -> str:
    lines = []
    if copies.new:
        lines.append(f"{counted(len(copies.new), 'file')} copied to {printable(folder)}.")
    if copies.updated:
        lines.append(f"Brought up to date: {', '.join(copies.updated)}.")
    if copies.kept:
        lines.append(
            f"Changed by you and left as they are, although a newer version exists: {', '.join(copies.kept)}. To see "
            "the newer version, copy the lessons to another folder."
        )
    return "\n".join(lines) or f"The lessons in {printable(folder)} are up to date."
