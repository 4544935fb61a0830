"""`check`: run a student's answer on small random inputs, compare it with the solution, and find the likely mistake."""

import inspect
import zlib
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from skinlesion.errors import SkinlesionError
from skinlesion.lessons import completion, conduct
from skinlesion.lessons.catalog import find
from skinlesion.lessons.compare import Difference, describe, difference, kind
from skinlesion.lessons.diagnosis import explanation
from skinlesion.lessons.exercise import Case, Exercise
from skinlesion.lessons.facts import holds, in_all
from skinlesion.lessons.result import CheckResult
from skinlesion.lessons.trial import Demand, Run, Trial, run, try_cases, try_demands


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
        result = _check_function(exercise, answer) if exercise.is_function else check_value(exercise, answer)
    if result.status != "passed":
        return result
    try:
        completion.record(name)
    except SkinlesionError as error:
        return CheckResult(
            name=name, status="passed", headline=f"{result.headline} (Not recorded: {error})", message=result.message
        )
    return result


def _unsolved(exercise: Exercise) -> CheckResult:
    return CheckResult(
        name=exercise.name,
        status="unsolved",
        headline=f'not solved yet. For a hint: lessons.hint("{exercise.name}")',
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


def check_value(exercise: Exercise, answer: Any) -> CheckResult:
    """The verdict on an answer that is a value."""
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
    said = complaint(exercise, answer)
    if said:
        return _failed(exercise, said)
    cases, generator = inputs(exercise)
    for case in cases[:1]:  # what is loaded or compiled on first use should not count as the student's time
        run(exercise, exercise.solution, case)
    result = judge_cases(exercise, cases, try_cases(exercise, answer, cases))
    if result is None:
        result = judge_demands(exercise, try_demands(exercise, answer, generator))
    return passed(exercise, answer is exercise.solution) if result is None else result


def inputs(exercise: Exercise) -> tuple[list[Case], torch.Generator]:
    """The cases of an exercise, always the same, and the generator that its properties go on with."""
    generator = torch.Generator().manual_seed(zlib.crc32(exercise.name.encode()))
    return exercise.cases(generator) if exercise.cases else [], generator


def judge_cases(exercise: Exercise, cases: list[Case], trial: Trial) -> CheckResult | None:
    """What is wrong with what a function did, or None; nothing of the student's runs here."""
    if trial.stub:
        return _unsolved(exercise)
    if trial.timed_out:
        case = cases[len(trial.runs)]
        return _failed(exercise, _too_slow(exercise.seconds, case, trial.stuck), **_where(cases, case))
    expected = [run(exercise, exercise.solution, case) for case in cases]
    for case, mine, right in zip(cases, trial.runs, expected, strict=True):
        changed = mine.changed if mine.changed != right.changed else None
        found = None if mine.error or changed else _compare(exercise, mine, right)
        if not (mine.error or changed or found):
            continue
        likely, where = (
            _VARIES if trial.varies else _diagnose(exercise, cases, trial.runs, expected),
            _where(cases, case),
        )
        if mine.error:
            return _failed(exercise, f"Your function raised an error.\n{mine.error}", likely=likely, **where)
        if changed:
            return _failed(exercise, _changed(exercise, *changed), likely=likely, **where)
        assert found is not None
        if not likely:
            likely, found = _explained(exercise, cases, trial.runs, expected, found)
        return _from_difference(exercise, found, likely, **where)
    return _failed(exercise, _VARIES) if trial.varies else None


def _explained(
    exercise: Exercise, cases: list[Case], mine: list[Run], right: list[Run], found: Difference
) -> tuple[str, Difference]:
    """The likely mistake in results that no known wrong answer gives, and the difference without what chance explains.

    Args:
        exercise: with a function as its solution.
        cases: its inputs.
        mine: what the student's function did with each.
        right: what the solution did.
        found: how the first wrong result differs.
    """
    pairs = list(zip(mine, right, strict=True))
    wrong = [i for i, (one, two) in enumerate(pairs) if one.error or not _agrees(exercise, one, two)]
    apart = [pairs[i] for i in wrong if not pairs[i][0].error]
    apart_by = [_compare(exercise, one, two) for one, two in apart]
    if found.likely and found.kind == "value" and not holds(found, apart_by):
        found = replace(found, likely="")
    if found.likely:
        return "", found
    likely = in_all([(one.value, two.value) for one, two in apart], exercise.rtol, exercise.atol)
    likely = likely or explanation(exercise, cases, mine, wrong, partial(_agrees, exercise))
    return likely or found.trace, found


def judge_demands(exercise: Exercise, demands: Iterable[Demand]) -> CheckResult | None:
    """The first property that a function lacks, or None."""
    for asked, found in zip(exercise.properties, demands, strict=True):
        if found.timed_out:
            return _failed(exercise, _too_slow(exercise.seconds, Case(()), found.stuck))
        if found.stub:
            return _unsolved(exercise)
        if found.raised:
            return _failed(exercise, f"Your function raised an error.\n{found.complaint}")
        if found.changed:
            return _failed(exercise, _changed(exercise, *found.changed))
        if found.complaint:
            return _failed(exercise, found.complaint, headline=f"not yet: {asked.name}.")
    return None


def passed(exercise: Exercise, reference: bool) -> CheckResult:
    """The verdict on an answer with which nothing is wrong; `reference`: it is the package's own function."""
    if reference:
        headline = "this is the package's own function. To check yours, run the cell that defines it again."
        return CheckResult(name=exercise.name, status="reference", headline=headline)
    tests = len(inputs(exercise)[0]) + len(exercise.properties)
    headline = f"passed, {tests} test{'s' if tests > 1 else ''}."
    return CheckResult(name=exercise.name, status="passed", headline=headline, message=exercise.after)


def complaint(exercise: Exercise, answer: Any) -> str:
    """What can be said before calling it."""
    function = exercise.signature
    if not callable(answer):
        return (
            f"Pass the function itself, `{function}`, without calling it; you passed {kind(answer)}: "
            f"{describe(answer)}."
        )
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # some built-in functions have none
        return ""
    try:
        signature.bind(*exercise.parameters)
    except TypeError:
        return f"The call `{function}` must work, but your function's signature is `{signature}`."
    return ""


def _too_slow(seconds: float, case: Case, stuck: bool) -> str:
    on = f" on {case.label}" if case.label else ""
    message = f"Your function was stopped because it ran longer than {seconds:g} s{on}. Is there an infinite loop?"
    return message + (" It could not be interrupted: restart the kernel." if stuck else "")


_VARIES = (
    "A second call with the same input gives another result. Nothing should be random here: does your function draw "
    "random numbers or keep state between calls (a global variable, a list as a default value)?"
)


def _where(cases: list[Case], case: Case) -> dict[str, str]:
    number = next(i for i, each in enumerate(cases, start=1) if each is case)
    label = f", {case.label}" if case.label else ""
    return {"headline": f"not yet: test {number} of {len(cases)}{label}."}


def _changed(exercise: Exercise, name: str, what: str) -> str:
    return exercise.forbids[name] if what == "forbidden" else conduct.message(name, what)


def _compare(exercise: Exercise, mine: Run, right: Run) -> Difference | None:
    loose = right.gradients is None and not exercise.exact_dtype
    found = difference(mine.value, right.value, exercise.rtol, exercise.atol, loose=loose)
    if found or right.gradients is None:
        return found
    if mine.gradients is None:
        if not any(bool(each.any()) for each in right.gradients.values()):
            return None
        return Difference(
            "gradient",
            "The values are right, but no gradient flows through them, so the network couldn't learn.",
            "no gradient",
            "a gradient",
            likely="Something cuts it off: .detach(), .item(), .data, .numpy(), no_grad, or a comparison.",
        )
    for name, expected in right.gradients.items():
        what = f"the gradient with respect to `{name}`"
        found = difference(mine.gradients[name], expected, 10 * exercise.rtol, 10 * exercise.atol, what)
        if found:
            return found
    return None


def _diagnose(exercise: Exercise, cases: list[Case], runs: list[Run], expected: list[Run]) -> str:
    """The diagnosis of the wrong answer that does the same as the student's on every input."""
    for wrong in exercise.wrong:
        agreed = 0
        for case, mine, right in zip(cases, runs, expected, strict=True):
            theirs = run(exercise, wrong.answer, case)
            may_change = (None, right.changed)  # what the solution changes, an answer may leave as it is
            if bool(theirs.error) != bool(mine.error):
                break
            if theirs.changed != mine.changed and not {theirs.changed, mine.changed} <= set(may_change):
                break
            if not theirs.error:
                if not _agrees(exercise, mine, theirs):
                    break
                agreed += 1
        else:
            if agreed:
                return wrong.diagnosis
    return ""


def _agrees(exercise: Exercise, mine: Run, theirs: Run) -> bool:
    return (theirs.gradients is None) == (mine.gradients is None) and _compare(exercise, mine, theirs) is None
