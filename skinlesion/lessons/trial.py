"""Trying a student's function: what it returns, its gradients, what it does to its arguments, what it raises.

Nothing is judged here, so that a trial can run in one process and be judged in another (see `grading`).
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skinlesion.lessons import time_limit
from skinlesion.lessons.exercise import Case, Exercise


@dataclass
class Run:
    """What a function did with one case.

    Attributes:
        value: what it returned.
        gradients: with respect to the marked arguments, by name; None where the result has none.
        changed: an argument that it changed: its name, and "values", "training mode", "statistics" or "requires_grad".
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
    """

    runs: list[Run] = field(default_factory=list)
    stub: bool = False
    timed_out: bool = False
    stuck: bool = False


@dataclass
class Demand:
    """What became of one property: its complaint, "" for none, and whether it was a stub or out of time."""

    complaint: str = ""
    stub: bool = False
    timed_out: bool = False
    stuck: bool = False
    raised: bool = False


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
    return trial


def try_demands(exercise: Exercise, answer: Callable[..., Any], generator: torch.Generator) -> Iterator[Demand]:
    """Try the properties one after the other."""
    for each in exercise.properties:
        outcome = time_limit.call(lambda test=each.test: test(answer, generator), exercise.seconds)  # type: ignore[misc]
        stub = _is_stub(outcome.error, exercise)
        raised = outcome.error is not None
        complaint = time_limit.explain(outcome.error) if outcome.error is not None else outcome.value or ""
        yield Demand(complaint, stub, outcome.timed_out, outcome.stuck, raised)


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
    args = [_copied(each, i in case.gradients) for i, each in enumerate(case.args)]
    before = [_state(each) for each in args]
    found = Run()
    try:
        found.value = function(*args)
        marked = {exercise.parameters[i]: args[i] for i in case.gradients}
        found.gradients = _gradients(found.value, marked)
    except Exception as error:
        return found, error
    for name, used, original, state in zip(exercise.parameters, args, case.args, before, strict=False):
        what = _change(used, original, state)
        if what:
            found.changed = (name, what)
            break
    return found, None


def _state(value: Any) -> list[Any]:
    """What a value is besides its numbers: modes, and which tensors take a gradient."""
    if isinstance(value, nn.Module):
        modes = [module.training for module in value.modules()]
        return [modes, [parameter.requires_grad for parameter in value.parameters()]]
    return [[], [each.requires_grad for each in _tensors(value)]]


def _change(used: Any, original: Any, before: list[Any]) -> str:
    """How an argument is no longer what it was; "" where it is."""
    if _differs(used, original):
        return "statistics" if isinstance(original, nn.Module) and not _trained(used, original) else "values"
    modes, grads = _state(used)
    if modes != before[0]:
        return "training mode"
    return "requires_grad" if grads != before[1] else ""


def _trained(used: nn.Module, original: nn.Module) -> bool:
    pairs = zip(used.parameters(), original.parameters(), strict=True)
    return any(not torch.equal(one, two) for one, two in pairs)


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
