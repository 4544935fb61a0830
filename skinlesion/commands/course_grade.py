"""`skinlesion course grade`."""

from pathlib import Path

import tyro

from skinlesion.commands.outputs import require_new
from skinlesion.errors import SkinlesionError
from skinlesion.files import write_text
from skinlesion.lessons import grading
from skinlesion.lessons.grading.report import as_csv, as_page
from skinlesion.streams import say
from skinlesion.text import printable


def grade(
    folder: tyro.conf.Positional[Path],
    *,
    out: Path,
    overview: Path | None = None,
    lesson: tuple[int, ...] = (),
    seconds: int = 60,
    memory: int = 2048,
    jobs: int = 1,
) -> None:
    """Check the notebooks of a class: every answer in a process of its own, with limits on time and memory.

    An answer that loops forever, tampers with the checks or ends its process loses its own points and no others. Run
    it as an ordinary user, and in a container if you don't know who wrote the notebooks.

    Args:
        folder: Submissions: a folder for each student, notebooks named by student (mia_07_se.ipynb), or nbgrader's
            course folder (submitted/STUDENT/ASSIGNMENT/NOTEBOOK.ipynb).
        out: Table to write (CSV): a line for each student and exercise.
        overview: Page to write (HTML); by default next to the table.
        lesson: Lessons to grade; by default those that anyone has handed in.
        seconds: Time limit of one answer.
        memory: Memory limit of one answer, in MB.
        jobs: Number of answers to check at the same time.
    """
    if min(seconds, memory, jobs) < 1:
        raise SkinlesionError("--seconds, --memory and --jobs must be at least 1.")
    page = out.with_suffix(".html") if overview is None else overview
    require_new([out, page])

    def tell(student: str, done: int, total: int) -> None:
        say(f"{done} of {total}: {printable(student)}")

    grades = grading.grade(folder, lessons=lesson, seconds=seconds, memory=memory, jobs=jobs, progress=tell)
    write_text(out, as_csv(grades))
    write_text(page, as_page(grades))
    students = len({each.student for each in grades})
    passed = sum(each.status == "passed" for each in grades)
    print(f"{students} students, {passed} of {len(grades)} answers passed: {printable(out)}, {printable(page)}")
