"""The reader's progress: kept, shared, reset, and never in the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from skinlesion import SkinlesionError, lessons
from skinlesion.lessons import completion
from skinlesion.scan.reference import four_routes

NAME = "ss2d.four_routes"


def mine(height, width):
    return four_routes(height, width)


def test_a_passed_check_is_noted_once(progress_path: Path):
    lessons.check(NAME, lambda height, width: None)
    assert completion.passed() == {}
    lessons.check(NAME, mine)
    first = completion.passed()
    assert list(first) == [NAME]
    lessons.check(NAME, mine)
    assert completion.passed() == first
    assert json.loads(progress_path.read_text())["version"] == 1
    assert [path.name for path in progress_path.parent.iterdir()] == ["progress.json"]


def test_the_packages_own_function_is_not_the_readers():
    assert lessons.check(NAME, four_routes)
    assert completion.passed() == {}


def test_it_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("SKINLESION_PROGRESS", "off")
    assert lessons.check(NAME, mine)
    assert completion.progress_file() is None
    assert completion.reset() == 0


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_DATA_HOME", "skinlesion/progress.json"),
        ("win32", "APPDATA", "skinlesion/progress.json"),
    ],
)
def test_the_file_is_in_the_platforms_folder(monkeypatch, tmp_path, platform, variable, expected):
    monkeypatch.delenv("SKINLESION_PROGRESS")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert completion.progress_file() == tmp_path / expected


def test_a_folder_that_cannot_be_written_does_not_stop_the_check(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SKINLESION_PROGRESS", str(tmp_path / "file" / "progress.json"))
    result = lessons.check(NAME, mine)
    assert result
    assert "Not recorded" in result.headline


@pytest.mark.parametrize("content", ["", "{", "[]", '{"passed": [1]}', '{"passed": {"a": 1}}', '{"version": 1}'])
def test_a_damaged_file_is_reported_and_can_be_reset(progress_path: Path, content):
    progress_path.parent.mkdir()
    progress_path.write_text(content)
    with pytest.raises(SkinlesionError, match="course --reset"):
        completion.passed()
    assert "Not recorded" in lessons.check(NAME, mine).headline
    completion.reset()
    assert completion.passed() == {}


def test_some_exercises_can_be_forgotten():
    completion.record("a.one")
    completion.record("b.two")
    assert completion.reset(["a.one", "c.three"]) == 1
    assert list(completion.passed()) == ["b.two"]
    assert completion.reset() == 1
    assert completion.passed() == {}


def test_two_kernels_at_once_lose_nothing(progress_path: Path):
    code = (
        "import sys; from skinlesion.lessons.completion import record\nfor i in range(40): record(f'{sys.argv[1]}.{i}')"
    )
    kernels = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "ab"]
    assert [kernel.wait(120) for kernel in kernels] == [0, 0]
    assert len(completion.passed()) == 80


def test_a_lock_left_behind_is_overcome(progress_path: Path, monkeypatch):
    monkeypatch.setattr(completion, "_PATIENCE", 0.1)
    progress_path.parent.mkdir()
    progress_path.with_name("progress.json.lock").touch()
    completion.record(NAME)
    assert NAME in completion.passed()
