"""The table of choices: complete, and every row points at code that cites its number."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "choices.md").read_text(encoding="utf-8")
ROWS = {match[1]: match[0] for match in re.finditer(r"^\| (A\d+) \|.*$", PAGE, flags=re.MULTILINE)}
FILE = re.compile(r"`([\w/]+\.(?:py|toml))`")


def test_every_choice_has_one_row():
    assert sorted(ROWS, key=lambda name: int(name[1:])) == [f"A{number}" for number in range(1, 41)]


def cites(text, name):
    """Whether a text names a choice, alone or inside a range such as "A6 to A9" or "A16-A26"."""
    if re.search(rf"\b{name}\b", text):
        return True
    ranges = re.findall(r"\bA(\d+)(?:-| to )A(\d+)\b", text)
    return any(int(low) <= int(name[1:]) <= int(high) for low, high in ranges)


@pytest.mark.parametrize("name", ROWS)
def test_the_code_that_a_row_names_cites_it(name):
    files = FILE.findall(ROWS[name])
    assert files
    texts = [(ROOT / "skinlesion" / file).read_text(encoding="utf-8") for file in files]
    assert any(cites(text, name) for text in texts)


def test_the_code_cites_no_choice_that_the_table_lacks():
    for path in (ROOT / "skinlesion").rglob("*.py"):
        numbers = re.findall(r"\(A(\d+)\)", path.read_text(encoding="utf-8"))
        assert all(f"A{number}" in ROWS for number in numbers), path
