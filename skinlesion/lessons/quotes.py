"""Numbers quoted in a lesson's prose, checked against what its cells print.

A number drifts when code changes and the sentence does not. So every decimal, percentage and grouped number of the
prose must be found, rounded as it is quoted, in the text that nearby cells printed or in their code. Numbers from
elsewhere (the paper, a model card) are named in the cell's header: `# %% [markdown] given="0.0139 88.16"`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skinlesion.lessons.notebook import Cell

WINDOW = 9  # code cells before a paragraph in which its numbers must be found
_WHOLE_LESSON = ("claim", "objectives", "predict", "limits", "quiz", "links")
_NUMBER = re.compile(r"(?<![\w.,^{])(\d{1,3}(?:,\d{3})+|\d+\.\d+|\d+)(e[-+]?\d+)?(?:\s?(%|million))?(?![\w])")
_NOT_PROSE = (
    r"```.*?```",  # code
    r"`[^`]*`",
    r"\$\$.*?\$\$",  # formulas
    r"\$[^$\n]*(?:\n[^$\n]*)?\$",
    r"\]\([^)]*\)",  # addresses
    r"(?:[Ee]qs?\.|(?:[Ee]quation|[Tt]able|[Ff]igure|[Ss]ection|[Ll]esson)s?) \d[\d.]*(?:(?:,| and| to|-) ?\d[\d.]*)*",
)


@dataclass(frozen=True)
class Quote:
    """One number of the prose.

    Attributes:
        text: as it is written, such as "0.41" or "12%".
        value: the number.
        digits: after the decimal point.
    """

    text: str
    value: float
    digits: int


def quotes(markdown: str) -> list[Quote]:
    """The decimals, percentages and grouped numbers of a text, without code, formulas, links and plain integers."""
    for pattern in _NOT_PROSE:
        markdown = re.sub(pattern, " ", markdown, flags=re.S)
    found = []
    for number, power, unit in _NUMBER.findall(markdown):
        if not (unit or power or "." in number or "," in number):
            continue
        digits = len(number.partition(".")[2])
        text = f"{number}{power}{'%' if unit == '%' else f' {unit}'.rstrip()}"
        found.append(Quote(text, float(number.replace(",", "") + power), digits))
    return found


def printed(text: str) -> list[float]:
    """All numbers of an output or of code."""
    found = re.findall(r"(?<![\w.])(?:\d{1,3}(?:[,_]\d{3})+|\d+\.?\d*(?:e[-+]?\d+)?)", text)
    return [float(number.replace(",", "").replace("_", "")) for number in found]


def supported(quote: Quote, numbers: list[float]) -> bool:
    """Whether some number, as it is or in percent or millions, rounds to what is quoted."""
    half = 0.5001 * 10.0**-quote.digits
    if "e" in quote.text:
        half = 0.05 * quote.value
    scale = 100.0 if quote.text.endswith("%") else 1e-6 if quote.text.endswith("million") else 1.0
    return any(abs(n - quote.value) <= half or abs(scale * n - quote.value) <= half for n in numbers)


def unsupported(cells: list[Cell], solved: dict[str, Any]) -> list[str]:
    """Numbers of the prose that no nearby cell prints; empty when all are found.

    Args:
        cells: of the lesson's source.
        solved: its executed notebook.
    """
    outputs = {"".join(cell["source"]): text_of(cell) for cell in solved["cells"] if cell["cell_type"] == "code"}
    code = [(i, cell["source"]) for i, cell in enumerate(cells) if cell["type"] == "code"]
    found = []
    for i, cell in enumerate(cells):
        if cell["type"] != "markdown":
            continue
        near = code if cell["kind"] in _WHOLE_LESSON else [each for each in code if each[0] < i][-WINDOW:]
        numbers = printed(cell["given"]) + [n for _, source in near for n in printed(source + outputs.get(source, ""))]
        found += [
            f"{quote.text} ({_beginning(cell['source'])})"
            for quote in quotes(cell["source"])
            if not supported(quote, numbers)
        ]
    return found


def text_of(cell: dict[str, Any]) -> str:
    """What a notebook's cell printed."""

    def parts() -> Iterator[str]:
        for output in cell["outputs"]:
            yield "".join(output.get("text", []))
            yield "".join(output.get("data", {}).get("text/plain", []))

    return "\n".join(parts())


def _beginning(source: str) -> str:
    return f'"{" ".join(source.split()[:6])} .."'
