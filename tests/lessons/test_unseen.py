"""Answers that the bank doesn't hold, one data file for each lesson: wrong ones are rejected, right ones pass.

A data file has two lists: WRONG with (exercise, answer, what the message must match), RIGHT with (exercise, answer).
"""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from skinlesion import lessons
from skinlesion.lessons.catalog import find
from skinlesion.lessons.compare import describe, difference


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"answers_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ANSWERS = {path.stem: _loaded(path) for path in sorted((Path(__file__).parent / "answers").glob("lesson_*.py"))}
WRONG = [pytest.param(*row, id=f"{row[0]}-{i}") for data in ANSWERS.values() for i, row in enumerate(data.WRONG)]
RIGHT = [pytest.param(*row, id=f"{row[0]}-{i}") for data in ANSWERS.values() for i, row in enumerate(data.RIGHT)]


@pytest.mark.parametrize(("name", "answer", "says"), WRONG)
def test_a_wrong_answer_is_rejected_by_name(name, answer, says):
    result = lessons.check(name, answer)
    assert result.status == "failed"
    assert re.search(says, f"{result.headline} {result.message} {result.likely}", re.DOTALL), result


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_an_unusual_right_answer_passes(name, answer):
    result = lessons.check(name, answer)
    assert result, result


@pytest.mark.parametrize("stem", ANSWERS)
def test_each_answer_stands_in_the_file_of_its_lesson(stem):
    data = ANSWERS[stem]
    assert {f"lesson_{find(row[0]).lesson:02}" for row in (*data.WRONG, *data.RIGHT)} == {stem}


def test_what_a_function_does_to_an_argument_is_named():
    assert "requires_grad" in str(lessons.check("se.squeeze", lambda x: x.requires_grad_(False).mean(dim=(1, 2))))


def test_float32_for_float64_is_named():
    found = difference(torch.ones(2), torch.ones(2).double(), 0, 0)
    assert found is not None
    assert "float32" in found.likely


def test_a_lambda_is_used_like_a_function():
    def answer(x):
        return torch.einsum("bhwc->bc", x) / (x.shape[1] * x.shape[2])

    answer.__name__ = "<lambda>"
    assert lessons.use("se.squeeze", answer) is answer


def test_an_object_that_cannot_be_shown_is_described():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    assert "Odd" in describe(Odd())
    assert not lessons.check("se.squeeze", lambda x: Odd())
