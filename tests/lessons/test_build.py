"""The notebooks are what their sources say, and run from top to bottom, solved and unsolved."""

import json
from pathlib import Path

import pytest

from skinlesion.lessons.build import NOTEBOOKS, generate, output_problems, stale
from skinlesion.lessons.catalog import LESSONS, Lesson
from skinlesion.lessons.execution import execute

every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.slug)


@every_lesson
def test_both_notebooks_are_in_step_with_the_source(lesson: Lesson):
    assert stale(lesson) == []


@pytest.mark.slow
@every_lesson
def test_the_unsolved_notebook_runs_to_its_end(lesson: Lesson, tmp_path):
    exercises, _ = generate(lesson)
    done = execute(exercises, tmp_path, fast=True)
    checks = [cell["outputs"] for cell in done["cells"] if "".join(cell["source"]).startswith("lessons.check(")]
    outputs = json.dumps(checks, ensure_ascii=False)
    assert "✗" not in outputs
    assert "not solved yet" in outputs


@pytest.mark.slow
@every_lesson
def test_the_solved_notebook_runs_and_passes_its_checks(lesson: Lesson, tmp_path):
    _, solutions = generate(lesson)
    assert output_problems(execute(solutions, tmp_path, fast=True)) == []


def copied(lesson: Lesson, root: Path) -> Lesson:
    """The lesson, whose files are now in a folder of the test's too."""
    code = f"{lesson.number:02}_{lesson.slug}.py"
    for name in (f"src/{code}", f"final/{code}", lesson.file, f"solutions/{lesson.file}"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes((NOTEBOOKS / name).read_bytes())
    assert stale(lesson, root) == []
    return lesson


def test_outputs_from_other_weights_or_results_are_found(tmp_path):
    lesson = copied(LESSONS[15], tmp_path)
    path = tmp_path / "solutions" / lesson.file
    notebook = json.loads(path.read_text())
    used = notebook["metadata"]["measured"]["inputs"]
    assert "benchmarks/results/reproduce/cpu/summary.json" in used
    for name in used:
        notebook["metadata"]["measured"]["inputs"] = used | {name: "0" * 64}
        path.write_text(json.dumps(notebook))
        assert stale(lesson, tmp_path) == [f"{path} was executed with another {name}"]


def test_a_notebook_that_is_out_of_step_is_found(tmp_path):
    lesson = copied(LESSONS[0], tmp_path)
    source = tmp_path / f"src/{lesson.number:02}_{lesson.slug}.py"
    source.write_text(source.read_text().replace("# - ", "# - Now: ", 1))
    assert len(stale(lesson, tmp_path)) == 2
    (tmp_path / lesson.file).unlink()
    assert f"{lesson.file} is missing" in stale(lesson, tmp_path)
