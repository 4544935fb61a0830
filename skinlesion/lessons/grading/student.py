"""What runs in a student's process: the answer is defined and tried, and what it did is written to a pipe."""

import builtins
import linecache
import math
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from skinlesion.lessons import checker, compare, completion, exercise, result, session, time_limit, trial
from skinlesion.lessons.catalog import find
from skinlesion.lessons.grading.slicing import Answer
from skinlesion.lessons.grading.wire import encode
from skinlesion.lessons.trial import Demand, Run

_FILE = "<answer>"
_WATCHED = (checker, compare, completion, exercise, result, session, time_limit, trial, math, builtins, np, torch)
_WATCHED += (torch.Tensor, functional)  # type: ignore[assignment]


def attempt(name: str, answer: Answer) -> dict[str, Any]:
    """Define a student's answer and try it.

    Returns:
        What `judge.verdict` takes: {"value"}, {"trial", "demands"}, or {"error"} where the answer can't be defined;
        with {"tampered": True} where a function of the checks, of torch or of NumPy was replaced.
    """
    before = _fingerprint()
    found = _attempt(name, answer)
    return found | {"tampered": not _is_same(before, _fingerprint())}


def _attempt(name: str, answer: Answer) -> dict[str, Any]:
    asked = find(name)
    namespace: dict[str, Any] = {"__name__": "answer"}
    linecache.cache[_FILE] = (len(answer.source), None, answer.source.splitlines(keepends=True), _FILE)
    try:
        exec(compile(answer.source, _FILE, "exec"), namespace)
        value = eval(compile(answer.expression, _FILE, "eval"), namespace)
    except BaseException as error:  # also SystemExit: this process has still to say so
        return {"error": time_limit.explain(error)}
    if value is None or value is ...:
        return {"value": None}
    if not asked.is_function:
        return {"value": encode(value)}
    said = checker.complaint(asked, value)
    if said:
        return {"complaint": said}
    cases, generator = checker.inputs(asked)
    tried = trial.try_cases(asked, value, cases)
    found: dict[str, Any] = {"runs": [_run(each) for each in tried.runs]}
    ended = {"stub": tried.stub, "timed_out": tried.timed_out, "stuck": tried.stuck}
    found["varies"] = tried.varies
    demands: list[dict[str, Any]] = []
    if not any(ended.values()):
        demands = [_demand(each) for each in trial.try_demands(asked, value, generator)]
    return {"trial": found | ended, "demands": demands, "reference": value is asked.solution}


def _run(run: Run) -> dict[str, Any]:
    return {
        "value": encode(run.value),
        "gradients": encode(run.gradients),
        "changed": list(run.changed) if run.changed else None,
        "error": run.error,
    }


def _demand(demand: Demand) -> dict[str, Any]:
    return vars(demand) | {"complaint": str(demand.complaint)}


def _fingerprint() -> dict[tuple[int, str], tuple[Any, Any]]:
    """Every attribute of the watched modules, and the code of each function."""
    return {
        (id(owner), name): (value, value.__code__ if isinstance(value, FunctionType) else None)
        for owner in _WATCHED
        for name, value in vars(owner).items()
        if not isinstance(value, ModuleType) and callable(value)
    }


def _is_same(before: dict[tuple[int, str], tuple[Any, Any]], after: dict[tuple[int, str], tuple[Any, Any]]) -> bool:
    """Whether nothing was replaced; modules may add to themselves what they load late."""
    pairs = ((value, after.get(key, (None, None))) for key, value in before.items())
    return all(one[0] is two[0] and one[1] is two[1] for one, two in pairs)
