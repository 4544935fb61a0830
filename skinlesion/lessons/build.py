"""Build the notebooks: `python -m skinlesion.lessons.build` (`--check` only says what is out of step).

notebooks/src/NN_name.py -> notebooks/NN_name.ipynb, to be solved; notebooks/solutions/NN_name.ipynb, solved and
executed; and notebooks/final/NN_name.py, the exercises' finished code. A solved notebook is executed again only where
its code changed, or the weights and results that it reads.
"""

import argparse
import ast
import copy
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder, write_text
from skinlesion.lessons.catalog import LESSONS, Lesson
from skinlesion.lessons.execution import execute
from skinlesion.lessons.fallback import add_fallbacks, without_fallback
from skinlesion.lessons.final import final_code
from skinlesion.lessons.lint import problems
from skinlesion.lessons.notebook import Cell, dump, make_notebook, read_source
from skinlesion.lessons.quotes import unsupported

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
MOST_BYTES = 1_500_000
_REPOSITORY = NOTEBOOKS.parent
# Files that outputs depend on, and how a lesson's code names them.
_INPUTS = {
    "benchmarks/results/reproduce/cpu/summary.json": r'"reproduce" / "cpu"',
    "skinlesion/reproduce/plans/cpu.toml": r'load_plan\("cpu"\)',
    "skinlesion/weights/small.safetensors": r'"small"|"small\.safetensors"',
    "skinlesion/weights/accurate.safetensors": r'"accurate"',
    "skinlesion/weights/general.safetensors": r'"general"',
}


def generate(lesson: Lesson, root: Path = NOTEBOOKS) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both notebooks of a lesson, without outputs.

    Raises:
        SkinlesionError: the source lacks something; the message lists what.
    """
    cells = _cells(lesson, root)
    found = problems(lesson, cells)
    if found:
        raise SkinlesionError(f"{lesson.number:02}_{lesson.slug}.py: {'; '.join(found)}.")
    return make_notebook(lesson, cells, "exercises"), make_notebook(lesson, cells, "solutions")


def _cells(lesson: Lesson, root: Path) -> list[Cell]:
    return read_source(root / "src" / f"{lesson.number:02}_{lesson.slug}.py")


def finished(lesson: Lesson, root: Path = NOTEBOOKS) -> tuple[Path, str]:
    """The file of a lesson's finished code, and what must be in it."""
    cells = _cells(lesson, root)
    return root / "final" / f"{lesson.number:02}_{lesson.slug}.py", final_code(lesson, cells)


def bare(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook without what running it leaves."""
    notebook = copy.deepcopy(notebook)
    notebook["metadata"].pop("measured", None)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
    return notebook


def inputs(notebook: dict[str, Any]) -> dict[str, str]:
    """The repository's weights and results that a notebook's code reads: path to SHA-256."""
    code = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    read = [path for path, pattern in _INPUTS.items() if re.search(pattern, code)]
    return {path: hashlib.sha256((_REPOSITORY / path).read_bytes()).hexdigest() for path in read}


def stale(lesson: Lesson, root: Path = NOTEBOOKS) -> list[str]:
    """What is out of step with the lesson's source; empty when nothing is."""
    exercises, solutions = generate(lesson, root)
    found = []
    for path, expected in ((root / lesson.file, exercises), (root / "solutions" / lesson.file, solutions)):
        if not path.exists():
            found.append(f"{path.name} is missing")
            continue
        text = path.read_text(encoding="utf-8")
        stored = json.loads(text)
        if len(text.encode()) > MOST_BYTES:
            found.append(f"{path} is larger than {MOST_BYTES} bytes")
        if bare(stored) != expected:
            found.append(f"{path} differs from its source")
        elif expected is exercises and stored != expected:
            found.append(f"{path} has outputs")
        elif expected is solutions:
            found += [f"{path}: {text}" for text in output_problems(stored)]
            peak = stored["metadata"]["measured"]["peak_mb"]
            then = stored["metadata"]["measured"].get("inputs", {})
            found += [
                f"{path} was executed with another {name}"
                for name, hashed in inputs(stored).items()
                if then.get(name) != hashed
            ]
            if peak > lesson.memory:
                found.append(f"{path} needed {peak} MB and says {lesson.memory}")
            found += [f"{path} does not print {quote}" for quote in unsupported(_cells(lesson, root), stored)]
    code, text = finished(lesson, root)
    if not code.exists() or code.read_text(encoding="utf-8") != text:
        found.append(f"{code} differs from its source")
    return found


def _with_outputs(notebook: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any] | None:
    """A notebook with the outputs of an executed one; None where their code, or what it reads, differs."""
    executed = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    measured = stored["metadata"].get("measured", {})
    if measured.get("inputs") != inputs(notebook) or [_runs(cell) for cell in executed] != [_runs(c) for c in cells]:
        return None
    for cell, old in zip(cells, executed, strict=True):
        cell |= {"execution_count": old["execution_count"], "outputs": old["outputs"]}
    notebook["metadata"] = notebook["metadata"] | {"measured": measured}
    add_fallbacks(notebook)
    return notebook


def _runs(cell: dict[str, Any]) -> str:
    """What a code cell runs: without comments and docstrings, which change no output."""
    tree = ast.parse("".join(cell["source"]))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def output_problems(notebook: dict[str, Any]) -> list[str]:
    """What should not be in the outputs of an executed notebook."""
    found = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        if cell["execution_count"] is None:
            found.append("a cell was not executed")
        text = json.dumps(cell["outputs"])
        source = "".join(cell["source"])
        if "lessons.check(" in source and "✓" not in json.dumps(cell["outputs"], ensure_ascii=False):
            found.append(f"a check did not pass: {source}")
        unwanted = ('"stderr"', "Traceback", "/ipykernel_", str(Path.home()), str(NOTEBOOKS.parent))
        found += [f"an output contains {bad}: {source[:60]}" for bad in unwanted if bad in text]
    if without_fallback(notebook):
        found.append("an interactive output has nothing static")
    return found


def build(lesson: Lesson, root: Path = NOTEBOOKS, *, force: bool = False) -> str:
    """Write both notebooks of a lesson; returns what was done."""
    exercises, solutions = generate(lesson, root)
    folder = make_folder(root / "solutions")
    write_text(root / lesson.file, dump(exercises))
    code, text = finished(lesson, root)
    make_folder(code.parent)
    write_text(code, text)
    path = folder / lesson.file
    kept = (
        None if force or not path.exists() else _with_outputs(solutions, json.loads(path.read_text(encoding="utf-8")))
    )
    if kept is not None:
        write_text(path, dump(kept))
        return "the code is as it was executed"
    done = execute(solutions, folder)
    done["metadata"]["measured"]["inputs"] = inputs(done)
    text = dump(done)
    write_text(path, text)
    measured = done["metadata"]["measured"]
    return f"executed in {measured['seconds']} s, {measured['peak_mb']} MB, file {len(text.encode()) // 1024} KB"


def rerun(lesson: Lesson, root: Path = NOTEBOOKS) -> list[str]:
    """Execute a solved lesson in full, in a new folder: what fails, and quoted numbers that it no longer prints."""
    _, solutions = generate(lesson, root)
    with tempfile.TemporaryDirectory() as folder:
        done = execute(solutions, Path(folder))
    return output_problems(done) + [f"does not print {quote}" for quote in unsupported(_cells(lesson, root), done)]


def main(argv: list[str] | None = None) -> int:
    """Build or check; 1 when something is out of step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what is out of step")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of lessons")
    parser.add_argument(
        "--rerun",
        action="store_true",
        help="run lessons in full, write nothing, and compare with the numbers in their prose",
    )
    parser.add_argument("--force", action="store_true", help="execute solved notebooks even when nothing changed")
    options = parser.parse_args(argv)
    failures = 0
    for lesson in LESSONS:
        if options.only and lesson.number not in options.only:
            continue
        try:
            found = stale(lesson) if options.check else rerun(lesson) if options.rerun else []
            message = "; ".join(found) or "in step"
            if not (options.check or options.rerun):
                message = build(lesson, force=options.force)
                found = stale(lesson)
                message = "; ".join([message, *found])
        except SkinlesionError as error:
            found, message = [str(error)], str(error)
        failures += bool(found)
        print(f"{lesson.file}: {message}", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
