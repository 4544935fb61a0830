"""Trying a student's function: what it returns, its gradients, what it does to its arguments, what it raises.

Nothing is judged here, so that a trial can run in one process and be judged in another (see `grading`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from skinlesion.lessons import time_limit
from skinlesion.lessons.compare import describe, difference
from skinlesion.lessons.conduct import Calls, Memory, Watched, copied, tensors
from skinlesion.lessons.exercise import Case, Exercise


@dataclass
class Run:
    """What a function did with one case.

    Attributes:
        value: what it returned.
        gradients: with respect to the marked arguments, by name; None where the result has none.
        changed: an argument that it changed: its name, and "values", "training mode", "statistics" or "requires_grad";
            or ("the result", "graph") where plain numbers are asked, or a forbidden function's name and "forbidden".
        error: what it raised, in a few lines; "" for nothing.
    """

    value: Any = None
    gradients: dict[str, Tensor] | None = None
    changed: tuple[str, str] | None = None
    error: str = ""


@dataclass
class Trial:
    """What a function did with all cases, as far as it came.

    Attributes:
        runs: one for each case, in order.
        stub: it is the notebook's unsolved function.
        timed_out: it was stopped, in the case after the last of `runs`.
        stuck: it could not even be stopped.
        varies: a second call with the first case gave another result.
    """

    runs: list[Run] = field(default_factory=list)
    stub: bool = False
    timed_out: bool = False
    stuck: bool = False
    varies: bool = False


@dataclass
class Demand:
    """What became of one property.

    Attributes:
        complaint: what is wrong; "" for nothing.
        stub: it is the notebook's unsolved function.
        timed_out: it was stopped.
        stuck: it could not even be stopped.
        raised: the complaint is an error that the function raised.
        changed: an argument that the function changed, as in `Run`.
    """

    complaint: str = ""
    stub: bool = False
    timed_out: bool = False
    stuck: bool = False
    raised: bool = False
    changed: tuple[str, str] | None = None


def try_cases(exercise: Exercise, answer: Callable[..., Any], cases: list[Case]) -> Trial:
    """Call a student's function with every case, each within the time limit, until it is a stub or too slow."""
    trial = Trial()
    for case in cases:
        outcome = time_limit.call(lambda case=case: _attempt(exercise, answer, case), exercise.seconds)  # type: ignore[misc]
        if outcome.timed_out:
            trial.timed_out, trial.stuck = True, outcome.stuck
            return trial
        run, error = outcome.value or (Run(), outcome.error)
        if _is_stub(error, exercise):
            trial.stub = True
            return trial
        if error is not None:
            run.error = time_limit.explain(error)
        trial.runs.append(run)
    if cases and not trial.runs[0].error and _is_small(trial.runs[0].value):
        again = time_limit.call(lambda: _attempt(exercise, answer, cases[0]), exercise.seconds).value
        trial.varies = again is None or not _is_alike(again[0].value, trial.runs[0].value)
    return trial


def _is_small(value: Any) -> bool:
    """Whether a result is of a size that any exercise asks for; others are wrong and not worth a second call."""
    return sum(each.numel() for each in tensors(value)) < 2**20


def _is_alike(one: Any, two: Any) -> bool:
    """Whether two results of one function are equal but for rounding, or of a kind that can't be compared."""
    found = difference(one, two, 1e-3, 1e-4)
    return found is None or found.kind == "type"


def try_demands(exercise: Exercise, answer: Callable[..., Any], generator: torch.Generator) -> Iterator[Demand]:
    """Try the properties one after the other."""
    for each in exercise.properties:
        watched = Watched(answer, exercise.parameters)
        outcome = time_limit.call(lambda test=each.test, w=watched: test(w, generator), exercise.seconds)  # type: ignore[misc]
        found = Demand(outcome.value or "", timed_out=outcome.timed_out, stuck=outcome.stuck, changed=watched.changed)
        if outcome.error is not None:
            found.stub = _is_stub(outcome.error, exercise)
            found.raised = outcome.error is watched.error
            found.complaint = time_limit.explain(outcome.error)
            if not found.raised:
                found.complaint = (
                    f"The check can't go on with what your function returned, {describe(watched.returned)} "
                    f"({found.complaint})."
                )
        yield found


def run(exercise: Exercise, function: Callable[..., Any], case: Case) -> Run:
    """Call a known function with one case, without a time limit."""
    found, error = _attempt(exercise, function, case)
    if error is not None:
        found.error = time_limit.explain(error)
    return found


def _is_stub(error: BaseException | None, exercise: Exercise) -> bool:
    return isinstance(error, NotImplementedError) and str(error) in ("", exercise.name)


def _attempt(exercise: Exercise, function: Callable[..., Any], case: Case) -> tuple[Run, BaseException | None]:
    """Call a function on copies of a case's arguments. Only its own trouble is caught, as the second part."""
    args = tuple(copied(each, i in case.gradients) for i, each in enumerate(case.args))
    memory = Memory(args, case.args)
    found = Run()
    try:
        with Calls(frozenset(exercise.forbids)) as calls:
            found.value = function(*args)
        changed = memory.change()
        if changed:
            found.changed = exercise.parameters[changed[0]], changed[1]
        elif calls.found:
            found.changed = calls.found[0], "forbidden"
        elif exercise.plain and any(each.requires_grad for each in tensors(found.value)):
            found.changed = "the result", "graph"
        if not (changed and changed[1] == "requires_grad"):  # else there may be nothing to differentiate by
            found.gradients = _gradients(found.value, {exercise.parameters[i]: args[i] for i in case.gradients})
    except Exception as error:
        return found, error
    return found, None


def _gradients(value: Any, marked: dict[str, Any]) -> dict[str, Tensor] | None:
    """Of the outputs' sum, weighted so that no output hides behind another."""
    leaves: dict[str, Tensor] = {}
    for name, argument in marked.items():
        several = list(tensors(argument))
        leaves |= {name if len(several) == 1 else f"{name}[{i}]": leaf for i, leaf in enumerate(several)}
    outputs = [each for each in tensors(value) if each.is_floating_point() and each.requires_grad]
    if not leaves or not outputs:
        return None
    generator = torch.Generator().manual_seed(0)
    total = torch.stack([(each * torch.randn(each.shape, generator=generator).to(each)).sum() for each in outputs])
    found = torch.autograd.grad(total.sum(), list(leaves.values()), allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return {name: torch.zeros_like(leaf) if each is None else each for (name, leaf), each in pairs}
