"""Hints, one at a time, and solutions."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinlesion.lessons.catalog import find
from skinlesion.lessons.result import block, html
from skinlesion.lessons.source import self_contained

_shown: dict[str, int] = {}  # exercise -> hints shown so far in this session


class Hint(str):
    """Text that Jupyter shows as a note."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return block("#3a86c8", html(str(self)).replace("\n", "<br>"))


def hint(name: str) -> Hint:
    """The next hint of an exercise, below those already shown; after the last one it stays.

    Raises:
        SkinlesionError: there is no such exercise.
    """
    hints = find(name).hints
    shown = _shown[name] = min(_shown.get(name, 0) + 1, len(hints))
    lines = [f"Hint {i} of {len(hints)}: {text}" for i, text in enumerate(hints[:shown], start=1)]
    more = (
        "Call it again for the next one."
        if shown < len(hints)
        else f'That was the last hint. To see the solution: lessons.solution("{name}")'
    )
    return Hint("\n".join([*lines, more]))


@dataclass(frozen=True)
class Solution:
    """A solution: shown as source, called as a function.

    Attributes:
        answer: the function or the value.
    """

    answer: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.answer(*args, **kwargs)

    @property
    def source(self) -> str:
        """Where it is and how it is written, with the private helpers and imports it needs; a value is written out."""
        if not callable(self.answer):
            return repr(self.answer)
        package = Path(__file__).parents[2]
        where = Path(inspect.getsourcefile(self.answer) or "").relative_to(package).as_posix()
        return f"# {where}\n{self_contained(self.answer)}"

    def __repr__(self) -> str:
        return self.source

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.source}\n```"


def solution(name: str) -> Solution:
    """The solution of an exercise.

    Raises:
        SkinlesionError: there is no such exercise.
    """
    return Solution(find(name).solution)
