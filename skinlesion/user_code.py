"""Errors in code that isn't part of the package, as one sentence that names the line; see `skinlesion.extend`."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skinlesion.errors import SkinlesionError, is_out_of_memory
from skinlesion.text import printable

_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
_LIBRARY = f"{os.sep}site-packages{os.sep}torch{os.sep}"  # where many mistakes surface, but nobody's own lines are


@contextmanager
def named_errors(failure: str, *, built_in: bool = False) -> Iterator[None]:
    """Turn an error in a user's code into one sentence; running out of memory passes through.

    Args:
        failure: what happened, such as "The network 'mine' cannot be built".
        built_in: let errors through unchanged, since they would be bugs in this package.

    Raises:
        SkinlesionError: with the error's type, its message, and the file and line that raised it.
    """
    try:
        yield
    except SkinlesionError:
        raise
    except _MISTAKES as error:
        if built_in or is_out_of_memory(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if _LIBRARY not in frame.filename][-1]
        raise SkinlesionError(
            f"{failure}: {type(error).__name__}: {printable(error)} "
            f"({printable(Path(theirs.filename).name)}, line {theirs.lineno})."
        ) from error
