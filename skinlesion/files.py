"""Atomic writes, and clear messages when a file cannot be written."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skinlesion.errors import FULL, MachineError, SkinlesionError
from skinlesion.text import printable


def make_folder(folder: str | Path) -> Path:
    """Make a folder for output, with its parents, and check that it can be written to.

    Raises:
        SkinlesionError: it cannot be made or written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name in the same folder, and rename it when it is complete.

    Yields:
        The temporary path, which does not exist yet. If the block raises, it is removed and `path` stays as it
        was.

    Raises:
        SkinlesionError: the file cannot be written (no permission, a full disk, ...).
    """
    path = Path(path)
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file, UTF-8, by `replacing`; what UTF-8 cannot hold (half of a pair) is written out."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def cannot_write(path: Path, error: OSError) -> SkinlesionError:
    """What to raise for a file that the system refused to write."""
    if error.errno in FULL:
        return MachineError(f"Cannot write {printable(path)}: {error.strerror}. Free space, or choose another folder.")
    return SkinlesionError(f"Cannot write {printable(path)}: {error.strerror or error}. Choose another folder.")
