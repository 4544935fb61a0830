"""The search: which single slip makes the solution do what the student's function does, on every input?"""

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from skinlesion.lessons import time_limit
from skinlesion.lessons.conduct import tensors
from skinlesion.lessons.diagnosis import arguments, results
from skinlesion.lessons.diagnosis.variants import variants
from skinlesion.lessons.exercise import Case, Exercise
from skinlesion.lessons.source import self_contained
from skinlesion.lessons.trial import Run, run

_SHORTEST = 0.3  # seconds that each slip gets, at least
_LONGEST = 10.0  # seconds of computing for all of them: a student is waiting

Agrees = Callable[[Run, Run], bool]


def explanation(exercise: Exercise, cases: list[Case], runs: list[Run], wrong: list[int], agrees: Agrees) -> str:
    """What the student's function does, in a sentence; "" where no single slip explains all its results.

    Args:
        exercise: with a function as its solution.
        cases: its inputs.
        runs: what the student's function did with each.
        wrong: which cases are wrong, by number; the first one dismisses most slips.
        agrees: whether two runs are the same.
    """
    if len(wrong) == 1 and not _is_telling(runs[wrong[0]].value):
        return ""
    order = [*wrong, *(i for i in range(len(cases)) if i not in wrong)]

    def is_it(suspect: Callable[..., Any]) -> bool:
        return all(_is_same(run(exercise, suspect, cases[i]), runs[i], agrees) for i in order)

    usual = time_limit.call(lambda: is_it(exercise.solution), exercise.seconds).seconds
    limit, end = _SHORTEST + 10 * len(cases) * usual, time.process_time() + _LONGEST
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a slip may well divide by zero
        for text, suspect in _suspects(exercise, cases[wrong[0]]):
            outcome = time_limit.call(partial(is_it, suspect), limit)  # a slip may well go on forever
            if outcome.value:
                return text
            if outcome.stuck or time.process_time() > end:
                break
    return ""


def _is_telling(value: Any) -> bool:
    """Whether a result says enough that no other function gives the same by chance: a mask alone doesn't."""
    return not any(each.dtype == torch.bool for each in tensors(value)) and not isinstance(value, bool | str)


def _is_same(theirs: Run, mine: Run, agrees: Agrees) -> bool:
    if theirs.error or mine.error:
        return bool(theirs.error) == bool(mine.error)
    return agrees(mine, theirs)


def _suspects(exercise: Exercise, case: Case) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Functions with one slip each, and what to say when it is that one."""
    solution = exercise.solution
    names = exercise.parameters
    for text, change in arguments.changes(names, case.args):
        yield f"You get this result when {text}.", lambda *args, change=change: solution(*change(args))
    for text, change in results.changes(names, case.args, run(exercise, solution, case).value):
        yield f"You get this result when {text}.", lambda *args, change=change: change(solution(*args), *args)
    yield (
        "The function is applied twice, the second time to its own result.",
        lambda *args: solution(solution(*args), *args[1:]),
    )
    yield "Each image is processed separately, and the results are averaged.", partial(_one_by_one, solution)
    written = exercise.formula or solution
    for text, source in variants(self_contained(written)):
        function = _defined(source, written.__name__)
        if function is not None:
            yield f"The package's solution gives your result {text}.", function


def _one_by_one(solution: Callable[..., Any], *args: Any) -> Any:
    count = len(args[0])
    apart = [
        [each[i : i + 1] if isinstance(each, Tensor) and len(each) == count else each for each in args]
        for i in range(count)
    ]
    return sum(solution(*each) for each in apart) / count


def _defined(source: str, name: str) -> Callable[..., Any] | None:
    namespace: dict[str, Any] = {"__name__": __name__}
    try:
        exec("import torch\n" + source, namespace)
    except Exception:  # some slips don't give a valid program
        return None
    return namespace.get(name)
