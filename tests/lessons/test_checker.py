"""What a student's function can do wrong, and what the check says."""

import contextlib
import math
import time

import numpy as np
import pytest
import torch

from skinlesion import SkinlesionError, lessons
from skinlesion.lessons import catalog, checker
from skinlesion.lessons.exercise import Case, Exercise, Property, Wrong
from skinlesion.scan.reference import four_routes


def double(x):
    return 2 * x


TOY = Exercise(
    name="toy.double",
    lesson=5,
    title="Double",
    statement="Double it.",
    solution=double,
    example="double(torch.ones(2))",
    difficulty=0,
    importance=1,
    minutes=1,
    hints=("Add it to itself.", "2 * x"),
    wrong=(
        Wrong("square", lambda x: x * x, "That is the square."),
        Wrong("cut off", lambda x: 2 * x.detach(), "It is cut off."),
        Wrong("crashes on two rows", lambda x: 3 * x if len(x) == 1 else x[5], "Three of them."),
    ),
    cases=lambda generator: [
        Case((torch.randn(1, 3, generator=generator),), "one row", (0,)),
        Case((torch.randn(2, 3, generator=generator),), "two rows", (0,)),
    ],
    seconds=0.5,
)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch):
    known = {**catalog._by_name(), "toy.double": TOY}
    monkeypatch.setattr(catalog, "_by_name", lambda: known)


def check(answer):
    return lessons.check("toy.double", answer)


def test_a_right_answer_is_true_and_says_how_much_was_tried():
    result = check(lambda x: x + x)
    assert result
    assert result.status == "passed"
    assert str(result) == "✓ toy.double: passed, 2 tests."


def test_a_wrong_answer_shows_yours_expected_difference_mistake_and_hint():
    result = check(lambda x: x * x)
    assert not result
    text = str(result)
    for part in ("test 1 of 2, one row", "yours:", "expected:", "largest difference:", "That is the square.", "Add it"):
        assert part in text
    assert result.largest > 0


def test_a_missing_gradient_is_found_though_the_values_are_right():
    result = check(lambda x: 2 * x.detach())
    assert not result
    assert "no gradient" in result.message
    assert result.likely == "It is cut off."


def test_a_wrong_gradient_is_found_though_the_values_are_right():
    result = check(lambda x: x + x.detach())
    assert not result
    assert "The gradient with respect to `x` is not right" in result.message
    assert "It is 1/2 times what it should be" in result.likely


def test_a_wrong_answer_is_recognized_when_it_crashes_on_some_input():
    result = check(lambda x: 3 * x if len(x) == 1 else 1 / 0)
    assert result.likely == "Three of them."


def never_ends(x):
    while True:
        pass


def test_an_endless_loop_is_stopped():
    start = time.perf_counter()
    result = check(never_ends)
    assert "longer than 0.5 s on one row" in result.message
    assert "restart" not in result.message
    assert time.perf_counter() - start < 60  # on a busy machine too; it would never end by itself


def test_a_loop_that_cannot_be_stopped_is_left_behind_and_said_so(monkeypatch):
    stop = []

    def nap():
        while not stop:
            with contextlib.suppress(BaseException):
                time.sleep(0.01)

    def stubborn(x):
        while not stop:  # twice: an exception may come between two rounds of a loop, where nothing suppresses it
            with contextlib.suppress(BaseException):
                nap()

    result = check(stubborn)
    stop.append(1)
    assert "restart the kernel" in result.message


def test_a_module_is_not_cut_off_while_it_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "slow_to_load.py").write_text("import time\nfor _ in range(100): time.sleep(0.01)\nfactor = 2")
    monkeypatch.syspath_prepend(tmp_path)

    def mine(x):
        import slow_to_load

        return slow_to_load.factor * x

    assert check(mine)


def test_an_error_is_shown_with_the_students_line():
    def mine(x):
        y = x + 1
        return y.nonsense

    result = check(mine)
    assert "AttributeError" in result.message
    assert "in mine, line" in result.message
    assert "return y.nonsense" in result.message
    assert "checker.py" not in str(result)


@pytest.mark.parametrize(
    "error", [SystemExit(), KeyboardInterrupt(), RecursionError("deep"), MemoryError(), NotImplementedError("Half")]
)
def test_no_error_leaves_the_check(error):
    def mine(x):
        raise error

    result = check(mine)
    assert result.status == "failed"
    assert type(error).__name__ in result.message


@pytest.mark.parametrize("text", ["", "toy.double"])
def test_a_stub_is_unsolved(text):
    def mine(x):
        raise NotImplementedError(text)

    result = check(mine)
    assert result.status == "unsolved"
    assert 'lessons.hint("toy.double")' in str(result)


def in_place(x):
    with torch.no_grad():
        x *= 2
    return x


def test_a_changed_argument_is_named():
    assert "changes its argument `x`" in check(in_place).message


def test_an_in_place_operation_that_autograd_refuses_is_explained():
    def mine(x):
        x *= 2
        return x

    assert "changed in place" in check(mine).message


@pytest.mark.parametrize(
    ("mine", "says"),
    [
        (lambda x: None, "without `return`"),
        (lambda x: (2 * x).detach().numpy(), "NumPy array has no gradient"),
        (lambda x: [2 * row for row in x], "torch.stack"),
        (lambda x: (yield 2 * x), "`yield`"),
        (lambda x: 2.0, ".item()"),
        (lambda x: 2 * x[None], "keepdim"),
        (lambda x: (2 * x).mT, "wrong order"),
        (lambda x: (2 * x).double(), "dtype torch.float64; expected torch.float32"),
        (lambda x: 0 * x / (x - x), "NaN"),
        (lambda x: x / (x - x), "infinite"),
        (lambda x: -2 * x, "The sign is wrong"),
        (lambda x: 6 * x, "3 times what it should be"),
        (lambda x: 2 * x + 1, "off by the same 1"),
        (lambda x: (2 * x).flip(1), "Axis 1 runs backward"),
        (lambda x: 0 * x, "Everything is zero"),
    ],
)
def test_typical_slips_are_recognized_by_their_result(mine, says):
    result = check(mine)
    assert not result
    assert says in str(result)


@pytest.mark.parametrize(
    ("mine", "says"),
    [
        (lambda: 0, "The call `double(x)` must work"),
        (lambda x, y: 0, "The call `double(x)` must work"),
        (torch.zeros(2), "without calling it; you passed a tensor"),
        (3, "Pass the function itself"),
    ],
)
def test_what_is_not_the_function_is_refused_before_it_is_called(mine, says):
    assert says in check(mine).message


def test_the_notebooks_random_numbers_are_not_disturbed():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check(lambda x: 2 * x + torch.rand(1))
    assert torch.equal(torch.rand(2), expected)


def test_a_value_is_checked_without_giving_it_away():
    name = "ss2d.seen_by_one_route"
    assert lessons.check(name, 29)
    assert lessons.check(name, 29.0)
    assert lessons.check(name, torch.tensor(29))
    assert lessons.check(name, None).status == "unsolved"
    wrong = lessons.check(name, 28)
    assert wrong.likely == "You forgot the token itself."
    assert "29" not in str(wrong)
    assert not lessons.check(name, "29")


def test_a_property_is_tried_after_the_cases(monkeypatch):
    def large(function, generator):
        return None if function(torch.ones(1, 3)).sum() < 5 else "Too large."

    limited = Exercise(**{**TOY.__dict__, "properties": (Property("not too large", large),)})
    monkeypatch.setattr(checker, "find", lambda name: limited)
    result = check(lambda x: 2 * x)
    assert not result
    assert "not too large" in result.headline
    assert result.message == "Too large."


def test_an_unknown_name_proposes_the_nearest():
    with pytest.raises(SkinlesionError, match=r"did you mean ss2d\.four_routes"):
        lessons.check("ss2d.four_route", four_routes)
    with pytest.raises(SkinlesionError, match=r"lessons\.exercises\(\)"):
        lessons.check("zzz", four_routes)


def test_html_is_escaped_and_tells_the_same():
    result = check(lambda x: "<script>alert(1)</script>")
    assert "<script>" not in result._repr_html_()
    assert "&lt;script&gt;" in result._repr_html_()
    wrong = check(lambda x: x * x)._repr_html_()
    assert "That is the square." in wrong
    assert "largest difference" in wrong


def test_arrays_and_dictionaries_are_compared_too():
    from skinlesion.lessons.compare import difference

    assert difference({"a": [1, 2.0]}, {"a": (1, 2)}, 0, 0) is None
    assert difference({"b": 1}, {"a": 1}, 0, 0).kind == "keys"
    assert difference([1], [1, 2], 0, 0).kind == "length"
    assert difference(np.ones(2), np.ones(2), 0, 0) is None
    assert difference(torch.ones(2), np.ones(2), 0, 0).kind == "type"
    assert difference(torch.ones(2).bool(), torch.ones(2), 0, 0).kind == "dtype"
    assert difference(torch.tensor([1]), torch.tensor([1], dtype=torch.int32), 0, 0) is None
    assert difference(torch.ones(0), torch.ones(0), 0, 0) is None
    assert (
        difference([math.nan, np.array([math.nan, math.inf])], [math.nan, np.array([math.nan, math.inf])], 0, 0) is None
    )
    assert difference(torch.ones(2, device="meta"), torch.ones(2), 0, 0).kind == "device"
    assert "part 2 of the result[" in difference({"a": (1, 2)}, {"a": (1, 3)}, 0, 0).message.replace("Part", "part")
