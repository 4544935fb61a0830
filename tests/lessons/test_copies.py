"""Lessons are copied once, kept up to date, and never overwritten where a student wrote."""

import json
from pathlib import Path

import pytest

from skinlesion import SkinlesionError
from skinlesion.lessons.copies import RECORD, copy_lessons


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    (folder / "solutions").mkdir(parents=True)
    for name in ("00_start.ipynb", "07_se.ipynb", "solutions/07_se.ipynb", "glossary.md"):
        (folder / name).write_text(f"first edition of {name}")
    (folder / "src").mkdir()
    (folder / "src" / "00_start.py").write_text("not copied")
    return folder


def test_the_first_time_everything_is_copied(source: Path, tmp_path: Path) -> None:
    found = copy_lessons(source, tmp_path / "mine")
    assert sorted(found.new) == ["00_start.ipynb", "07_se.ipynb", "glossary.md", "solutions/07_se.ipynb"]
    assert (tmp_path / "mine/solutions/07_se.ipynb").read_text() == "first edition of solutions/07_se.ipynb"
    assert not (tmp_path / "mine/src").exists()
    assert copy_lessons(source, tmp_path / "mine") == ((), (), ())


def test_an_upgrade_updates_what_is_unchanged_and_keeps_what_is_not(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    copy_lessons(source, mine)
    (mine / "07_se.ipynb").write_text("my answers")
    for name in ("00_start.ipynb", "07_se.ipynb"):
        (source / name).write_text(f"second edition of {name}")
    (source / "08_cmn.ipynb").write_text("new")
    assert copy_lessons(source, mine) == (("08_cmn.ipynb",), ("00_start.ipynb",), ("07_se.ipynb",))
    assert (mine / "07_se.ipynb").read_text() == "my answers"
    assert (mine / "00_start.ipynb").read_text() == "second edition of 00_start.ipynb"
    assert copy_lessons(source, mine).kept == ("07_se.ipynb",)  # it says so each time


def test_a_changed_lesson_without_a_newer_edition_is_not_worth_a_word(source: Path, tmp_path: Path) -> None:
    copy_lessons(source, tmp_path / "mine")
    (tmp_path / "mine/07_se.ipynb").write_text("my answers")
    assert copy_lessons(source, tmp_path / "mine") == ((), (), ())
    assert (tmp_path / "mine/07_se.ipynb").read_text() == "my answers"


def test_a_file_of_that_name_that_we_did_not_copy_stays(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/07_se.ipynb").write_text("something else")
    assert "07_se.ipynb" in copy_lessons(source, tmp_path / "mine").kept
    assert (tmp_path / "mine/07_se.ipynb").read_text() == "something else"


@pytest.mark.parametrize("record", ["{", "[]", '{"a": 1}', "[" * 100_000])
def test_a_damaged_record_is_named(source: Path, tmp_path: Path, record: str) -> None:
    copy_lessons(source, tmp_path / "mine")
    (tmp_path / "mine" / RECORD).write_text(record)
    with pytest.raises(SkinlesionError, match="damaged"):
        copy_lessons(source, tmp_path / "mine")


def test_the_record_has_no_paths_of_this_machine(source: Path, tmp_path: Path) -> None:
    copy_lessons(source, tmp_path / "mine")
    record = json.loads((tmp_path / "mine" / RECORD).read_text())
    assert all(not Path(name).is_absolute() and len(digest) == 64 for name, digest in record.items())
