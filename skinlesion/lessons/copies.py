"""Copying the lessons to a folder of the student's, and bringing unchanged ones up to date later."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder, replacing, write_text
from skinlesion.schema import mismatch
from skinlesion.text import printable

RECORD = ".skinlesion-lessons.json"  # what was copied: file -> SHA-256


class Copies(NamedTuple):
    """What `copy_lessons` did; names are relative to the folder.

    Attributes:
        new: files that weren't there.
        updated: files that the student had not changed, replaced by this version's.
        kept: files that the student changed, of which this version has another edition.
    """

    new: tuple[str, ...]
    updated: tuple[str, ...]
    kept: tuple[str, ...]


def copy_lessons(source: Path, folder: Path) -> Copies:
    """Copy lessons, solutions and glossary. A file that was changed since it was copied is never overwritten.

    Args:
        source: the folder `notebooks` of this version.
        folder: where to; made if missing.

    Raises:
        SkinlesionError: the folder cannot be written, or its record is not ours.
    """
    make_folder(folder)
    before = _read_record(folder / RECORD)
    record = dict(before)
    new: list[str] = []
    updated: list[str] = []
    kept: list[str] = []
    for name in _lessons(source):
        data = (source / name).read_bytes()
        here, digest = folder / name, hashlib.sha256(data).hexdigest()
        found = hashlib.sha256(here.read_bytes()).hexdigest() if here.is_file() else None
        if found == digest:
            record[name] = digest
            continue
        if found is not None and found != before.get(name):
            if before.get(name) != digest:
                kept.append(name)
            continue
        (new if found is None else updated).append(name)
        make_folder(here.parent)
        with replacing(here) as temporary:
            temporary.write_bytes(data)
        record[name] = digest
        write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")  # after each: a stop loses nothing
    if not (folder / RECORD).exists():
        write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")
    return Copies(tuple(new), tuple(updated), tuple(kept))


def _lessons(source: Path) -> Iterator[str]:
    for pattern in ("*.ipynb", "*.md", "solutions/*.ipynb", "final/*.py"):
        yield from sorted(path.relative_to(source).as_posix() for path in source.glob(pattern))


def _read_record(path: Path) -> dict[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:
        raise SkinlesionError(f"{printable(path)} is damaged: delete it; your notebooks stay as they are.") from error
    if mismatch(record, dict[str, str], "record"):
        raise SkinlesionError(f"{printable(path)} is damaged: delete it; your notebooks stay as they are.")
    return record
