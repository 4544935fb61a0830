"""`skinlesion course`: what a student sees of the course and of their progress."""

import json
from pathlib import Path

from skinlesion import lessons
from skinlesion.lessons import completion

NAME = "ss2d.four_routes"


def test_it_lists_every_lesson_and_names_the_next_one(cli, progress_path: Path):
    code, out, err = cli("course")
    assert (code, err) == (0, "")
    for lesson in lessons.LESSONS:
        assert lesson.title[:30] in out
    assert "Next: notebooks/" in out


def test_a_passed_check_is_shown_and_can_be_forgotten(cli, progress_path: Path):
    completion.record(NAME)
    completion.record("se.parameters")
    _, out, _ = cli("course", "--lesson", 5)
    assert "✓ ss2d.four_routes  passed 20" in out
    assert "· ss2d." in out
    _, out, _ = cli("course", "--json", "-")
    rows = {row["lesson"]: row for row in json.loads(out)}
    assert rows[5]["exercises"][NAME] is not None
    assert rows[5]["notebook"] == "notebooks/05_ss2d.ipynb"
    assert cli("course", "--lesson", 5, "--reset")[1] == "Cleared the record of 1 passed exercise.\n"
    assert list(completion.passed()) == ["se.parameters"]
    assert cli("course", "--reset")[1] == "Cleared the record of 1 passed exercise.\n"
    assert completion.passed() == {}


def test_when_all_is_passed_there_is_no_next_lesson(cli, progress_path: Path):
    for exercise in lessons.exercises():
        completion.record(exercise.name)
    assert "You have passed every exercise." in cli("course")[1]


def test_bad_input_is_one_line(cli, progress_path: Path):
    code, out, err = cli("course", "--lesson", 99)
    assert (code, out) == (2, "")
    assert "There is no lesson 99" in err
    progress_path.parent.mkdir(parents=True, exist_ok=True)
    progress_path.write_text("{")
    code, out, err = cli("course")
    assert (code, out) == (2, "")
    assert "skinlesion course --reset" in err
    assert cli("course", "--reset")[0] == 0
    assert cli("course")[0] == 0
