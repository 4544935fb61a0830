"""Worked examples: what a right answer gives on one small input, computed by the solution and shown before coding."""

import ast
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.lessons.exercise import Exercise


def worked_example(exercise: Exercise, name: str) -> str:
    """An exercise's example as Markdown.

    Args:
        exercise: its example is run where it asks for a function, and shown as it is where it asks for a value.
        name: of the student's function in the notebook.
    """
    if not exercise.is_function:
        return f"**A neighboring case.** {exercise.example.strip()}"
    lines = []
    scope: dict[str, Any] = {"torch": torch, "np": np, "F": F, "nn": nn, "Tensor": Tensor, name: exercise.solution}
    with torch.random.fork_rng(devices=[]):
        for statement in ast.parse(exercise.example).body:
            text = ast.unparse(statement)
            lines.append(">>> " + text.replace("\n", "\n... "))
            if isinstance(statement, ast.Expr):
                lines.append(shown(eval(text, scope)))
            else:
                exec(text, scope)
    return "**Worked example.** A right answer gives\n\n```python\n" + "\n".join(lines) + "\n```"


def shown(value: Any) -> str:
    """A value as a notebook would show it, without autograd's notes and with four decimals."""
    if isinstance(value, Tensor):
        value = value.detach()
        digits = 4 if value.is_floating_point() else 0
        return repr(value.round(decimals=digits) + 0.0 if value.is_floating_point() else value)
    if isinstance(value, np.ndarray):
        return repr(value.round(4))
    if isinstance(value, float):
        return repr(round(value, 4))
    if isinstance(value, tuple):
        return f"({', '.join(shown(each) for each in value)})"
    if isinstance(value, list):
        return f"[{', '.join(shown(each) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {shown(each)}" for key, each in value.items()) + "}"
    return repr(value)
