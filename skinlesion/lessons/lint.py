"""What every lesson owes its reader, checked on its source."""

import re
from collections.abc import Callable

from skinlesion.lessons.catalog import Lesson, exercises
from skinlesion.lessons.notebook import Cell

# kind -> type of cell, least and most number of them
KINDS: dict[str, tuple[str, int, int]] = {
    "claim": ("markdown", 1, 1),  # one sentence: what this lesson shows, by what evidence, against what control
    "objectives": ("markdown", 1, 1),
    "predict": ("markdown", 1, 99),  # asked before the result is shown
    "signature": ("code", 1, 1),  # the one figure to remember
    "control": ("code", 1, 9),  # the same measurement where the effect must be absent
    "play": ("code", 1, 9),  # something to change
    "limits": ("markdown", 1, 1),
    "quiz": ("markdown", 1, 1),
    "links": ("markdown", 1, 1),
}
_ITEMS: dict[str, tuple[str, int, int, Callable[[str], int]]] = {
    "objectives": ("objectives", 4, 7, lambda text: len(re.findall(r"^- ", text, re.M))),
    "quiz": ("questions", 3, 6, lambda text: len(re.findall(r"^\d+\. ", text, re.M))),
    "links": ("links", 3, 6, lambda text: len(re.findall(r"\]\(https?://", text))),
}


def problems(lesson: Lesson, cells: list[Cell]) -> list[str]:
    """What a lesson's source lacks; empty when nothing."""
    found = []
    for kind, (form, least, most) in KINDS.items():
        of_kind = [cell for cell in cells if cell["kind"] == kind]
        if not least <= len(of_kind) <= most:
            found.append(f"{len(of_kind)} cells of kind {kind}, needs {least} to {most}")
        found += [f"a {kind} cell is {cell['type']}, not {form}" for cell in of_kind if cell["type"] != form]
        if kind in _ITEMS and of_kind:
            name, low, high, count = _ITEMS[kind]
            number = count(of_kind[0]["source"])
            if not low <= number <= high:
                found.append(f"{number} {name}, needs {low} to {high}")
    found += [f"unknown kind {cell['kind']}" for cell in cells if cell["kind"] not in {"", *KINDS}]
    found += _order(cells)
    named = [cell["exercise"] for cell in cells if cell["exercise"]]
    owned = [exercise.name for exercise in exercises(lesson.number)]
    if sorted(named) != sorted(owned):
        found.append(f"exercises in the notebook {named} are not those of the lesson {owned}")
    return found


def _order(cells: list[Cell]) -> list[str]:
    """A prediction comes before the signature figure, and limits, quiz and links close the lesson."""
    kinds = [cell["kind"] for cell in cells]
    found = []
    if "predict" in kinds and "signature" in kinds and kinds.index("predict") > kinds.index("signature"):
        found.append("the first prediction question comes after the signature figure")
    if kinds[-3:] != ["limits", "quiz", "links"]:
        found.append("the lesson does not end with limits, quiz, links")
    if kinds[:2] != ["claim", "objectives"]:
        found.append("the lesson does not begin with claim, objectives")
    return found
