"""Every check accepts its solution, rejects at least five plausible wrong answers, and says which mistake each is."""

import pytest

from skinlesion import lessons
from skinlesion.lessons.exercise import Exercise

EXERCISES = lessons.exercises()
WRONG = [pytest.param(e, wrong, id=f"{e.name}: {wrong.name}") for e in EXERCISES for wrong in e.wrong]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_solution_passes(exercise: Exercise):
    assert lessons.check(exercise.name, exercise.solution)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_at_least_five_wrong_answers_are_known(exercise: Exercise):
    assert len({wrong.diagnosis for wrong in exercise.wrong}) >= 5


@pytest.mark.parametrize(("exercise", "wrong"), WRONG)
def test_a_wrong_answer_is_rejected_and_its_mistake_is_named(exercise: Exercise, wrong):
    result = lessons.check(exercise.name, wrong.answer)
    assert not result
    assert wrong.diagnosis in (result.likely, result.message)
    assert result.hint == exercise.hints[0]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_an_exercise_says_what_a_student_needs(exercise: Exercise):
    assert exercise.lesson in {lesson.number for lesson in lessons.LESSONS}
    assert 0 <= exercise.difficulty <= 5
    assert exercise.minutes > 0
    assert 2 <= len(exercise.hints) <= 4
    assert len(exercise.statement.split()) > 10
    assert lessons.solution(exercise.name).source.strip()


def test_names_are_unique():
    names = [exercise.name for exercise in EXERCISES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("exercise", [e for e in EXERCISES if callable(e.solution)], ids=lambda e: e.name)
def test_the_source_of_a_solution_runs_when_pasted(exercise: Exercise):
    pasted: dict = {}
    source = lessons.solution(exercise.name).source
    assert "custom_op" not in source  # an operator is registered once a process
    exec(source, pasted)
    assert lessons.check(exercise.name, pasted[exercise.solution.__name__])
