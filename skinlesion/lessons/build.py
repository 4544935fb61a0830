"""Build the notebooks: `python -m skinlesion.lessons.build` (`--check` only says what is out of step).

notebooks/src/NN_name.py -> notebooks/NN_name.ipynb, to be solved, and notebooks/solutions/NN_name.ipynb, solved and
executed. A solved notebook is executed again only where its source changed.
"""

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder, write_text
from skinlesion.lessons.catalog import LESSONS, Lesson
from skinlesion.lessons.execution import execute
from skinlesion.lessons.lint import problems
from skinlesion.lessons.notebook import dump, make_notebook, read_source

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
MOST_BYTES = 1_500_000


def generate(lesson: Lesson, root: Path = NOTEBOOKS) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both notebooks of a lesson, without outputs.

    Raises:
        SkinlesionError: the source lacks something; the message lists what.
    """
    path = root / "src" / f"{lesson.number:02}_{lesson.slug}.py"
    cells = read_source(path)
    found = problems(lesson, cells)
    if found:
        raise SkinlesionError(f"{path.name}: {'; '.join(found)}.")
    return make_notebook(lesson, cells, "exercises"), make_notebook(lesson, cells, "solutions")


def bare(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook without what running it leaves."""
    notebook = copy.deepcopy(notebook)
    notebook["metadata"].pop("measured", None)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
    return notebook


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
            if peak > lesson.memory:
                found.append(f"{path} needed {peak} MB and says {lesson.memory}")
    return found


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
    return found


def build(lesson: Lesson, root: Path = NOTEBOOKS, *, force: bool = False) -> str:
    """Write both notebooks of a lesson; returns what was done."""
    exercises, solutions = generate(lesson, root)
    folder = make_folder(root / "solutions")
    write_text(root / lesson.file, dump(exercises))
    path = folder / lesson.file
    if path.exists() and not force and bare(json.loads(path.read_text(encoding="utf-8"))) == solutions:
        return "solved notebook is up to date"
    done = execute(solutions, folder)
    text = dump(done)
    write_text(path, text)
    measured = done["metadata"]["measured"]
    return f"executed in {measured['seconds']} s, {measured['peak_mb']} MB, file {len(text.encode()) // 1024} KB"


def main(argv: list[str] | None = None) -> int:
    """Build or check; 1 when something is out of step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what is out of step")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of lessons")
    parser.add_argument("--force", action="store_true", help="execute solved notebooks even when nothing changed")
    options = parser.parse_args(argv)
    failures = 0
    for lesson in LESSONS:
        if options.only and lesson.number not in options.only:
            continue
        try:
            found = stale(lesson) if options.check else []
            message = "; ".join(found) or "in step"
            if not options.check:
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
