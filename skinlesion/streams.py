"""Standard output and standard error where they are closed, full, or have an encoding that lacks characters."""

import io
import os
import sys


def mend() -> None:
    """Make both streams usable, however the process was started.

    A closed stream is replaced by one that discards its input. Otherwise the next file that is opened would get its
    file descriptor, and what a library prints would end up in that file. Characters that the terminal can't show are
    escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Discard the rest of standard output, so that flushing it at exit can't fail again."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # a stream in memory
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def say(line: str) -> None:
    """Print a line on standard error; if even that fails, only the exit code remains."""
    try:
        sys.stdout.flush()  # what was printed before comes first
    except OSError:
        discard_output()
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 as long as the process
