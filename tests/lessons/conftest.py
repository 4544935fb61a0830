"""No test touches the reader's own progress."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def progress_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "reader" / "progress.json"
    monkeypatch.setenv("SKINLESION_PROGRESS", str(path))
    return path
