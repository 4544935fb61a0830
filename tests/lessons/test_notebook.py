"""From one text source to two notebooks."""

from pathlib import Path

import pytest

from skinlesion import SkinlesionError
from skinlesion.lessons.catalog import LESSONS
from skinlesion.lessons.lint import problems
from skinlesion.lessons.notebook import make_notebook, make_stub, quiz, read_source

LESSON = next(lesson for lesson in LESSONS if lesson.number == 5)
SOURCE = '''# %% [markdown] kind="claim"
# A claim.

# %% exercise="ss2d.four_routes"
def four_routes(height: int, width: int) -> Tensor:
    """The routes."""
    return answer

# %%
print(1)

# %% exercise="ss2d.seen_by_one_route"
seen = 29
'''


@pytest.fixture
def cells(tmp_path: Path) -> list:
    path = tmp_path / "lesson.py"
    path.write_text(SOURCE)
    return read_source(path)


def text(notebook: dict, kind: str | None = None) -> str:
    return "\n".join("".join(cell["source"]) for cell in notebook["cells"] if kind in (None, cell["cell_type"]))


def test_the_exercise_notebook_has_stubs_and_folds_the_solution(cells):
    notebook = make_notebook(LESSON, cells, "exercises")
    code = text(notebook, "code")
    assert 'def four_routes(height: int, width: int) -> Tensor:\n    """The routes."""\n    raise Not' in code
    assert "return answer" not in code
    assert "seen = None  # your answer" in code
    assert 'lessons.check("ss2d.four_routes", four_routes)' in code
    markdown = text(notebook, "markdown")
    assert "<details><summary>Solution</summary>" in markdown
    assert "return answer" in markdown
    assert "<details><summary>Hint 1</summary>" in markdown
    assert "Exercise 5.1: Four routes" in markdown


def test_the_solved_notebook_has_the_solution_and_the_check(cells):
    notebook = make_notebook(LESSON, cells, "solutions")
    code = text(notebook, "code")
    assert "return answer" in code
    assert "seen = 29" in code
    assert "raise NotImplementedError" not in code
    assert 'lessons.check("ss2d.seen_by_one_route", seen)' in code
    assert "<summary>Solution" not in text(notebook)


def test_cell_ids_stay_when_other_cells_change(cells):
    before = make_notebook(LESSON, cells, "exercises")["cells"]
    added = {"type": "code", "source": "print(1)", "kind": "", "exercise": ""}
    after = make_notebook(LESSON, [*cells[:2], added, *cells[2:]], "exercises")["cells"]
    ids = [cell["id"] for cell in after]
    assert len(ids) == len(set(ids))
    assert {cell["id"] for cell in before} <= set(ids)


@pytest.mark.parametrize("source", ["a = 1\nb = 2", "print(1)", "class A:\n    pass", "def f():\n    return 1"])
def test_an_exercise_cell_that_cannot_become_a_stub_is_refused(source):
    with pytest.raises(SkinlesionError, match=r"toy\.name"):
        make_stub(source, "toy.name")


def test_a_stub_keeps_a_long_docstring():
    source = 'def f(x):\n    """One.\n\n    Two.\n    """\n    return x'
    assert make_stub(source, "a.f")[1] == (
        'def f(x):\n    """One.\n\n    Two.\n    """\n    raise NotImplementedError("a.f")'
    )


def test_a_quiz_explains_every_choice():
    made = quiz("1. Why\n   not?\n- [ ] no `x` :: be\n  cause\n- [x] yes :: indeed").replace("be cause", "because")
    assert "**1. Why not?**" in made
    assert "<summary>no <code>x</code></summary>\n\n✗ No. because" in made
    assert "✓ Yes. indeed" in made


@pytest.mark.parametrize(
    "source", ["1. Why?\n- [x] no explanation", "1. Why?\n- [ ] a :: b", "1. Why?\n- [x] a :: b\n- [x] c :: d"]
)
def test_a_quiz_with_a_hole_is_refused(source):
    with pytest.raises(SkinlesionError, match="Quiz"):
        quiz(source)


def test_what_a_lesson_lacks_is_listed(cells):
    found = " ".join(problems(LESSON, cells))
    for kind in ("objectives", "predict", "signature", "control", "play", "limits", "quiz", "links"):
        assert kind in found
    assert "exercises in the notebook" in found
