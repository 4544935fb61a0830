"""Errors in code that isn't part of the package, as one sentence that names the line; see `skinlesion.extend`."""

import os
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skinlesion.errors import FULL, MachineError, SkinlesionError, is_out_of_memory
from skinlesion.text import printable

# Where many mistakes surface, but none of the user's own lines are.
_PACKAGE = f"{Path(__file__).parent}{os.sep}"
_STANDARD = tuple(f"{sysconfig.get_paths()[name]}{os.sep}" for name in ("stdlib", "platstdlib"))
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@contextmanager
def named_errors(failure: str, *, built_in: bool = False) -> Iterator[None]:
    """Turn an error in a user's code into one sentence.

    Errors that aren't the code's fault pass through: running out of memory or disk space, a closed pipe (`| head`), and
    an operation that the Apple GPU lacks.

    Args:
        failure: what happened, such as "The network 'mine' cannot be built".
        built_in: let errors through unchanged, since they would be bugs in this package.

    Raises:
        SkinlesionError: with the user's file and line, if the error comes from one, the error's type, and its message.
    """
    try:
        yield
    except Exception as error:  # whatever somebody's code raises
        if built_in or _is_machines(error):
            raise
        kind = "" if isinstance(error, SkinlesionError) else type(error).__name__
        text = ": ".join(filter(None, (failure + _place(error), kind, printable(" ".join(str(error).split())))))
        raise SkinlesionError(text if text.endswith((".", "!", "?")) else f"{text}.") from error


def _is_machines(error: Exception) -> bool:
    lacks = isinstance(error, NotImplementedError) and "mps" in str(error).lower()
    full = isinstance(error, OSError) and error.errno in FULL
    return isinstance(error, MachineError | BrokenPipeError) or lacks or full or is_out_of_memory(error)


def _place(error: BaseException) -> str:
    """The last of the user's own lines that led to an error: " (mine.py, line 3)"; "" if none did."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_known(frame.filename)]
    return f" ({printable(Path(own[-1].filename).name)}, line {own[-1].lineno})" if own else ""


def _is_known(path: str) -> bool:
    return path.startswith(("<frozen", _PACKAGE, *_STANDARD)) or any(folder in path for folder in _INSTALLED)
