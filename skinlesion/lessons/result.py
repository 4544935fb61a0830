"""What a check says, as text and as HTML for Jupyter."""

import re
from dataclasses import dataclass
from html import escape
from typing import Literal

Status = Literal["passed", "reference", "unsolved", "failed"]
_MARKS = {"passed": "✓", "reference": "✓", "unsolved": "○", "failed": "✗"}
_COLORS = {"passed": "#2e9e5b", "reference": "#2e9e5b", "unsolved": "#8a8f98", "failed": "#d9822b"}


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The verdict on one answer; true when it passed.

    Attributes:
        name: of the exercise.
        status: "reference" is the package's own function, which is right but is not the student's.
        headline: one line.
        message: what is wrong, in a sentence or a few lines.
        yours: the student's result where it first differs.
        expected: the right one there.
        largest: the largest absolute difference.
        likely: the likely mistake.
        hint: the exercise's first hint.
    """

    name: str
    status: Status
    headline: str
    message: str = ""
    yours: str = ""
    expected: str = ""
    largest: float | None = None
    likely: str = ""
    hint: str = ""

    def __bool__(self) -> bool:
        return self.status in ("passed", "reference")

    def _rows(self) -> list[tuple[str, str]]:
        largest = "" if self.largest is None else f"{self.largest:.3g}"
        rows = [("yours", self.yours), ("expected", self.expected), ("largest difference", largest)]
        return [(name, text) for name, text in rows if text]

    def _notes(self) -> list[tuple[str, str]]:
        return [(name, text) for name, text in (("Likely mistake", self.likely), ("Hint", self.hint)) if text]

    def __repr__(self) -> str:
        lines = [f"{_MARKS[self.status]} {self.name}: {self.headline}"]
        lines += [self.message] if self.message else []
        lines += [f"  {name + ':':20}{text}" for name, text in self._rows()]
        lines += [f"{name}: {text}" for name, text in self._notes()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<b>{_MARKS[self.status]} <code>{escape(self.name)}</code></b> {html(self.headline)}"]
        if self.message:
            parts.append(f'<div style="white-space:pre-wrap">{html(self.message)}</div>')
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(name)}</td>'
            f'<td style="text-align:left"><pre style="margin:0">{escape(text)}</pre></td></tr>'
            for name, text in self._rows()
        )
        parts += [f"<table>{rows}</table>"] if rows else []
        parts += [f"<div><b>{escape(name)}:</b> {html(text)}</div>" for name, text in self._notes()]
        return block(_COLORS[self.status], "".join(parts))


def html(text: str) -> str:
    """Plain text as HTML: escaped, with `backticks` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def block(color: str, content: str) -> str:
    """Content with a colored bar at its left; no colors of its own, so that it fits light and dark."""
    return f'<div role="status" style="border-left:4px solid {color};padding:.2em .8em;margin:.3em 0">{content}</div>'
