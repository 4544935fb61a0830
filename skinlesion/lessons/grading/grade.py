"""Check every answer of a class.

What a student's code can't do: run at all unless an answer refers to it (see `slicing`), decide how its result is
compared with the solution (another process does that), reach the network or other processes or the submissions of
others through Python, write files outside a temporary folder, or take more time and memory than it is given. Each of
these costs the answer that tries it, and no other.

What isn't defended: an answer that calls or copies the package's own solution, since that is public; native code that a
student smuggles in, beyond the system's limits (run as an ordinary user, in a container, for strangers); and exercises
that are checked by properties, where the student's own process has to run the check: replaced functions are noticed,
but code that restores them, or that finds the result's token in memory, isn't.
"""

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skinlesion
from skinlesion.errors import MachineError, SkinlesionError
from skinlesion.lessons.catalog import LESSONS, exercises
from skinlesion.lessons.exercise import Exercise
from skinlesion.lessons.grading.slicing import Answer, answers, code_cells
from skinlesion.lessons.grading.submissions import Submission, find_submissions

_PASSED = ("passed", "reference")
_CHECK = re.compile(r"check\(\s*[\"']([\w.]+)[\"']")
_LONGEST = 600  # characters of a mistake


@dataclass(frozen=True)
class Grade:
    """One student's answer to one exercise.

    Attributes:
        student: the name of the folder or notebook.
        lesson: number.
        exercise: name.
        status: passed, failed, unsolved (the stub), missing (not in any notebook), or reference (the package's own
            function was handed in).
        mistake: the likely mistake, or what happened.
        detail: what else the check says.
    """

    student: str
    lesson: int
    exercise: str
    status: str
    mistake: str = ""
    detail: str = ""


def grade(
    folder: Path,
    *,
    lessons: Sequence[int] = (),
    seconds: int = 60,
    memory: int = 2048,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = lambda student, done, total: None,
) -> list[Grade]:
    """Check the notebooks of a class.

    Args:
        folder: see `find_submissions`.
        lessons: numbers of the lessons to grade; by default those of which any student has handed in an exercise.
        seconds: time limit of one answer, all its tests together.
        memory: MB that one answer may take.
        jobs: answers that are checked at a time.
        progress: called with each student who is done, and how many are, of how many.

    Returns:
        A grade for each student and exercise, by student, in the course's order.

    Raises:
        SkinlesionError: no submissions, no such lesson, or a system without fork.
    """
    if not hasattr(os, "fork"):
        raise SkinlesionError("Grading needs Linux or macOS: on Windows, run it in WSL.")
    asked = [each for number in lessons for each in exercises(number)] or list(exercises())
    found = [(each, *_read(each, asked)) for each in find_submissions(folder)]
    if not lessons:
        seen = {name for _, answered, _ in found for name in answered}
        numbers = {each.lesson for each in asked if each.name in seen}
        asked = [each for each in asked if each.lesson in numbers]
    limits = {"private": str(folder.resolve()), "seconds": seconds, "memory": memory}
    graded: dict[str, list[Grade]] = {}
    with _Servers(jobs) as servers, ThreadPoolExecutor(jobs) as pool:

        def one(item: tuple[Submission, dict[str, list[Answer]], str]) -> None:
            submission, answered, problem = item
            graded[submission.student] = [
                _grade(servers, submission.student, each, answered.get(each.name, []), problem, limits)
                for each in asked
            ]
            progress(submission.student, len(graded), len(found))

        for _ in pool.map(one, found):
            pass
    return [each for name in sorted(graded) for each in graded[name]]


def _read(submission: Submission, asked: Iterable[Exercise]) -> tuple[dict[str, list[Answer]], str]:
    """A student's answers by exercise, one for each notebook that has it, and what can't be read."""
    found: dict[str, list[Answer]] = {}
    problems = [] if submission.notebooks else ["No notebook was handed in."]
    for path in submission.notebooks:
        try:
            cells = code_cells(path)
            for name, answer in answers(cells, _expected(path, cells, asked)).items():
                found.setdefault(name, []).append(answer)
        except SkinlesionError as error:
            problems.append(f"{path.name}: {error}.")
    return found, " ".join(problems)


def _expected(path: Path, cells: list[str], asked: Iterable[Exercise]) -> dict[str, str]:
    """Exercises that a notebook may hold -> the name of the answer: of its lesson, and those that it checks."""
    lessons = {each.number for each in LESSONS if path.name.endswith(each.file)}
    checked = set(_CHECK.findall("\n".join(cells)))
    lessons = lessons or {each.lesson for each in asked if each.name in checked}
    return {
        each.name: getattr(each.solution, "__name__", each.name.partition(".")[2])
        for each in asked
        if each.lesson in lessons or each.name in checked
    }


def _grade(
    servers: "_Servers", student: str, exercise: Exercise, given: list[Answer], problem: str, limits: dict[str, Any]
) -> Grade:
    """The best of a student's answers to one exercise."""
    best = Grade(student, exercise.lesson, exercise.name, "missing", problem)
    for answer in given:
        judged = {"status": "failed", "mistake": answer.problem, "detail": ""}
        if not answer.problem:
            judged = servers.ask(
                {"exercise": exercise.name, "source": answer.source, "expression": answer.expression, **limits}
            )
        texts = {key: judged[key][:_LONGEST] for key in ("mistake", "detail")}
        best = Grade(student, exercise.lesson, exercise.name, judged["status"], **texts)
        if best.status in _PASSED:
            break
    return best


class _Servers:
    """Processes of `server`, each for one thread at a time; one that dies is replaced."""

    def __init__(self, count: int) -> None:
        self._free: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self._all: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()
        for _ in range(count):
            self._free.put(self._start())

    def __enter__(self) -> "_Servers":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._all:
            process.kill()
            process.communicate()

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "skinlesion.lessons.grading.server"]
        root = str(Path(skinlesion.__file__).resolve().parents[1])
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(root),
            text=True,
            start_new_session=True,
        )
        with self._lock:
            self._all.append(process)
        return process

    def ask(self, request: dict[str, Any]) -> dict[str, str]:
        """The verdict on one answer.

        Raises:
            MachineError: the server doesn't start.
        """
        server = self._free.get()
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            line = server.stdout.readline()
        except BrokenPipeError as error:
            raise MachineError("The grading process doesn't start.") from error
        if not line:
            self._free.put(self._start())
            return {"status": "failed", "mistake": "The answer ended the grading process.", "detail": ""}
        self._free.put(server)
        return dict(json.loads(line))


def _environment(root: str) -> dict[str, str]:
    """What the processes need to know, and no more: no tokens, no home folder, no GPU."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
    return kept | {
        "PYTHONPATH": root,
        "SKINLESION_PROGRESS": "off",
        "SKINLESION_FAST": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "HOME": "/nonexistent",
        "MPLCONFIGDIR": "/nonexistent",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
