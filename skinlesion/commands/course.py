"""`skinlesion course`."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from skinlesion.commands.outputs import write_json
from skinlesion.lessons import LESSONS, completion, exercises

_FOLDER = "notebooks"


def course(*, lesson: int | None = None, reset: bool = False, json: Path | None = None) -> None:
    """List the lessons of the course and the exercises that you have passed.

    When a check passes in a notebook, your progress is saved to a small file in your user folder. The environment
    variable SKINLESION_PROGRESS sets another file, or `off` to save nothing.

    Args:
        lesson: Show this lesson's exercises only.
        reset: Clear the record of passed exercises, of all lessons or of --lesson.
        json: File for the result as JSON; - for standard output. Replaces the tables.
    """
    names = None if lesson is None else [exercise.name for exercise in exercises(lesson)]
    if reset:
        count = completion.reset(names)
        print(f"Cleared the record of {count} passed exercise{'' if count == 1 else 's'}.")
        return
    found = [row for row in _rows() if lesson in (None, row["lesson"])]
    if json is not None:
        write_json(found, json)
    elif lesson is None:
        _overview(found)
    else:
        _one(found[0])


def _rows() -> list[dict[str, Any]]:
    done = completion.passed()
    return [
        {
            "lesson": lesson.number,
            "title": lesson.title,
            "notebook": f"{_FOLDER}/{lesson.file}",
            "minutes": lesson.minutes,
            "needs": list(lesson.needs),
            "exercises": {each.name: done.get(each.name) for each in exercises(lesson.number)},
        }
        for lesson in LESSONS
    ]


def _overview(rows: list[dict[str, Any]]) -> None:
    table = Table("lesson", "title", "minutes", "passed", box=None, pad_edge=False)
    following = None
    for row in rows:
        answers = row["exercises"].values()
        count = sum(when is not None for when in answers)
        if following is None and count < len(answers):
            following = row
        mark = " ✓" if answers and count == len(answers) else ""
        table.add_row(str(row["lesson"]), row["title"], str(row["minutes"]), f"{count} of {len(answers)}{mark}")
    Console(highlight=False).print(table)
    if following is None:
        print("You have passed every exercise.")
    else:
        print(f"Next: {following['notebook']} ({following['title']}). `make lab` opens JupyterLab.")


def _one(row: dict[str, Any]) -> None:
    print(f"Lesson {row['lesson']}. {row['title']} ({row['minutes']} min): {row['notebook']}")
    for name, when in row["exercises"].items():
        print(f"  {'✓' if when else '·'} {name}" + (f"  passed {when[:10]}" if when else ""))
