"""One text source -> two notebooks: with exercises to solve, and solved.

The source is jupytext's py:percent. A cell's header may carry `kind="..."` (its part in the lesson, see `lint`) or
`exercise="name"`: such a cell holds the solution, one function or one assignment; the exercise notebook gets a stub.
"""

import ast
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from skinlesion.errors import SkinlesionError
from skinlesion.lessons.catalog import LESSONS, Lesson, find
from skinlesion.lessons.cloud import INSTALL, badges, repository
from skinlesion.lessons.example import worked_example

Cell = dict[str, Any]
Version = Literal["exercises", "solutions"]
GLOSSARY = "glossary.md"


def read_source(path: Path) -> list[Cell]:
    """The cells of a py:percent file: {"type": "code" or "markdown", "source", "kind", "exercise", "given"}."""
    import jupytext

    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    return [
        {
            "type": cell.cell_type,
            "source": cell.source,
            "kind": cell.metadata.get("kind", ""),
            "exercise": cell.metadata.get("exercise", ""),
            "given": cell.metadata.get("given", ""),
        }
        for cell in notebook.cells
    ]


def make_notebook(lesson: Lesson, cells: list[Cell], version: Version) -> dict[str, Any]:
    """A notebook as nbformat's JSON, without outputs.

    Raises:
        SkinlesionError: an exercise cell is not one function or one assignment.
    """
    made: list[tuple[str, str]] = [("markdown", _header(lesson, version)), ("code", INSTALL)]
    number = predictions = 0
    for cell in cells:
        if cell["exercise"]:
            number += 1
            made += _exercise(lesson, number, cell, version)
        elif cell["kind"] == "quiz":
            made.append(("markdown", quiz(cell["source"])))
        else:
            text = cell["source"]
            made.append((cell["type"], _relink(text, version) if cell["type"] == "markdown" else text))
        if cell["kind"] == "predict":
            predictions += 1
            if version == "exercises":
                made.append(
                    ("code", f'lessons.predict("{lesson.number}.{predictions}", ...)  # your answer for the dots')
                )
    made.append(("markdown", f"---\n{_navigation(lesson, version)}"))
    return {
        "cells": _with_ids(made),
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _relink(text: str, version: Version) -> str:
    """Links to files other than lessons, as seen from the folder of this version."""
    return re.sub(r"\]\((?=[\w.]+[\w./-]*\))(?!\d\d_)", "](../", text) if version == "solutions" else text


def _with_ids(made: list[tuple[str, str]]) -> list[Cell]:
    """Cells with ids that depend on how a cell begins, so that an edit further down keeps them."""
    seen: Counter[str] = Counter()
    cells = []
    for kind, source in made:
        begin = hashlib.sha256(f"{kind} {source[:60]}".encode()).hexdigest()[:12]
        seen[begin] += 1
        cell: Cell = {"cell_type": kind, "id": f"{begin}-{seen[begin]}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        if source == INSTALL:
            cell["metadata"] = {"jupyter": {"source_hidden": True}, "tags": ["remove-cell"]}  # folded; not on the site
        cells.append(cell | {"source": source.splitlines(keepends=True)})
    return cells


def _header(lesson: Lesson, version: Version) -> str:
    needs = ", ".join(_link(each) for each in LESSONS if each.number in lesson.needs) or "nothing"
    up = "../" if version == "solutions" else ""
    other = f"[exercises](../{lesson.file})" if up else f"[solved](solutions/{lesson.file})"
    facts = [
        f"**Time** {lesson.minutes} min",
        f"**Memory** {lesson.memory} MB",
        "**Machine** 2 CPU cores, no GPU, no download",
        f"**Paper** {lesson.paper}",
        f"**Needs** {needs}",
        f"[glossary]({up}{GLOSSARY})",
        other,
    ]
    solved = "\n\n*This is the solved lesson: it shows every answer.*" if up else ""
    navigation = _navigation(lesson, version)
    links = badges(repository(), f"notebooks/{'solutions/' if up else ''}{lesson.file}")
    return f"# Lesson {lesson.number}. {lesson.title}\n\n{links}\n\n{navigation}\n\n{' · '.join(facts)}{solved}"


def _link(lesson: Lesson) -> str:
    return f"[{lesson.number}. {lesson.title}]({lesson.file})"


def _navigation(lesson: Lesson, version: Version) -> str:
    place = LESSONS.index(lesson)
    before = f"← {_link(LESSONS[place - 1])}" if place else "← (first lesson)"
    after = f"{_link(LESSONS[place + 1])} →" if place + 1 < len(LESSONS) else "(last lesson) →"
    return f"{before} | {after}"


def _exercise(lesson: Lesson, number: int, cell: Cell, version: Version) -> list[tuple[str, str]]:
    exercise = find(cell["exercise"])
    name, stub = make_stub(cell["source"], exercise.name)
    kind = "Bonus exercise" if exercise.bonus else "Exercise"
    statement = (
        f"### {kind} {lesson.number}.{number}: {exercise.title}\n\n`{exercise.name}` · "
        f"difficulty {_dots(exercise.difficulty)} · importance {_dots(exercise.importance)} · "
        f"about {exercise.minutes} min\n\n{exercise.statement.strip()}\n\n{worked_example(exercise, name)}"
    )
    check = f'lessons.check("{exercise.name}", {name})'
    solved = version == "solutions"
    made = [("markdown", statement), ("code", cell["source"] if solved else stub), ("code", check)]
    if not solved:
        folds = [_fold(f"Hint {i}", hint) for i, hint in enumerate(exercise.hints, start=1)]
        folds.append(_fold("Solution", f"```python\n{cell['source']}\n```"))
        made.append(("markdown", "\n".join(folds)))
    return made


def _dots(level: int) -> str:
    return "●" * level + "○" * (5 - level)


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def make_stub(source: str, exercise: str) -> tuple[str, str]:
    """The name that an exercise cell defines, and the cell with the answer taken out.

    Raises:
        SkinlesionError: the cell is not one function or one assignment.
    """
    body = ast.parse(source).body
    only = body[0] if len(body) == 1 else None
    if isinstance(only, ast.Assign) and isinstance(only.targets[0], ast.Name):
        name = only.targets[0].id
        return name, f"{name} = None  # your answer"
    if not isinstance(only, ast.FunctionDef):
        raise SkinlesionError(f"The cell of exercise {exercise} must hold one function or one assignment.")
    if ast.get_docstring(only) is None:
        raise SkinlesionError(f"The function of exercise {exercise} needs a docstring: the student reads it.")
    lines = source.splitlines()[: only.body[0].end_lineno]
    return only.name, "\n".join([*lines, f'    raise NotImplementedError("{exercise}")'])


def quiz(source: str) -> str:
    """Questions whose choices unfold. "1. question", "- [ ] choice :: explanation", "- [x] ..." for the right one.

    Indented lines go on with the one before. Choices are shown in an order that depends on the question's text alone,
    so that the place of the right one gives nothing away.

    Raises:
        SkinlesionError: a choice without an explanation, or a question without exactly one right choice.
    """
    head, *questions = re.split(r"^(?=\d+\. )", re.sub(r"\n {2,}", " ", source), flags=re.M)
    out = [head.rstrip("\n")] if head.strip() else []
    for number, text in enumerate(questions, start=1):
        lines = [line for line in text.splitlines() if line.strip()]
        out += ["", f"**{lines[0].strip()}**"]
        folds = []
        for line in lines[1:]:
            choice = re.fullmatch(r"- \[([ x])\] (.+?) :: (.+)", line)
            if not choice:
                raise SkinlesionError(f"Quiz: this choice needs ' :: ' and an explanation: {line}")
            right = choice[1] == "x"
            shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", choice[2])
            folds.append((right, _fold(shown, f"{'✓ Yes.' if right else '✗ No.'} {choice[3]}")))
        if sum(right for right, _ in folds) != 1:
            raise SkinlesionError(f"Quiz: question {number} needs exactly one [x].")
        out += [folds[place][1] for place in quiz_order(lines[0], len(folds))]
    return "\n".join(out).strip("\n")


def quiz_order(question: str, choices: int) -> list[int]:
    """The order in which a question's choices are shown."""
    return sorted(range(choices), key=lambda place: hashlib.sha256(f"{place} {question}".encode()).digest())


def dump(notebook: dict[str, Any]) -> str:
    """A notebook as the text of its file."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
