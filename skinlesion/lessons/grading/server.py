"""The process that forks one process for each answer: requests on stdin, verdicts on stdout, one JSON a line.

It has loaded torch and the exercises once, and never runs a student's code itself. For each answer it forks twice: a
restricted process defines and tries the answer and sends what it returned; a second one, in which nothing of the
student's has run, compares that with the solution. Whatever the first leaves behind is killed.
"""

import contextlib
import ctypes
import importlib
import json
import os
import secrets
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from skinlesion.lessons import checker
from skinlesion.lessons.catalog import exercises
from skinlesion.lessons.grading import judge, student
from skinlesion.lessons.grading.limits import restrict
from skinlesion.lessons.grading.slicing import Answer
from skinlesion.lessons.trial import run

_LARGEST = 64 * 2**20  # bytes of a result
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: orphans become children of this process, so that they can be killed


def serve() -> None:
    """Answer requests until stdin ends."""
    torch.set_num_threads(1)  # a forked process has no pool of threads
    _warm()
    for each in ("numba", "torch._dynamo"):  # loaded late otherwise, where native code can't be loaded any more
        importlib.import_module(each)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        print(json.dumps(_grade(json.loads(line))), flush=True)


def _warm() -> None:
    """Load the exercises and compile the scan, which would take seconds in every process."""
    block = next(each for each in exercises() if each.name == "block.cm_ssm_block")
    run(block, block.solution, checker.inputs(block)[0][0])


def _grade(request: dict[str, Any]) -> dict[str, str]:
    """One answer: {"exercise", "source", "expression", "private", "seconds", "memory"} -> `judge.verdict`."""
    token = secrets.token_hex(16)
    seconds, name = request["seconds"], request["exercise"]
    answer = Answer(request["source"], request["expression"])
    with tempfile.TemporaryDirectory(prefix="skinlesion-grade-", ignore_cleanup_errors=True) as folder:

        def attempt() -> str:
            restrict(Path(folder), Path(request["private"]), seconds, request["memory"])
            try:
                return token + json.dumps(student.attempt(name, answer))
            except MemoryError:
                return token + json.dumps({"error": "The answer returns more than fits in memory.", "tampered": False})

        sent, ended = _forked(attempt, seconds)
    if ended:
        return {"status": "failed", "mistake": ended, "detail": ""}
    if not sent.startswith(token):
        return {"status": "failed", "mistake": "The answer writes a result of its own.", "detail": ""}

    def verdict() -> str:
        return json.dumps(judge.verdict(name, json.loads(sent[len(token) :])))

    judged, ended = _forked(verdict, max(60, seconds))
    if ended:
        return {"status": "failed", "mistake": "The answer's result can't be judged.", "detail": ended}
    return dict(json.loads(judged))


def _forked(work: Callable[[], str], seconds: float) -> tuple[str, str]:
    """What `work` returns in a process of its own, and how it was ended where it was."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(work, reading, writing)
    os.close(writing)
    data, problem = _read(reading, time.monotonic() + seconds)
    os.close(reading)
    status = _kill(child)
    if problem or data:
        return data, problem
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        name = signal.Signals(os.WTERMSIG(status)).name
        limit = " (the time limit)" if name == "SIGXCPU" else ""
        return "", f"The answer's process was ended by {name}{limit}."
    return "", "The answer ended its process."


def _be_child(work: Callable[[], str], reading: int, writing: int) -> None:
    try:
        os.close(reading)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for each in (0, 1, 2):
            os.dup2(null, each)
        data = work().encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(writing, data) :]
    finally:
        os._exit(0)  # no cleanup of the server's, and none that the student's code has registered


def _read(pipe: int, end: float) -> tuple[str, str]:
    parts: list[bytes] = []
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return "", "The answer was stopped: it ran longer than the time limit. Is there a loop that never ends?"
        part = os.read(pipe, 2**16)
        if not part:
            return b"".join(parts).decode("utf-8", "replace"), ""
        parts.append(part)
        if sum(map(len, parts)) > _LARGEST:
            return "", f"The answer returns more than {_LARGEST // 2**20} MB."


def _kill(child: int) -> int:
    """End a child's group and everything that it has left; returns the child's status."""
    status = 0
    _wait_shortly(child)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # not yet a group: it is killed as a child below
        os.killpg(child, signal.SIGKILL)
    while True:
        for each in _children():
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            pid, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        status = ended if pid == child else status


def _wait_shortly(child: int) -> None:
    """Let a process that has closed its pipe end by itself, so that its status tells how."""
    end = time.monotonic() + 1
    while time.monotonic() < end and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.005)


def _children() -> list[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(each) for each in listed.read_text().split()] if listed.exists() else []


if __name__ == "__main__":
    serve()
