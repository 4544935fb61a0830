"""An output folder for one process at a time."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder
from skinlesion.text import printable

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")  # as `skinlesion.files.replacing` names them


@contextmanager
def reserved(folder: str | Path) -> Iterator[Path]:
    """Make an output folder, and keep other processes of this package out of it inside the block.

    The system releases the lock when a process is killed, and no file is left behind. Temporary files of a killed
    process are removed; on leaving the block, so are the folders that were created here, if they are empty. On a file
    system without locks, other processes aren't kept out.

    Yields:
        The folder.

    Raises:
        SkinlesionError: the folder cannot be made or written to, or another process works in it.
    """
    folder = Path(folder)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        make_folder(folder)
        with _locked(folder):
            for path in (*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")):
                if _TEMPORARY.fullmatch(path.name) and path.is_file():
                    path.unlink(missing_ok=True)
            yield folder
    finally:
        with contextlib.suppress(OSError):  # it holds something by now
            for each in made:
                each.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        number = _lock(folder)
    except _BUSY as error:
        raise SkinlesionError(
            f"Another process is working in {printable(folder)}: wait until it ends, or choose another folder."
        ) from error
    except OSError:  # a network file system without locks
        yield
        return
    try:
        yield
    finally:
        os.close(number)


if sys.platform == "win32":
    import msvcrt

    _BUSY = PermissionError

    def _lock(folder: Path) -> int:
        """Windows has no locks on folders; the file goes with the process."""
        number = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_TEMPORARY)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        return number

else:
    import fcntl

    _BUSY = BlockingIOError

    def _lock(folder: Path) -> int:
        number = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(number)
            raise
        return number
