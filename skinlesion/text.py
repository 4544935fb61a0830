"""Names from outside in messages and tables: no terminal commands, no spreadsheet formulas, no broken lines.

A file name may hold anything but a slash and a zero byte: line breaks, escape sequences that move a terminal's cursor,
bytes that aren't text, or a formula that a spreadsheet runs when it opens the table. Whatever is printed goes through
:func:`printable`, whatever becomes a cell through :func:`cell` or :func:`table_writer`.
"""

import csv
import unicodedata
from collections.abc import Iterable
from typing import Any, Protocol

_FORMULA = ("=", "+", "-", "@")
# Control characters, bytes that are no text (surrogates), line separators, and marks that turn the reading direction.
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Row(Protocol):
    """Writes rows: what :func:`table_writer` returns."""

    def writerow(self, row: Iterable[Any], /) -> Any: ...  # noqa: D102


def printable(text: object) -> str:
    r"""The text with control characters, direction marks and undecodable bytes written out, as ``\x1b``."""
    return "".join(_written_out(character) for character in str(text))


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 image", "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cell(value: object) -> object:
    """A table's cell that a spreadsheet shows and doesn't run.

    Text that begins like a formula gets a leading apostrophe, which is how spreadsheets mark text. Numbers, also as
    text, stay as they are.
    """
    if value is None or isinstance(value, int | float):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def table_writer(file: Any) -> Row:
    """A CSV writer whose cells are safe; open `file` with ``newline=""``."""
    return _Writer(csv.writer(file))


class _Writer:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def writerow(self, row: Iterable[Any], /) -> None:
        self._writer.writerow([cell(value) for value in row])


def _written_out(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN or character in _DIRECTION:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
