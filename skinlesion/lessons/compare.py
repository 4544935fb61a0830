"""Two results, yours and expected: the first thing that differs, said as a teacher would."""

import itertools
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Difference:
    """What differs.

    Attributes:
        kind: "type", "length", "keys", "shape", "dtype", "device", "nan" or "value".
        message: one or two sentences.
        yours: the result, shortened.
        expected: what it should have been, shortened.
        largest: largest absolute difference, for values.
        likely: what the difference itself gives away, such as "upside down".
    """

    kind: str
    message: str
    yours: str
    expected: str
    largest: float | None = None
    likely: str = ""


def difference(yours: Any, expected: Any, rtol: float, atol: float, what: str = "the result") -> Difference | None:
    """The first difference, or None.

    Lists and tuples may stand for each other, and so may numbers of any kind; integer dtypes are not told apart.

    Args:
        yours: the student's result.
        expected: the right one: a tensor, an array, a number, a string, or a list, tuple or dict of such.
        rtol: relative tolerance.
        atol: absolute tolerance.
        what: how to name it in messages.
    """
    if isinstance(expected, Tensor | np.ndarray):
        return _arrays(yours, expected, rtol, atol, what)
    if isinstance(expected, Mapping):
        if not isinstance(yours, Mapping):
            return _kinds(yours, expected, what)
        if set(yours) != set(expected):
            return Difference("keys", f"The names in {what} differ.", _names(yours), _names(expected))
        return _first(difference(yours[key], expected[key], rtol, atol, f"{what}[{key!r}]") for key in expected)
    if isinstance(expected, list | tuple):
        if not isinstance(yours, list | tuple):
            return _kinds(yours, expected, what)
        if len(yours) != len(expected):
            message = f"{_start(what)} has {len(yours)} parts where {len(expected)} are expected."
            return Difference("length", message, describe(yours), describe(expected))
        names = getattr(expected, "_fields", range(1, len(expected) + 1))
        parts = zip(yours, expected, names, strict=True)
        return _first(difference(y, e, rtol, atol, f"part {name} of {what}") for y, e, name in parts)
    return _scalars(yours, expected, rtol, atol, what)


def _first(found: Iterator[Difference | None]) -> Difference | None:
    return next((each for each in found if each is not None), None)


def _scalars(yours: Any, expected: Any, rtol: float, atol: float, what: str) -> Difference | None:
    if isinstance(yours, Tensor | np.ndarray | np.generic) and getattr(yours, "size", None) is not None:
        count = yours.numel() if isinstance(yours, Tensor) else yours.size
        if count == 1:
            yours = yours.item()
    if isinstance(expected, bool | str) or expected is None:
        if type(yours) is not type(expected):
            return _kinds(yours, expected, what)
        return None if yours == expected else _values(repr(yours), repr(expected), None, what, "")
    if isinstance(yours, bool) or not isinstance(yours, int | float):
        return _kinds(yours, expected, what)
    if isinstance(yours, int) and abs(yours) > sys.float_info.max:
        return Difference("value", f"{_start(what)} is too large.", "more than 1e308", f"{expected:.6g}")
    if math.isnan(yours) and math.isnan(expected):
        return None
    if math.isnan(yours):
        return Difference("nan", f"{_start(what)} is NaN (not a number).", "nan", f"{expected:.6g}")
    if abs(yours - expected) <= atol + rtol * abs(expected):
        return None
    return _values(f"{yours:.6g}", f"{expected:.6g}", abs(yours - expected), what, _ratio_symptom(yours, expected))


def _kinds(yours: Any, expected: Any, what: str) -> Difference:
    message = f"{_start(what)} is {kind(yours)}; expected {kind(expected)}."
    likely = ""
    if yours is None:
        likely = "The function ends without `return`."
    elif isinstance(yours, Iterator):
        likely = "`yield` was used where `return` is meant."
    elif isinstance(yours, list | tuple) and isinstance(expected, Tensor | np.ndarray):
        likely = "Join the parts into one tensor with torch.stack or torch.cat."
    elif isinstance(yours, np.ndarray) and isinstance(expected, Tensor):
        likely = "Work with torch's functions: a NumPy array has no gradient."
    elif isinstance(yours, float | int) and isinstance(expected, Tensor):
        likely = "Keep it a tensor: .item() and float() cut it off from the gradient."
    return Difference("type", message, describe(yours), describe(expected), likely=likely)


def _arrays(yours: Any, expected: Tensor | np.ndarray, rtol: float, atol: float, what: str) -> Difference | None:
    if type(yours) is nn.Parameter:
        yours = yours.data
    if not isinstance(yours, Tensor if isinstance(expected, Tensor) else np.ndarray):
        return _kinds(yours, expected, what)
    if isinstance(yours, Tensor) and (yours.layout != torch.strided or yours.is_quantized):
        message = f"{_start(what)} is a sparse or quantized tensor; expected an ordinary one."
        return Difference("type", message, type(yours).__name__, describe(expected), likely="Call .to_dense().")
    if tuple(yours.shape) != tuple(expected.shape):
        message = f"{_start(what)} has shape {_shape(yours)}; expected {_shape(expected)}."
        return Difference("shape", message, describe(yours), describe(expected), likely=_shape_symptom(yours, expected))
    if isinstance(yours, Tensor) and isinstance(expected, Tensor) and yours.device != expected.device:
        message = f"{_start(what)} is on {yours.device}; expected {expected.device}, where the input is."
        return Difference("device", message, describe(yours), describe(expected))
    mine, wanted = _family(yours), _family(expected)
    if mine != wanted:
        message = f"{_start(what)} has dtype {yours.dtype}; expected {expected.dtype}."
        likely = ""
        if wanted == "bool":
            likely = "A comparison such as `x >= 0.5` gives booleans; a sum or a product of them does not."
        elif {mine, wanted} <= {"float16", "bfloat16", "float32", "float64"}:
            likely = "Keep the input's dtype: make new tensors like the input (x.new_zeros, torch.zeros_like)."
        if (mine, wanted) == ("float32", "float64"):
            likely = "It was computed in float32; float64 is asked: convert the input (x.double()) before you compute."
        return Difference("dtype", message, describe(yours), describe(expected), likely=likely)
    y, e = _numbers(yours), _numbers(expected)
    if e.size == 0:
        return None
    bad = ~np.isfinite(y) & np.isfinite(e)
    if bad.any():
        kind_of = "NaN (not a number)" if np.isnan(y).any() else "infinite"
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        message = f"{int(bad.sum())} of {y.size} values of {what} are {kind_of}, the first at {list(place)}."
        likely = "A division by zero, the log of zero, or exp of something large."
        return Difference("nan", message, *_excerpt(y, e, place), likely=likely)
    same = (y == e) | (np.isnan(y) & np.isnan(e))  # also where both are infinite or NaN, as a wrong answer may be
    right = np.where(same, 0, e)
    gap = np.abs(np.where(same, 0, y) - right)
    if (gap <= atol + rtol * np.abs(right)).all():
        return None
    worst = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    return _values(*_excerpt(y, e, worst), float(gap.max()), what, _array_symptom(y, e, rtol, atol), worst)


def _values(
    yours: str, expected: str, largest: float | None, what: str, likely: str, place: tuple[int, ...] = ()
) -> Difference:
    at = f", most at {list(place)}" if place else ""
    return Difference("value", f"{_start(what)} is not right{at}.", yours, expected, largest, likely)


def _array_symptom(y: np.ndarray, e: np.ndarray, rtol: float, atol: float) -> str:
    """What numbers of the right shape give away by themselves."""

    def same(a: np.ndarray, b: np.ndarray = e) -> bool:
        return a.shape == b.shape and bool(np.allclose(a, b, rtol, atol))

    if not y.any():
        return "Everything is zero."
    turned = [("The sign is wrong.", -y)]
    turned += [(f"Axis {axis} runs backward.", np.flip(y, axis)) for axis in range(y.ndim)]
    for one, two in itertools.combinations(range(y.ndim), 2):
        turned.append((f"Axes {one} and {two} are swapped.", np.swapaxes(y, one, two)))
    found = next((text for text, array in turned if same(array)), "")
    if not found and same(np.sort(y, None), np.sort(e, None)):
        found = "The values are right but in another order."
    if found:
        return found
    weight = float((e * e).sum())
    factor = float((y * e).sum()) / weight if weight else 1.0
    if factor and same(y / factor):
        return _ratio_symptom(factor, 1.0)
    with np.errstate(invalid="ignore"):  # infinite less infinite
        offset = float((y - e).mean())
    return f"Everything is off by the same {offset:.4g}." if same(y - offset) else ""


def _ratio_symptom(yours: float, expected: float) -> str:
    if expected == 0 or yours == 0 or not math.isfinite(yours):
        return ""
    ratio = yours / expected
    for text, factor in (("", ratio), ("1/", 1 / ratio)):
        if abs(factor - round(factor)) < 1e-3 * abs(factor) and round(factor) not in (0, 1) and abs(factor) < 1e6:
            return f"It is {text}{round(factor)} times what it should be: a sum for a mean, or a part left out?"
    return ""


def _shape_symptom(yours: Tensor | np.ndarray, expected: Tensor | np.ndarray) -> str:
    mine, right = tuple(yours.shape), tuple(expected.shape)
    if sorted(mine) == sorted(right):
        return "The axes are in another order."
    if [n for n in mine if n != 1] == [n for n in right if n != 1]:
        return "Only axes of size 1 differ: keepdim, unsqueeze or squeeze."
    if len(mine) == len(right) - 1:
        return "One axis is missing: a mean or a sum over too many axes, or a missing keepdim?"
    return ""


def _excerpt(y: np.ndarray, e: np.ndarray, place: tuple[int, ...]) -> tuple[str, str]:
    """Both, whole when small, else the part of the last axis around a place."""
    if y.ndim == 0:
        return f"{y:.6g}", f"{e:.6g}"
    if y.size <= 12:
        return _text(y), _text(e)
    start = max(0, min(place[-1] - 2, y.shape[-1] - 5))
    where = ", ".join([*map(str, place[:-1]), f"{start}:{min(start + 5, y.shape[-1])}"])
    parts = [_text(array[place[:-1]][start : start + 5]) for array in (y, e)]
    return f"[{where}] = {parts[0]}", f"[{where}] = {parts[1]}"


def _text(values: np.ndarray) -> str:
    return np.array2string(values, precision=4, suppress_small=True, separator=", ", max_line_width=100)


def _numbers(value: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().resolve_conj().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return value.astype(np.float64)


def _family(value: Tensor | np.ndarray) -> str:
    """The dtype, with all integers taken for one."""
    name = str(value.dtype).removeprefix("torch.")
    return "int" if name.startswith(("int", "uint")) else name


def _shape(value: Tensor | np.ndarray) -> str:
    return str(tuple(value.shape))


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _names(value: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, value))


def kind(value: Any) -> str:
    """A type in words: "a tensor", "None", "a list"."""
    if value is None:
        return "None"
    name = {Tensor: "tensor", np.ndarray: "NumPy array", dict: "dictionary", int: "whole number"}.get(type(value))
    name = name or type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def describe(value: Any) -> str:
    """A value in one short line."""
    if isinstance(value, Tensor | np.ndarray):
        name = "tensor" if isinstance(value, Tensor) else "array"
        return f"{name} {_shape(value)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, list | tuple):
        inner = ", ".join(describe(each) for each in value[:4]) + (", ..." if len(value) > 4 else "")
        return f"({inner})"
    try:
        text = repr(value)
    except Exception as error:  # a class of the student's own
        text = f"{type(value).__name__} (its repr raises {type(error).__name__})"
    return text if len(text) <= 80 else text[:77] + "..."
