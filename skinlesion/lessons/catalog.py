"""The lessons in order, and the exercises by name."""

import difflib
import functools
from dataclasses import dataclass
from importlib import import_module

from skinlesion.errors import SkinlesionError
from skinlesion.lessons.exercise import Exercise


@dataclass(frozen=True)
class Lesson:
    """One lesson of the course.

    Attributes:
        number: its place.
        slug: file name without number and ending.
        title: what it is about.
        minutes: that a student should expect to spend, exercises included.
        memory: that its notebook needs, in MB, measured.
        needs: numbers of the lessons that it builds on.
        paper: the paper's sections and equations.
        bank: module of `skinlesion.lessons.tasks` with its exercises; "" for none.
    """

    number: int
    slug: str
    title: str
    minutes: int
    memory: int
    needs: tuple[int, ...]
    paper: str
    bank: str = ""

    @property
    def file(self) -> str:
        """Name of its notebook."""
        return f"{self.number:02}_{self.slug}.ipynb"


LESSONS: tuple[Lesson, ...] = (
    Lesson(0, "start", "Start here", 30, 900, (), "abstract and Figure 1", "start"),
    Lesson(1, "lesions", "Seeing lesions", 65, 1100, (), "sections 1 and 4.1", "lesions"),
    Lesson(2, "scores", "Scores and the supervised loss", 65, 900, (), "sections 3.4 and 4.2, eqs. 11-14", "scores"),
    Lesson(3, "unet", "A U-Net and its weaknesses", 60, 1100, (2,), "sections 1 and 2.1", "unet"),
    Lesson(4, "state_spaces", "State spaces and the selective scan", 105, 900, (), "sections 2.2 and 3.2", "ssm"),
    Lesson(5, "ss2d", "SS2D: a scan over an image", 85, 1100, (4,), "section 3.2", "ss2d"),
    Lesson(6, "fast_scan", "Making the scan fast", 60, 1200, (4, 5), "section 2.2", "fast_scan"),
    Lesson(7, "se", "Squeeze-and-excitation", 40, 900, (5,), "section 3.2", "se"),
    Lesson(8, "cmn", "The channel-mixing network", 45, 900, (7,), "section 3.2", "cmn"),
    Lesson(9, "block", "The CM-SSM block", 75, 1300, (5, 7, 8), "section 3.2, Figure 2", "block"),
    Lesson(10, "cra", "Cross-region attention", 50, 900, (7,), "section 3.3, eqs. 1-7", "cra"),
    Lesson(11, "network", "The whole network", 80, 1300, (9, 10), "section 3.1, Figure 1", "network"),
    Lesson(12, "distillation", "Feature distillation", 80, 1600, (2,), "section 3.4, eqs. 8-10", "distill"),
    Lesson(13, "training", "Training", 65, 1300, (2, 11, 12), "section 4.3", "training"),
    Lesson(14, "looking_inside", "Looking inside", 65, 2000, (7, 10, 11), "sections 3.2 and 3.3", "looking"),
    Lesson(
        15, "critique", "Reading a paper critically", 65, 900, (2, 12), "sections 4.3 and 4.4, Tables 1-5", "critique"
    ),
    Lesson(16, "intervention", "Reaching in", 50, 1300, (7, 10, 11, 14), "sections 3.2 and 3.3", "intervention"),
)


@functools.cache
def _by_name() -> dict[str, Exercise]:
    found: dict[str, Exercise] = {}
    for lesson in LESSONS:
        if lesson.bank:
            bank = import_module(f"skinlesion.lessons.tasks.{lesson.bank}")
            found.update({exercise.name: exercise for exercise in bank.EXERCISES})
    return found


class Exercises(tuple[Exercise, ...]):
    """Exercises as a table: name, what the student writes, minutes, title."""

    def __repr__(self) -> str:
        rows = [(e.name, e.signature, f"{e.minutes} min", e.title) for e in self]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        return "\n".join(
            "  ".join([*(f"{text:{width}}" for text, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
        )


def exercises(lesson: int | None = None) -> Exercises:
    """The exercises, of one lesson or of all, with `.name`, `.signature` and `.statement`.

    Raises:
        SkinlesionError: there is no such lesson.
    """
    if lesson is not None and lesson not in {each.number for each in LESSONS}:
        numbers = ", ".join(str(each.number) for each in LESSONS)
        raise SkinlesionError(f"There is no lesson {lesson}; the lessons are {numbers}.")
    return Exercises(each for each in _by_name().values() if lesson is None or each.lesson == lesson)


def find(name: str) -> Exercise:
    """The exercise of a name.

    Raises:
        SkinlesionError: there is none; the message proposes the nearest.
    """
    known = _by_name()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
    guess = f"did you mean {' or '.join(near)}?" if near else "lessons.exercises() lists them all."
    raise SkinlesionError(f"There is no exercise {name!r}; {guess}")
