"""The course: exercises, their checks, hints and solutions, and the reader's progress.

>>> from skinlesion import lessons
>>> lessons.check("ss2d.four_routes", lambda height, width: None)      # doctest: +SKIP
>>> lessons.hint("ss2d.four_routes"), lessons.solution("ss2d.four_routes")      # doctest: +SKIP
"""

from skinlesion.lessons.catalog import LESSONS, Lesson, exercises
from skinlesion.lessons.checker import check
from skinlesion.lessons.help import hint, solution
from skinlesion.lessons.prediction import happened, predict, predictions
from skinlesion.lessons.result import CheckResult
from skinlesion.lessons.session import FAST, setup, use
from skinlesion.lessons.substitution import plug, plugged

__all__ = [
    "FAST",
    "LESSONS",
    "CheckResult",
    "Lesson",
    "check",
    "exercises",
    "happened",
    "hint",
    "plug",
    "plugged",
    "predict",
    "predictions",
    "setup",
    "solution",
    "use",
]
