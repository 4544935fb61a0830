"""`check`: run a student's answer on small random inputs, compare it with the solution, and find the likely mistake."""

import copy
import inspect
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.lessons import completion, time_limit
from skinlesion.lessons.catalog import find
from skinlesion.lessons.compare import Difference, describe, difference, kind
from skinlesion.lessons.exercise import Case, Exercise
from skinlesion.lessons.result import CheckResult


@dataclass
class Run:
    """What a function did with one case.

    Attributes:
        value: what it returned.
        gradients: with respect to the marked arguments, by name; None where the result has none.
        changed: position of an argument that it changed, None for none.
        error: what it raised.
    """

    value: Any = None
    gradients: dict[str, Tensor] | None = None
    changed: int | None = None
    error: BaseException | None = None


def check(name: str, answer: Any) -> CheckResult:
    """Judge an answer.

    Args:
        name: of the exercise, such as "se.forward".
        answer: the student's function (or value, where one is asked for).

    Returns:
        The verdict: true when the answer is right. Whatever the function does, it is described, not raised.

    Raises:
        SkinlesionError: there is no such exercise.
    """
    exercise = find(name)
    with torch.random.fork_rng(devices=[]):  # the notebook's own random numbers are not disturbed
        result = _check_function(exercise, answer) if exercise.is_function else _check_value(exercise, answer)
    if result.status != "passed":
        return result
    try:
        completion.record(name)
    except SkinlesionError as error:
        return CheckResult(
            name=name, status="passed", headline=f"{result.headline} (Not noted: {error})", message=result.message
        )
    return result


def _unsolved(exercise: Exercise) -> CheckResult:
    return CheckResult(
        name=exercise.name,
        status="unsolved",
        headline=f'not solved yet. A hint: lessons.hint("{exercise.name}")',
    )


def _failed(exercise: Exercise, message: str, **details: Any) -> CheckResult:
    headline = details.pop("headline", "not yet.")
    return CheckResult(
        name=exercise.name, status="failed", headline=headline, message=message, hint=exercise.hints[0], **details
    )


def _from_difference(exercise: Exercise, found: Difference, likely: str, **details: Any) -> CheckResult:
    return _failed(
        exercise,
        found.message,
        yours=found.yours,
        expected=found.expected,
        largest=found.largest,
        likely=likely or found.likely,
        **details,
    )


def _check_value(exercise: Exercise, answer: Any) -> CheckResult:
    if answer is None or answer is ...:
        return _unsolved(exercise)

    def differs(value: Any, expected: Any) -> Difference | None:
        return difference(value, expected, exercise.rtol, exercise.atol, "your answer")

    found = differs(answer, exercise.solution)
    if found is None:
        return CheckResult(name=exercise.name, status="passed", headline="right.", message=exercise.after)
    likely = next((w.diagnosis for w in exercise.wrong if differs(answer, w.answer) is None), "")
    if found.kind == "value":  # the answer itself is not given away
        return _failed(exercise, found.message, yours=found.yours, likely=likely)
    return _from_difference(exercise, found, likely)


def _check_function(exercise: Exercise, answer: Any) -> CheckResult:
    if answer is None or answer is ...:
        return _unsolved(exercise)
    complaint = _complaint(exercise, answer)
    if complaint:
        return _failed(exercise, complaint)
    generator = torch.Generator().manual_seed(zlib.crc32(exercise.name.encode()))
    cases = exercise.cases(generator) if exercise.cases else []
    runs: list[Run] = []
    expected = [_run(exercise, exercise.solution, case) for case in cases]
    for case in cases:
        outcome = time_limit.call(lambda case=case: _run(exercise, answer, case), exercise.seconds)  # type: ignore[misc]
        if outcome.timed_out:
            return _failed(exercise, _too_slow(exercise.seconds, case, outcome.stuck), **_where(cases, case))
        runs.append(outcome.value or Run(error=outcome.error))
        if _is_stub(runs[-1].error, exercise):
            return _unsolved(exercise)
    for case, mine, right in zip(cases, runs, expected, strict=True):
        likely = ""
        if mine.error is not None or mine.changed is not None or _compare(exercise, mine, right):
            likely = _diagnose(exercise, cases, runs)
        where = _where(cases, case)
        if mine.error is not None:
            message = f"Your function raised an error.\n{time_limit.explain(mine.error)}"
            return _failed(exercise, message, likely=likely, **where)
        if mine.changed is not None:
            return _failed(exercise, _changed(exercise, mine.changed), likely=likely, **where)
        found = _compare(exercise, mine, right)
        if found:
            return _from_difference(exercise, found, likely, **where)
    for demand in exercise.properties:
        outcome = time_limit.call(lambda test=demand.test: test(answer, generator), exercise.seconds)  # type: ignore[misc]
        if outcome.timed_out:
            return _failed(exercise, _too_slow(exercise.seconds, Case(()), outcome.stuck))
        if _is_stub(outcome.error, exercise):
            return _unsolved(exercise)
        if outcome.error is not None:
            return _failed(exercise, f"Your function raised an error.\n{time_limit.explain(outcome.error)}")
        if outcome.value:
            return _failed(exercise, outcome.value, headline=f"not yet: {demand.name}.")
    return _passed(exercise, answer, len(cases) + len(exercise.properties))


def _passed(exercise: Exercise, answer: Any, tests: int) -> CheckResult:
    if answer is exercise.solution:
        headline = "this is the package's own function. Run the cell with your function again to check yours."
        return CheckResult(name=exercise.name, status="reference", headline=headline)
    headline = f"passed, {tests} test{'s' if tests > 1 else ''}."
    return CheckResult(name=exercise.name, status="passed", headline=headline, message=exercise.after)


def _complaint(exercise: Exercise, answer: Any) -> str:
    """What can be said before calling it."""
    function = exercise.signature
    if not callable(answer):
        return (
            f"Give the function itself, `{function}`, without calling it; this is {kind(answer)}: {describe(answer)}."
        )
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # some built-in functions have none
        return ""
    try:
        signature.bind(*exercise.parameters)
    except TypeError:
        return f"The function must take `{function}`; yours takes `{signature}`."
    return ""


def _too_slow(seconds: float, case: Case, stuck: bool) -> str:
    on = f" on {case.label}" if case.label else ""
    message = f"Your function was stopped: it ran longer than {seconds:g} s{on}. Is there a loop that never ends?"
    return message + (" It could not be interrupted: restart the kernel." if stuck else "")


def _is_stub(error: BaseException | None, exercise: Exercise) -> bool:
    return isinstance(error, NotImplementedError) and str(error) in ("", exercise.name)


def _where(cases: list[Case], case: Case) -> dict[str, str]:
    number = next(i for i, each in enumerate(cases, start=1) if each is case)
    label = f", {case.label}" if case.label else ""
    return {"headline": f"not yet: test {number} of {len(cases)}{label}."}


def _changed(exercise: Exercise, position: int) -> str:
    name = exercise.parameters[position]
    return (
        f"Your function changes its argument `{name}`: the caller still needs that value. Make a new tensor "
        f"(`{name} = {name} + 1` rather than `{name} += 1`)."
    )


def _compare(exercise: Exercise, mine: Run, right: Run) -> Difference | None:
    found = difference(mine.value, right.value, exercise.rtol, exercise.atol)
    if found or right.gradients is None:
        return found
    if mine.gradients is None:
        if not any(bool(each.any()) for each in right.gradients.values()):
            return None
        return Difference(
            "gradient",
            "The values are right, but no gradient flows through them: the network could not learn.",
            "no gradient",
            "a gradient",
            likely="Something cut it off: .detach(), .item(), .data, .numpy(), no_grad, or a comparison.",
        )
    for name, expected in right.gradients.items():
        what = f"the gradient with respect to `{name}`"
        found = difference(mine.gradients[name], expected, 10 * exercise.rtol, 10 * exercise.atol, what)
        if found:
            return found
    return None


def _diagnose(exercise: Exercise, cases: list[Case], runs: list[Run]) -> str:
    """The diagnosis of the wrong answer that does the same as the student's on every input."""
    for wrong in exercise.wrong:
        agreed = 0
        for case, mine in zip(cases, runs, strict=True):
            theirs = _run(exercise, wrong.answer, case)
            if (theirs.error is None) != (mine.error is None) or theirs.changed != mine.changed:
                break
            if theirs.error is None:
                if (theirs.gradients is None) != (mine.gradients is None) or _compare(exercise, mine, theirs):
                    break
                agreed += 1
        else:
            if agreed:
                return wrong.diagnosis
    return ""


def _run(exercise: Exercise, function: Callable[..., Any], case: Case) -> Run:
    """Call a function on copies of a case's arguments. Only its own trouble is caught, as `error`."""
    args = [_copied(each, i in case.gradients) for i, each in enumerate(case.args)]
    run = Run()
    try:
        run.value = function(*args)
        marked = {exercise.parameters[i]: args[i] for i in case.gradients}
        run.gradients = _gradients(run.value, marked)
    except Exception as error:
        run.error = error
        return run
    changes = (i for i, each in enumerate(args) if _differs(each, case.args[i]))
    run.changed = next(changes, None)
    return run


def _gradients(value: Any, marked: dict[str, Any]) -> dict[str, Tensor] | None:
    """Of the outputs' sum, weighted so that no output hides behind another."""
    leaves: dict[str, Tensor] = {}
    for name, argument in marked.items():
        several = list(_tensors(argument))
        leaves |= {name if len(several) == 1 else f"{name}[{i}]": leaf for i, leaf in enumerate(several)}
    outputs = [each for each in _tensors(value) if each.is_floating_point() and each.requires_grad]
    if not leaves or not outputs:
        return None
    generator = torch.Generator().manual_seed(0)
    total = torch.stack([(each * torch.randn(each.shape, generator=generator).to(each)).sum() for each in outputs])
    found = torch.autograd.grad(total.sum(), list(leaves.values()), allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return {name: torch.zeros_like(leaf) if each is None else each for (name, leaf), each in pairs}


def _copied(value: Any, gradient: bool) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(gradient and value.is_floating_point())
    if isinstance(value, torch.Generator):
        return torch.Generator().set_state(value.get_state())
    if isinstance(value, list | tuple):
        parts = [_copied(each, gradient) for each in value]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, dict):
        return {key: _copied(each, gradient) for key, each in value.items()}
    return copy.deepcopy(value) if isinstance(value, nn.Module | np.ndarray) else value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, list | tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def _differs(used: Any, original: Any) -> bool:
    """Whether an argument is no longer what it was."""
    if isinstance(original, nn.Module):
        state = original.state_dict()
        return any(not torch.equal(value, state[name]) for name, value in used.state_dict().items())
    if isinstance(original, Tensor):
        return used.shape != original.shape or not torch.equal(used.detach(), original)
    if isinstance(original, np.ndarray):
        return used.shape != original.shape or not np.array_equal(used, original)
    if isinstance(original, list | tuple | dict):
        if len(used) != len(original):
            return True
        pairs = [(used[k], original[k]) for k in original] if isinstance(original, dict) else zip(used, original)  # noqa: B905
        return any(_differs(one, two) for one, two in pairs)
    return False
