"""Standard output and standard error in surroundings that lack them: closed, full, or without an alphabet."""

import io
import os
import sys


def mend() -> None:
    """Make both usable, whatever the process was started with.

    A closed stream becomes one that discards: else the next file that is opened would get its number, and what a
    library writes to the terminal would land in that file. A name that the terminal can't show is written out.
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
    """Send the rest of standard output nowhere: what cannot be written must not fail once more when Python exits."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # a stream in memory
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def say(line: str) -> None:
    """Print a line on standard error. Where even that fails, the exit code has to do."""
    try:
        sys.stdout.flush()  # what was printed before comes first
    except OSError:
        discard_output()
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 as long as the process
