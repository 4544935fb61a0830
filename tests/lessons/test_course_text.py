"""Quizzes give nothing away, times are honest, finished code passes, and quoted numbers are those that were printed."""

import math
import re

import numpy as np
import pytest
import torch

from skinlesion import lessons
from skinlesion.lessons import example
from skinlesion.lessons.build import NOTEBOOKS, finished
from skinlesion.lessons.catalog import LESSONS, Lesson, find
from skinlesion.lessons.example import shown, worked_example
from skinlesion.lessons.lint import choices
from skinlesion.lessons.notebook import make_notebook, read_source
from skinlesion.lessons.quotes import printed, quotes, supported, unsupported
from skinlesion.lessons.timing import minutes

every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.slug)


def source(lesson: Lesson) -> list:
    return read_source(NOTEBOOKS / "src" / f"{lesson.number:02}_{lesson.slug}.py")


QUIZZES = [(lesson, cell) for lesson in LESSONS for cell in source(lesson) if cell["kind"] == "quiz"]


def test_neither_length_nor_position_gives_the_right_choice_away():
    questions = [question for _, cell in QUIZZES for question in choices(cell["source"])]
    by_chance = sum(1 / len(question) for question in questions)
    allowed = by_chance + math.sqrt(by_chance)  # about one standard deviation
    for extreme in (max, min):
        score = 0.0
        for question in questions:
            length = extreme(len(text) for text, _ in question)
            picked = [right for text, right in question if len(text) == length]
            score += sum(picked) / len(picked)  # of choices of equal length one is guessed
        assert score <= allowed, extreme
    places = [0, 0, 0]
    for lesson, _ in QUIZZES:
        shown = make_notebook(lesson, source(lesson), "exercises")["cells"]
        text = next("".join(each["source"]) for each in shown if "## Recap" in "".join(each["source"]))
        for question in text.split("\n\n**")[1:]:
            places[
                [fold.startswith("✓", fold.index("\n\n") + 2) for fold in question.split("<details>")[1:]].index(True)
            ] += 1
    assert sum(places) == len(questions)
    assert max(places) <= by_chance + 2 * math.sqrt(by_chance)


@every_lesson
def test_the_time_of_a_lesson_is_the_sum_of_its_parts(lesson: Lesson):
    assert lesson.minutes == minutes(source(lesson))


@every_lesson
def test_each_lesson_has_a_bonus_exercise(lesson: Lesson):
    assert any(exercise.bonus for exercise in lessons.exercises(lesson.number))


@every_lesson
def test_the_finished_code_passes_the_checks(lesson: Lesson):
    path, _ = finished(lesson)
    scope: dict = {"__name__": path.stem}
    exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), scope)
    names = {cell["exercise"]: cell["source"] for cell in source(lesson) if cell["exercise"]}
    tried = 0
    for exercise in (find(name) for name in names):
        if exercise.is_function:
            function = names[exercise.name].split("def ", 1)[1].split("(", 1)[0]
            result = lessons.check(exercise.name, scope[function])
            assert result.status == "passed", result
            tried += 1
    assert tried


def nudged(value, sign):
    """All floats in a value, off by two or three roundings; whole numbers stay, since sums of them are exact."""
    if isinstance(value, tuple | list):
        return type(value)(nudged(each, sign) for each in value)
    if isinstance(value, dict):
        return {key: nudged(each, sign) for key, each in value.items()}
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return torch.where(value == value.round(), value, value * (1 + sign * 2.5 * torch.finfo(value.dtype).eps))
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.where(value == value.round(), value, value * (1 + sign * 2.5 * np.finfo(value.dtype).eps))
    return value * (1 + sign * 1e-15) if isinstance(value, float) else value


@pytest.mark.parametrize("exercise", lessons.exercises(), ids=lambda e: e.name)
def test_a_worked_example_is_computed_by_the_solution(exercise, monkeypatch):
    name = next(
        cell["source"].split("def ", 1)[1].split("(", 1)[0] if exercise.is_function else ""
        for lesson in LESSONS
        for cell in source(lesson)
        if cell["exercise"] == exercise.name
    )
    text = worked_example(exercise, name)
    assert name in text
    assert " at 0x" not in text
    assert worked_example(exercise, name) == text  # nothing in it is random
    for sign in (-1, 1):  # another machine rounds differently, and its notebooks must be the same
        with monkeypatch.context() as patch:
            patch.setattr(example, "shown", lambda value, sign=sign: shown(nudged(value, sign)))
            assert worked_example(exercise, name) == text
    assert 1 <= exercise.importance <= 5
    if not exercise.is_function and not isinstance(exercise.solution, tuple):
        answer = rf"(?<![\d.]){re.escape(str(exercise.solution))}(?![\d.])"
        assert not re.search(answer, text)  # a neighboring case, not the answer


def test_numbers_of_prose_are_found_as_they_are_quoted():
    text = "Dice 0.41, 12% of 1,234 images, `x = 0.99`, $0.5 x$, lesson 3, eq. 2 and seven of 8; 12.6 million."
    assert [quote.text for quote in quotes(text)] == ["0.41", "12%", "1,234", "12.6 million"]
    quote = quotes("0.41")[0]
    assert supported(quote, [0.4149])
    assert not supported(quote, [0.416])
    assert supported(quotes("12%")[0], [0.118])
    assert supported(quotes("12.6 million")[0], printed("12,638,496"))


def test_a_number_that_no_cell_prints_is_found():
    prose = {
        "type": "markdown",
        "source": "It is 0.72, not 0.35 (A5 says 0.5).",
        "kind": "",
        "exercise": "",
        "given": "0.5",
    }
    code = {"type": "code", "source": "print(score)", "kind": "", "exercise": "", "given": ""}
    solved = {"cells": [{"cell_type": "code", "source": ["print(score)"], "outputs": [{"text": ["score 0.7183"]}]}]}
    assert unsupported([code, prose], solved) == ['0.35 ("It is 0.72, not 0.35 (A5 ..")']


def test_a_prediction_is_kept_and_shown_beside_the_outcome(progress_path, capsys):
    lessons.predict("7.1", ...)
    assert "in place of the dots" in capsys.readouterr().out
    lessons.predict("7.1", {"without SE": 0.5})
    lessons.predict("7.1", {"without SE": 0.7})
    lessons.happened("7.1", {"without SE": 0.7231})
    out = capsys.readouterr().out
    assert "What happened (7.1): without SE 0.723" in out
    assert out.rstrip().endswith("You predicted: without SE 0.7")
    assert [made["guess"] for made in lessons.predictions()["7.1"]] == ["without SE 0.5", "without SE 0.7"]
    assert (progress_path.parent / "predictions.json").exists()


def test_the_plans_for_teaching_add_up():
    """A week's hours are its lessons' minutes and half as much again; what a lesson needs was taught or is named."""
    text = (NOTEBOOKS.parent / "docs" / "teaching.md").read_text(encoding="utf-8")
    minutes = {lesson.number: lesson.minutes for lesson in LESSONS}
    plans = re.findall(r"^### (\d+) weeks, about ([\d.]+) hours a week[^#]*", text, re.M)
    tables = re.split(r"^### ", text, flags=re.M)[1:]
    assert len(plans) == 3
    for (weeks, a_week), table in zip(plans, tables, strict=True):
        rows = re.findall(r"^\| \d+ \| ([\d, ]+) \| ([\d.]+) \|", table, re.M)
        assert len(rows) == int(weeks)
        hours = [sum(minutes[int(number)] for number in numbers.split(",")) * 1.5 / 60 for numbers, _ in rows]
        assert [float(said) for _, said in rows] == [round(2 * each) / 2 for each in hours]
        assert float(a_week) == round(2 * sum(hours) / len(hours)) / 2
        taught = [int(number) for numbers, _ in rows for number in numbers.split(",")]
        reading = re.split(r"^## ", table.rsplit("|\n", 1)[1], flags=re.M)[0]
        for at, number in enumerate(taught):
            missing = set(LESSONS[number].needs) - set(taught[:at])
            assert missing <= {int(each) for each in re.findall(r"\d+", reading)}, (weeks, number)
