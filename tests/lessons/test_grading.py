"""Grading a class of thirty: right, wrong, empty, damaged and hostile submissions."""

import csv
import inspect
import json
import textwrap
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from skinlesion import SkinlesionError, cli, lessons
from skinlesion.lessons import grading
from skinlesion.lessons.grading.report import as_csv, as_page
from skinlesion.lessons.grading.slicing import answers
from skinlesion.lessons.grading.submissions import find_submissions
from skinlesion.lessons.grading.wire import Foreign, decode, encode

IMPORTS = "import torch\nimport torch.nn.functional as F\nfrom torch import Tensor\nfrom skinlesion import lessons\n"
RIGHT = {
    "se.squeeze": "def squeeze(x):\n    return x.mean(dim=(1, 2))",
    "se.gate": "def gate(mean, fc1, fc2):\n    return torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T)",
    "se.parameters": "def parameters(dim, ratio):\n    return 2 * dim * max(1, dim // ratio)",
    "se.gate_at_start": "at_start = 0.5",
}
VARIABLE = {"se.squeeze": "squeeze", "se.gate": "gate", "se.parameters": "parameters", "se.gate_at_start": "at_start"}


def notebook(answer: dict[str, str], *extra: str) -> str:
    cells = [IMPORTS, *extra]
    for name, source in answer.items():
        cells += [source, f'lessons.check("{name}", {VARIABLE[name]})']
    made = [{"cell_type": "code", "metadata": {}, "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def body(code: str) -> dict[str, str]:
    """Every answer right but the first, whose function does this before it returns the right result."""
    inner = textwrap.indent(textwrap.dedent(code).strip(), "    ")
    return RIGHT | {"se.squeeze": f"def squeeze(x):\n{inner}\n    return x.mean(dim=(1, 2))"}


# Name -> what a hostile `squeeze` does, and a part of what is said about it.
HOSTILE = {
    "loops": ("while True: pass", "longer than"),
    "loops and swallows": ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "longer"),
    "memory": ("y = torch.ones(2**34)", "memory"),
    "memory list": ("y = [bytearray(2**26) for _ in range(2**12)]", "Memory"),
    "forks": ("import os\nif os.fork() == 0: os._exit(0)", "os.fork"),
    "processes": ("import subprocess\nsubprocess.run(['true'])", "subprocess.Popen"),
    "shell": ("import os\nos.system('true')", "os.system"),
    "kills": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", "os.kill"),
    "exits": ("import sys\nsys.exit()", "SystemExit"),
    "exits hard": ("import os\nos._exit(0)", "ended its process"),
    "crashes": ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
    "prints": (
        "for _ in range(2000): print('x' * 10**5)\nraise ValueError('<script>alert(1)</script>' * 999)",
        "Value",
    ),
    "network": ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "socket"),
    "writes": ("open('/tmp/skinlesion-hostile', 'w').write('x')", "written"),
    "patches comparison": (
        "from skinlesion.lessons import checker\nchecker._compare = lambda *a: None\nreturn x * 0",
        "replaces",
    ),
    "patches torch": ("torch.equal = lambda *a: True\nreturn x * 0", "replaces"),
    "returns much": ("return torch.zeros(2**25)", "more than"),
    "returns more": ("return torch.zeros(2**27)", "memory"),
    "forges": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'{}')\n    except OSError: pass\nos._exit(0)",
        "of its own",
    ),
}
TRICKS = {
    "patches check": "lessons.check = lambda name, answer: True\nprint('✓ se.squeeze: passed, 3 tests.')",
    "writes progress": "from skinlesion.lessons import completion\ncompletion.record('se.squeeze')",
    "prints a verdict": "print('✓ se.squeeze: passed, 3 tests.')",
}
WRONG_SQUEEZE = "def squeeze(x):\n    return x.sum(dim=(1, 2))"


def write_class(folder: Path) -> None:
    """Thirty submissions."""
    made = {"right": notebook(RIGHT), "empty": "", "damaged": notebook(RIGHT)[:200], "no cells": "{}"}
    made |= {f"hostile {name}": notebook(body(code)) for name, (code, _) in HOSTILE.items()}
    made |= {f"trick {name}": notebook(RIGHT | {"se.squeeze": WRONG_SQUEEZE}, code) for name, code in TRICKS.items()}
    made["wrong sum"] = notebook(RIGHT | {"se.squeeze": WRONG_SQUEEZE})
    made["wrong softmax"] = notebook(
        RIGHT
        | {"se.gate": "def gate(mean, fc1, fc2):\n    return torch.softmax(torch.relu(mean @ fc1.T) @ fc2.T, dim=-1)"}
    )
    stub = 'def squeeze(x):\n    raise NotImplementedError("se.squeeze")'
    made["stub"] = notebook(RIGHT | {"se.squeeze": stub})
    made["syntax"] = notebook(RIGHT | {"se.squeeze": "def squeeze(x)\n    return x"})
    for name, text in made.items():
        student = folder / ("endless" if "loops" in name else "others") / name
        student.mkdir(parents=True)
        (student / "07_se.ipynb").write_text(text, encoding="utf-8")
    assert len(made) == 30


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    write_class(folder)
    grades = grading.grade(folder / "endless", lessons=[7], seconds=15, memory=2048)
    # On a busy machine filling the memory takes a while; what is said must not depend on that.
    grades += grading.grade(folder / "others", lessons=[7], seconds=120, memory=2048)
    return {(each.student, each.exercise): each for each in grades}, grades


OTHERS = [name for name in RIGHT if name != "se.squeeze"]


@pytest.mark.slow
def test_right_answers_pass_and_what_is_not_in_the_notebook_is_missing(graded):
    by, grades = graded
    assert len({each.student for each in grades}) == 30
    assert all(by["right", name].status == "passed" for name in RIGHT)
    assert by["right", "se.forward"].status == "missing"
    assert by["stub", "se.squeeze"].status == "unsolved"


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_costs_its_own_exercise_only(graded, name):
    by, _ = graded
    found = by[f"hostile {name}", "se.squeeze"]
    assert found.status == "failed"
    assert HOSTILE[name][1] in found.mistake, found
    assert all(by[f"hostile {name}", other].status == "passed" for other in OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRICKS)
def test_a_notebook_that_decides_its_own_verdict_is_graded_all_the_same(graded, name):
    by, _ = graded
    assert by[f"trick {name}", "se.squeeze"].status == "failed"
    assert by[f"trick {name}", "se.squeeze"].mistake.startswith("A sum grows")
    assert all(by[f"trick {name}", other].status == "passed" for other in OTHERS)


@pytest.mark.slow
def test_known_mistakes_are_named(graded):
    by, _ = graded
    exercises = {each.name: each for each in lessons.exercises(7)}
    for student, exercise, wrong in (
        ("wrong sum", "se.squeeze", "sum"),
        ("wrong softmax", "se.gate", "softmax"),
    ):
        diagnosis = next(each.diagnosis for each in exercises[exercise].wrong if each.name == wrong)
        assert by[student, exercise].mistake == diagnosis
    assert "syntax" in by["syntax", "se.squeeze"].mistake
    assert by["syntax", "se.gate"].status == "passed"


@pytest.mark.slow
@pytest.mark.parametrize("student", ["empty", "damaged", "no cells"])
def test_a_file_that_is_no_notebook_is_said_to_be_damaged(graded, student):
    by, _ = graded
    assert by[student, "se.squeeze"].status == "missing"
    assert "damaged" in by[student, "se.squeeze"].mistake


@pytest.mark.slow
def test_the_page_is_escaped_and_self_contained_and_the_table_complete(graded):
    _, grades = graded
    page = as_page(grades)
    tags: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.add(tag)  # type: ignore[method-assign]
    parser.feed(page)
    assert "&lt;script&gt;" in page
    assert not tags & {"script", "img", "link", "iframe", "a"}
    assert len(list(csv.DictReader(as_csv(grades).splitlines()))) >= 30 * 6
    assert not Path("/tmp/skinlesion-hostile").exists()


def test_a_cell_in_a_table_runs_in_no_spreadsheet_and_a_name_is_escaped():
    hostile = grading.Grade("=cmd()|<b>", 7, "se.gate", "failed", "@x", "<img src=x onerror=y>")
    assert "'=cmd()" in as_csv([hostile])
    assert "'@x" in as_csv([hostile])
    page = as_page([hostile])
    assert "<b>" not in page
    assert "<img" not in page


@pytest.mark.parametrize("path", ["mia/07_se.ipynb", "submitted/mia/ps1/07_se.ipynb", "mia_07_se.ipynb", "mia.ipynb"])
def test_layouts(tmp_path, path):
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")
    (found,) = find_submissions(tmp_path)
    assert found.student == "mia"
    assert found.notebooks == (file,)


def test_checkpoints_and_links_out_of_the_folder_are_left_out(tmp_path):
    inside = tmp_path / "class" / "mia"
    (inside / ".ipynb_checkpoints").mkdir(parents=True)
    (inside / ".ipynb_checkpoints" / "a.ipynb").write_text("{}")
    (tmp_path / "other.ipynb").write_text("{}")
    (inside / "b.ipynb").symlink_to(tmp_path / "other.ipynb")
    assert find_submissions(tmp_path / "class")[0].notebooks == ()


def test_a_folder_without_submissions_is_refused(tmp_path):
    with pytest.raises(SkinlesionError, match="holds no submission"):
        find_submissions(tmp_path)


def test_only_what_an_answer_refers_to_is_run():
    cells = [
        "import torch\nimport os\nos.remove('all')\nwide = 3",
        "lessons.check = print\nx = torch.load('huge')",
        "def helper(x):\n    return x * wide",
        "%time 3\ndef squeeze(x):\n    return helper(x)",
        'lessons.check("se.squeeze", squeeze)',
        "wide = 4",
    ]
    found = answers(cells, {"se.squeeze": "squeeze", "se.gate": "gate"})
    assert list(found) == ["se.squeeze"]
    source = found["se.squeeze"].source
    assert source.splitlines()[0] == "wide = 3"
    assert "def helper" in source
    assert not any(part in source for part in ("remove", "check", "load", "wide = 4", "import"))


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, "text", 0.1, float("inf"), [1, (2.0, "a")], {"a": torch.ones(2, 3), 2: None}, torch.zeros(0, 3),
        torch.tensor(3.5, dtype=torch.bfloat16), torch.tensor([[True], [False]]), np.arange(6.0).reshape(2, 3).T,
        torch.linspace(-1, 1, 6).reshape(3, 2).T,
    ],
    ids=repr,
)  # fmt: skip
def test_results_survive_the_pipe(value):
    back = decode(json.loads(json.dumps(encode(value))))
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_nothing_that_runs_survives_the_pipe():
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    assert isinstance(decode(encode(Evil())), Foreign)
    with pytest.raises(ValueError, match="not an encoded result"):
        decode({"tensor": "float32", "shape": [3], "data": ""})


@pytest.mark.slow
def test_every_solution_passes_the_grader(tmp_path):
    """Each exercise on its own: the source that the course shows, with what it refers to."""
    cells = []
    for each in lessons.exercises():
        if callable(each.solution):
            text = inspect.cleandoc(lessons.solution(each.name).source)
            cells += [text, f'lessons.check("{each.name}", {each.solution.__name__})']
    made = [{"cell_type": "code", "source": text} for text in cells]
    (tmp_path / "mia.ipynb").write_text(json.dumps({"cells": made}))
    grades = grading.grade(tmp_path, seconds=120)
    wrong = [each for each in grades if each.status != "passed" and callable(_solution(each.exercise))]
    assert not wrong


def _solution(name: str):
    return lessons.catalog.find(name).solution


@pytest.mark.slow
def test_the_command_writes_both_files_and_never_over_others(tmp_path, capsys):
    (tmp_path / "class" / "mia").mkdir(parents=True)
    (tmp_path / "class" / "mia" / "07_se.ipynb").write_text(notebook({"se.squeeze": RIGHT["se.squeeze"]}))
    command = ["course", "grade", str(tmp_path / "class"), "--out", str(tmp_path / "grades.csv")]
    assert cli.main(command) == 0
    assert "1 students, 1 of 6" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "grades.csv").read_text().splitlines()))
    assert rows[0]["points"] == "1"
    assert (tmp_path / "grades.html").read_text().startswith("<!doctype html>")
    assert cli.main(command) == 2
