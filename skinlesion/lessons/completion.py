"""Which checks this reader has passed: a small JSON file, safe with several kernels at once."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from skinlesion.errors import SkinlesionError
from skinlesion.files import write_text

VARIABLE = "SKINLESION_PROGRESS"
OFF = "off"
_PATIENCE = 5.0  # seconds to wait for another kernel; it needs milliseconds


def progress_file() -> Path | None:
    """Where progress is kept: what SKINLESION_PROGRESS names, else the platform's folder; None when it says "off"."""
    named = os.environ.get(VARIABLE)
    if named:
        return None if named == OFF else Path(named).expanduser()
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return folder / "skinlesion" / "progress.json"


def passed() -> dict[str, str]:
    """Names of the exercises passed, with the time (UTC) of the first pass.

    Raises:
        SkinlesionError: the file cannot be read, or is not a progress file.
    """
    path = progress_file()
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["passed"]
        if not all(isinstance(text, str) for item in found.items() for text in item):
            raise ValueError("not names and times")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SkinlesionError(
            f"{path} cannot be read: {error.strerror or error}. Name another file in {VARIABLE}."
        ) from error
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SkinlesionError(f"{path} is damaged: delete it, or run `skinlesion course --reset`.") from error
    return dict(sorted(found.items()))


def record(name: str) -> None:
    """Note that an exercise was passed; the first time counts.

    Raises:
        SkinlesionError: it cannot be written.
    """
    path = progress_file()
    if path is None or name in passed():
        return
    with _locked(path):
        found = passed()  # again: another kernel may have written since
        found.setdefault(name, datetime.now(UTC).isoformat(timespec="seconds"))
        _write(path, found)


def reset(names: list[str] | None = None) -> int:
    """Forget exercises, all of them by default; returns how many were forgotten.

    Raises:
        SkinlesionError: the file cannot be written.
    """
    path = progress_file()
    if path is None or not path.exists():
        return 0
    with _locked(path):
        if names is None:
            try:
                count = len(passed())
            except SkinlesionError:  # damaged: this is how to get rid of it
                count = 0
            path.unlink()
            return count
        found = passed()
        kept = {name: when for name, when in found.items() if name not in names}
        _write(path, kept)
        return len(found) - len(kept)


def _write(path: Path, found: dict[str, str]) -> None:
    write_text(path, json.dumps({"version": 1, "passed": found}, indent=1) + "\n")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time: whoever can create the lock file. A lock that a killed kernel left behind is removed."""
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock)
    except OSError as error:
        message = f"Progress cannot be kept in {path}: {error.strerror or error}. Name another file in {VARIABLE}."
        raise SkinlesionError(message) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _acquire(lock: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if time.monotonic() > end:  # nobody holds it that long
                lock.unlink(missing_ok=True)
                end = time.monotonic() + _PATIENCE
            time.sleep(0.01)
        except PermissionError:  # Windows says this while another process deletes the lock
            if sys.platform != "win32" or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return
