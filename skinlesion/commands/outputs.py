"""Output files that the user asks for: one set of rules for all commands."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from skinlesion.errors import SkinlesionError
from skinlesion.files import write_text
from skinlesion.text import printable

STDOUT = Path("-")


def require_new(paths: Iterable[Path | None], *, overwrite: bool = False) -> None:
    """Refuse outputs that exist already, that have no folder, or that two options send to the same file.

    Args:
        paths: all outputs of a command; None for one that wasn't requested, `STDOUT` for standard output.
        overwrite: existing files may be replaced.

    Raises:
        SkinlesionError: an output exists or its folder doesn't, or two are the same file.
    """
    taken: set[str] = set()
    for path in paths:
        if path is None or path == STDOUT:
            continue
        if path.exists() and not overwrite:
            raise SkinlesionError(f"{printable(path)} exists already: choose another name, or move it away.")
        if not path.absolute().parent.is_dir():  # said before the work, not after it
            raise SkinlesionError(
                f"Cannot write {printable(path)}: there is no folder {printable(path.parent)}. Create it first."
            )
        real = os.path.normcase(os.path.realpath(path))
        if real in taken:
            raise SkinlesionError(f"Two outputs would go to {printable(path)}: give each a name of its own.")
        taken.add(real)


def write_json(value: Any, path: Path) -> None:
    """Write a result as JSON to a new file, or to standard output if the path is `-`.

    Raises:
        SkinlesionError: the file exists or cannot be written.
    """
    text = json.dumps(value, indent=1) + "\n"
    if path == STDOUT:
        print(text, end="")
        return
    require_new([path])
    write_text(path, text)
