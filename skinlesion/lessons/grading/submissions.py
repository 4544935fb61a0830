"""Who has handed in what: a folder for each student, one folder of notebooks, or nbgrader's."""

import re
from dataclasses import dataclass
from pathlib import Path

from skinlesion.errors import SkinlesionError
from skinlesion.lessons.catalog import LESSONS
from skinlesion.text import printable

_LESSON = re.compile(rf"[ _-]*({'|'.join(Path(lesson.file).stem for lesson in LESSONS)})$")


@dataclass(frozen=True)
class Submission:
    """The notebooks of one student."""

    student: str
    notebooks: tuple[Path, ...]


def find_submissions(folder: Path) -> list[Submission]:
    """The students of a class, by name.

    Args:
        folder: holds STUDENT/.../NOTEBOOK.ipynb, or submitted/STUDENT/ASSIGNMENT/NOTEBOOK.ipynb (nbgrader), or
            notebooks that are named by student, also with the lesson: mia.ipynb, mia_07_se.ipynb. Links that lead out
            of the folder are not followed. A student's folder without a notebook counts as a submission.

    Raises:
        SkinlesionError: there is no such folder, or it holds no student.
    """
    if not folder.is_dir():
        raise SkinlesionError(f"There is no folder {printable(folder)}.")
    base = folder / "submitted" if (folder / "submitted").is_dir() else folder
    found: dict[str, list[Path]] = {}
    for entry in sorted(base.iterdir()):
        if entry.name.startswith(".") or not _is_inside(entry, base):
            continue
        if entry.is_dir():
            inner = sorted(path for path in entry.rglob("*.ipynb") if _is_inside(path, base) and path.is_file())
            found.setdefault(entry.name, []).extend(p for p in inner if ".ipynb_checkpoints" not in p.parts)
        elif entry.suffix == ".ipynb":
            found.setdefault(_LESSON.sub("", entry.stem) or entry.stem, []).append(entry)
    if not found:
        raise SkinlesionError(
            f"{printable(folder)} holds no submission: neither a folder for each student nor notebooks."
        )
    return [Submission(name, tuple(notebooks)) for name, notebooks in sorted(found.items())]


def _is_inside(path: Path, base: Path) -> bool:
    return path.resolve().is_relative_to(base.resolve())
