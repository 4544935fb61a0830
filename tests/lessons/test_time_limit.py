"""A function that doesn't end is ended, wherever it is at that moment, and nothing is printed about it."""

import sys
import time

import numba
import pytest

from skinlesion.lessons import time_limit


class Busy:
    """Spends its time in its destructor."""

    def __del__(self) -> None:
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            pass


def in_a_destructor() -> None:
    Busy()
    while True:
        pass


def behind_a_bare_except() -> None:
    while True:
        try:
            time.sleep(0.01)
        except:  # noqa: E722
            break
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize("endless", [in_a_destructor, behind_a_bare_except])
def test_it_is_ended_without_a_word(endless, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    outcome = time_limit.call(endless, 0.1)
    assert outcome.timed_out
    assert not outcome.stuck
    assert said == []
    assert sys.unraisablehook == said.append


def test_what_other_destructors_raise_is_still_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("mine")

    def endless() -> None:
        while True:
            Broken()
            time.sleep(0.01)

    said: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: said.append(str(found.exc_value)))
    assert time_limit.call(endless, 0.1).timed_out
    assert "mine" in said


def test_an_import_that_never_ends_is_cut_off_after_a_while(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time_limit, "_LOADING_GRACE", 0.3)
    endless = compile("while True: pass", "<frozen importlib._bootstrap>", "exec")
    outcome = time_limit.call(lambda: exec(endless), 0.01)
    assert (outcome.timed_out, outcome.stuck) == (True, False)
    assert outcome.seconds > 0.3


def test_a_kernel_that_is_being_compiled_is_not_cut_off():
    """Numba stays broken for the whole process if it is."""
    compiled = []

    def work() -> None:
        @numba.njit
        def kernel(x):
            return [x * i for i in range(10)][3] + sum([x, 2 * x])

        compiled.append(kernel(1.0))
        while True:
            pass

    outcome = time_limit.call(work, 0.01)
    assert (outcome.timed_out, outcome.stuck) == (True, False)
    assert compiled == [6.0]
    assert numba.njit(lambda x: x + 1)(1) == 2
