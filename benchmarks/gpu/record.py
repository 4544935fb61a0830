"""What the run has found so far: gpu.json and gpu.md, written after every finding."""

import json
from pathlib import Path
from typing import Any

from gpu.page import page
from skinlesion.files import make_folder, write_text


class Record:
    """The two files of a run. Only one process writes at a time; each write replaces a whole file.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        self.path = folder / "gpu.json"
        self.values: dict[str, Any] = json.loads(self.path.read_text("utf-8")) if self.path.exists() else {}

    def step(self, name: str) -> dict[str, Any]:
        """The findings of a step; change them, then call `save`."""
        steps: dict[str, Any] = self.values.setdefault("steps", {})
        found: dict[str, Any] = steps.setdefault(name, {})
        return found

    def save(self) -> None:
        """Write both files."""
        write_text(self.path, json.dumps(self.values, indent=1) + "\n")
        write_text(self.folder / "gpu.md", page(self.values))
