"""What a name from outside may do to a terminal or a spreadsheet: nothing."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinlesion.text import cell, printable, table_writer

HOSTILE = [
    *("=cmd|'calc'!A0.jpg", "@SUM(A1)", "-x", "+1+cmd", " =1+1"),
    *("\t=1", "a\x1b[2J", "a\nb", "a\u202egpj.exe", "\udcff.png"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_become_plain_text(name: str) -> None:
    shown = str(cell(name))
    assert not shown.lstrip().startswith(("=", "+", "-", "@"))
    assert shown.encode().decode() == shown
    assert shown.isprintable()


@given(st.text(st.characters(codec=None), max_size=30))
def test_any_text_stays_on_one_line_and_in_its_cell(text: str) -> None:
    assert len(printable(text).splitlines()) <= 1
    file = io.StringIO(newline="")
    table_writer(file).writerow([text, 1, -2.5, None])
    assert "\x1b" not in file.getvalue()
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert row[1:] == ["1", "-2.5", ""]
    assert not row[0].lstrip().startswith("=")


def test_ordinary_text_and_numbers_stay_as_they_are() -> None:
    for value in ("Läsion 1.jpg", "名前.png", "-0.5000", "1e-3", "a-b=c", 3, -0.25):
        assert cell(value) == value
