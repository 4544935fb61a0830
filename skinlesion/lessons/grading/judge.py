"""The verdict on what a student's process has sent; no code of the student's has run in this process."""

from typing import Any

from skinlesion.lessons import checker
from skinlesion.lessons.catalog import find
from skinlesion.lessons.exercise import Exercise
from skinlesion.lessons.grading.wire import decode
from skinlesion.lessons.result import CheckResult
from skinlesion.lessons.trial import Demand, Run, Trial

TAMPERED = "The answer replaces functions of the checks, of torch or of NumPy."


def verdict(name: str, sent: dict[str, Any]) -> dict[str, str]:
    """Judge what `student.attempt` found.

    Returns:
        {"status", "mistake", "detail"}: passed, reference, unsolved or failed; the likely mistake by name, where it is
        known, and what the check says.

    Raises:
        KeyError, TypeError, ValueError: this is not what `student.attempt` makes.
    """
    if sent.get("tampered", True):
        return {"status": "failed", "mistake": TAMPERED, "detail": ""}
    for key in ("error", "complaint"):
        if key in sent:
            return {"status": "failed", "mistake": str(sent[key]), "detail": ""}
    exercise = find(name)
    result = _function(exercise, sent) if "trial" in sent else checker.check_value(exercise, decode(sent["value"]))
    detail = " ".join(part for part in (result.headline, result.message) if part)
    mistake = "" if result else result.likely or result.message
    return {"status": result.status, "mistake": mistake, "detail": detail}


def _function(exercise: Exercise, sent: dict[str, Any]) -> CheckResult:
    tried = sent["trial"]
    runs = [_run(each) for each in tried["runs"]]
    cases, _ = checker.inputs(exercise)
    flags = {name: tried[name] is True for name in ("stub", "timed_out", "stuck", "varies")}
    trial = Trial(runs, **flags)
    if len(runs) != len(cases) and not (trial.stub or trial.timed_out):
        raise ValueError("not one run for each case")
    result = checker.judge_cases(exercise, cases, trial)
    if result is None:
        demands = [_demand(each) for each in sent["demands"]]
        if len(demands) != len(exercise.properties):
            raise ValueError("not one result for each property")
        result = checker.judge_demands(exercise, demands)
    return checker.passed(exercise, sent["reference"] is True) if result is None else result


def _demand(sent: dict[str, Any]) -> Demand:
    changed = sent["changed"]
    return Demand(**sent | {"changed": tuple(changed) if changed else None})


def _run(sent: dict[str, Any]) -> Run:
    changed = sent["changed"]
    return Run(
        decode(sent["value"]), decode(sent["gradients"]), tuple(changed) if changed else None, str(sent["error"])
    )
