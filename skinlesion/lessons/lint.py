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
    found += _order(cells) + _predictions(lesson, cells) + _choices(cells)
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


def _predictions(lesson: Lesson, cells: list[Cell]) -> list[str]:
    """Each prediction is compared with what happened, in a cell after it; predictions are numbered in order."""
    found, number = [], 0
    code = [(i, cell["source"]) for i, cell in enumerate(cells) if cell["type"] == "code"]
    for i, cell in enumerate(cells):
        if cell["kind"] == "predict":
            number += 1
            if not any(j > i and f'happened("{lesson.number}.{number}"' in re.sub(r"\s", "", text) for j, text in code):
                found.append(f"prediction {lesson.number}.{number} is never compared with what happened")
    shown = set(re.findall(r'happened\("([\d.]+)"', re.sub(r"\s", "", "".join(text for _, text in code))))
    known = {f"{lesson.number}.{k}" for k in range(1, number + 1)}
    return found + [f"what happened is shown for {name}, which was not predicted" for name in sorted(shown - known)]


def choices(quiz: str) -> list[list[tuple[str, bool]]]:
    """The choices of each question of a quiz's source, and whether each is right."""
    found: list[list[tuple[str, bool]]] = []
    for line in re.sub(r"\n {2,}", " ", quiz).splitlines():
        if re.match(r"\d+\. ", line):
            found.append([])
        elif choice := re.match(r"- \[([ x])\] (.+?) ::", line):
            found[-1].append((choice[2], choice[1] == "x"))
    return found


def _choices(cells: list[Cell]) -> list[str]:
    """The choices of a question are about equally long, so that length gives nothing away."""
    found = []
    for cell in (cell for cell in cells if cell["kind"] == "quiz"):
        for number, question in enumerate(choices(cell["source"]), start=1):
            lengths = [len(text) for text, _ in question]
            if max(lengths) - min(lengths) > 0.35 * max(lengths) + 4:
                found.append(f"the choices of quiz question {number} have {lengths} characters")
    return found
