"""Calling a stranger's function: with a time limit, on any platform, and without a traceback of our own.

The function runs in a thread of its own; when its time is up an exception is raised inside that thread. Signals would
need Unix and the main thread, and a second process could not see functions that were typed into a notebook. The price:
a single call into compiled code (one huge matrix product) cannot be interrupted; such a thread is left behind, and
the message says so.
"""

import ctypes
import linecache
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_GRACE = 1.0  # seconds that a function gets to notice that its time is up
_LOADING_GRACE = 60.0  # seconds more while a module is loaded or a kernel compiled: cut off there, it stays broken
_LOADERS = ("<frozen importlib", f"{os.sep}numba{os.sep}")


class TimeUp(BaseException):
    """Raised inside the student's thread. Not an Exception, so that `except Exception` does not stop it."""


@dataclass
class Outcome:
    """How a call ended.

    Attributes:
        value: what was returned.
        error: what was raised, if anything was.
        seconds: how long it took.
        timed_out: True when the time limit ended it.
        stuck: True when even that did not end it.
    """

    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    timed_out: bool = False
    stuck: bool = False


def call(function: Callable[[], Any], seconds: float) -> Outcome:
    """Run a function without arguments for at most `seconds`.

    Raises:
        KeyboardInterrupt: the caller was interrupted (the stop button); the function is stopped too.
    """
    outcome = Outcome()
    finished = threading.Event()
    lock = threading.Lock()

    def work() -> None:
        try:
            try:
                outcome.value = function()
            except BaseException as error:  # also SystemExit: a student's exit() must not end the kernel
                outcome.error = error
            with lock:
                finished.set()
        except TimeUp:  # it arrived after the function had ended
            finished.set()

    def stop(thread: threading.Thread) -> None:
        with lock:
            if not finished.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeUp))

    thread = threading.Thread(target=work, daemon=True, name="exercise")
    start = time.perf_counter()
    thread.start()
    try:
        outcome.timed_out = not finished.wait(seconds)
    except KeyboardInterrupt:
        _wait_for_loading(thread, finished)
        stop(thread)
        raise
    patient = True
    if outcome.timed_out:
        patient = _wait_for_loading(thread, finished)
        outcome.timed_out = not finished.is_set()
    if outcome.timed_out:
        end = time.perf_counter() + _GRACE
        with _dropped_in_destructors():
            while not finished.is_set() and time.perf_counter() < end:  # a bare `except:` may swallow the first one
                if not (patient and _is_loading(thread)):
                    stop(thread)
                finished.wait(0.1)
        outcome = Outcome(timed_out=True, stuck=not finished.is_set())
    outcome.seconds = time.perf_counter() - start
    return outcome


@contextmanager
def _dropped_in_destructors() -> Iterator[None]:
    """Print nothing where TimeUp is raised inside a destructor, which drops it; the next one ends the function."""
    usual = sys.unraisablehook

    def hook(found: Any) -> None:
        if found.exc_type is not TimeUp:
            usual(found)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual


def _wait_for_loading(thread: threading.Thread, finished: threading.Event) -> bool:
    """Wait until the thread is out of imports and Numba; False if it took too long and has to be cut off there."""
    end = time.perf_counter() + _LOADING_GRACE
    while not finished.is_set() and _is_loading(thread):
        if time.perf_counter() > end:
            return False
        finished.wait(0.1)
    return True


def _is_loading(thread: threading.Thread) -> bool:
    """Whether the thread is inside an import or inside Numba, which compiles or loads a kernel."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if any(loader in frame.f_code.co_filename for loader in _LOADERS):
            return True
        frame = frame.f_back
    return False


def explain(error: BaseException) -> str:
    """An exception in a student's function, in a few lines: what, and at which of the student's own lines."""
    text = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    lines = [what if len(what) <= 300 else what[:297] + "..."]
    where = _own_line(error)
    if where:
        lines.append(where)
    if "in-place" in what or "inplace" in what:
        lines.append(
            "An input or a value that the gradient needs was changed in place (x += ..., x[...] = ..., x.relu_()): "
            "make a new tensor instead."
        )
    if isinstance(error, RecursionError):
        lines.append("The function calls itself without end.")
    return "\n".join(lines)


def _own_line(error: BaseException) -> str:
    """The innermost line of the traceback that is in neither this package nor an installed one."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(_PACKAGE) and "site-packages" not in file and not file.startswith("<frozen"):
            source = linecache.getline(file, trace.tb_lineno).strip()
            found = f"in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" + (f": {source}" if source else "")
        trace = trace.tb_next
    return found
