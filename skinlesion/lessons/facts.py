"""What holds in every input that a function gets wrong: one input alone can look like a mistake by chance."""

import re
from typing import Any

import numpy as np
from torch import Tensor

from skinlesion.lessons import symptoms
from skinlesion.lessons.compare import Difference


def holds(found: Difference, others: list[Difference | None]) -> bool:
    """Whether what one wrong input gives away is more than chance: half of all wrong inputs must show the same.

    Args:
        found: how the result of one input differs.
        others: how those of all wrong inputs differ, this one included.
    """
    apart = [other for other in others if other and other.kind == "value"]
    same = sum(_without_numbers(other.likely) == _without_numbers(found.likely) for other in apart)
    return len(apart) < 2 or same >= max(2, len(apart) / 2)


def _without_numbers(text: str) -> str:
    return re.sub(r"-?\d[\d./e+-]*", "#", text)


def in_all(pairs: list[tuple[Any, Any]], rtol: float, atol: float) -> str:
    """How single numbers are related in all inputs together, where one of them shows nothing; "" for nothing.

    Args:
        pairs: for each wrong input the student's result and the right one: numbers, or lists or tuples of numbers.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """
    yours, expected = ([_as_numbers(pair[side]) for pair in pairs] for side in (0, 1))
    if len(pairs) < 2 or len({len(each) for each in (*yours, *expected)}) != 1:
        return ""
    y, e = np.array(yours), np.array(expected)
    if not (np.isfinite(y).all() and np.isfinite(e).all()):
        return ""
    wrong = [part for part in range(y.shape[1]) if not np.allclose(y[:, part], e[:, part], rtol, atol)]
    if wrong and len(y) > 2 and np.ptp(y[:, wrong[0]]) == 0 < np.ptp(e[:, wrong[0]]):
        return f"Your result is {y[0, wrong[0]]:.4g} for every input: it should depend on the arguments."
    return symptoms.of_relation(y[:, wrong[0]], e[:, wrong[0]], rtol, atol) if wrong else ""


def _as_numbers(value: Any) -> list[float]:
    """A number as a list of one, several as a list; an empty one for anything else."""
    parts = value if isinstance(value, list | tuple) else [value]
    numbers = [_item(each) for each in parts]
    known = [each for each in numbers if type(each) in (bool, int, float) and abs(each) < 1e300]
    return [float(each) for each in known] if len(known) == len(parts) else []


def _item(value: Any) -> Any:
    if isinstance(value, Tensor):
        is_number = value.dim() == 0 and not value.is_complex() and value.device.type == "cpu"
        return value.detach().item() if is_number else None
    return value.item() if isinstance(value, np.generic) else value
