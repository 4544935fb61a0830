"""Two results, yours and expected: the first thing that differs, said as a teacher would."""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skinlesion.lessons import symptoms


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
        trace: what it gives away less surely, such as where the wrong values are.
    """

    kind: str
    message: str
    yours: str
    expected: str
    largest: float | None = None
    likely: str = ""
    trace: str = ""


def difference(
    yours: Any, expected: Any, rtol: float, atol: float, what: str = "the result", *, loose: bool = False
) -> Difference | None:
    """The first difference, or None. It never raises, whatever a student returns.

    Lists and tuples may stand for each other, and so may numbers of any kind; integer dtypes are not told apart.

    Args:
        yours: the student's result.
        expected: the right one: a tensor, an array, a number, a string, or a list, tuple or dict of such.
        rtol: relative tolerance.
        atol: absolute tolerance.
        what: how to name it in messages.
        loose: whether float32 and float64 may stand for each other, and a number for a tensor without axes.
    """
    try:
        return _difference(yours, expected, rtol, atol, what, loose)
    except Exception as error:  # any operator of an object of the student's own may raise
        message = f"{_start(what)} is {kind(yours)} that can't be compared with what is expected: {_summary(error)}."
        return Difference("type", message, describe(yours), describe(expected))


def _summary(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {str(error).strip()[:200]}"
    except Exception:  # an exception of the student's own may not even have a text
        return type(error).__name__


def _difference(yours: Any, expected: Any, rtol: float, atol: float, what: str, loose: bool) -> Difference | None:
    if loose and isinstance(expected, Tensor) and expected.dim() == 0 and _is_number(yours):
        yours, expected = (each.item() if isinstance(each, Tensor) else each for each in (yours, expected))
    if isinstance(expected, Tensor | np.ndarray):
        return _arrays(yours, expected, rtol, atol, what, loose)
    if isinstance(expected, Mapping):
        if not isinstance(yours, Mapping):
            return _kinds(yours, expected, what)
        if set(yours) != set(expected):
            return Difference("keys", f"The keys of {what} differ.", _names(yours), _names(expected))
        parts = [(yours[key], expected[key], f"{what}[{key!r}]") for key in expected]
        return _first(_difference(y, e, rtol, atol, name, loose) for y, e, name in parts)
    if isinstance(expected, list | tuple):
        if not isinstance(yours, list | tuple):
            return _kinds(yours, expected, what)
        if len(yours) != len(expected):
            message = f"{_start(what)} has {len(yours)} parts; expected {len(expected)}."
            return Difference("length", message, describe(yours), describe(expected))
        names = getattr(expected, "_fields", range(1, len(expected) + 1))
        pairs = zip(yours, expected, names, strict=True)
        return _first(_difference(y, e, rtol, atol, f"part {name} of {what}", loose) for y, e, name in pairs)
    return _scalars(yours, expected, rtol, atol, what)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int | np.number) or (_is_plain(value) and value.dim() == 0)


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor that holds its numbers in memory, real and in the usual way."""
    if not isinstance(value, Tensor) or value.is_quantized or value.is_nested or value.is_complex():
        return False
    return value.layout == torch.strided and value.device.type != "meta"


def _first(found: Iterator[Difference | None]) -> Difference | None:
    return next((each for each in found if each is not None), None)


def _scalars(yours: Any, expected: Any, rtol: float, atol: float, what: str) -> Difference | None:
    if (_is_plain(yours) and yours.numel() == 1) or (isinstance(yours, np.ndarray | np.generic) and yours.size == 1):
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
    if yours == expected or (math.isfinite(expected) and abs(yours - expected) <= atol + rtol * abs(expected)):
        return None
    likely = symptoms.of_numbers(float(yours), float(expected), rtol, atol)
    trace = symptoms.traces(np.array(float(yours)), np.array(float(expected)), rtol, atol)
    return _values(f"{yours:.6g}", f"{expected:.6g}", abs(yours - expected), what, likely, trace=trace)


def _kinds(yours: Any, expected: Any, what: str) -> Difference:
    message = f"{_start(what)} is {kind(yours)}; expected {kind(expected)}."
    likely = ""
    if yours is None:
        likely = "The function ends without `return`."
    elif isinstance(yours, Iterator):
        likely = "You used `yield` instead of `return`."
    elif isinstance(yours, list | tuple) and isinstance(expected, Tensor | np.ndarray):
        likely = "Join the parts into one tensor with torch.stack or torch.cat."
        if isinstance(expected, np.ndarray):
            likely = "Join the parts into one array with np.stack or np.array."
    elif isinstance(yours, np.ndarray) and isinstance(expected, Tensor):
        likely = "Work with torch's functions: a NumPy array has no gradient."
    elif isinstance(yours, float | int) and isinstance(expected, Tensor):
        likely = "Keep it a tensor: .item() and float() cut off the gradient."
    elif isinstance(yours, Tensor) and isinstance(expected, np.ndarray):
        likely = "Return a NumPy array: `.numpy()` converts."
    elif isinstance(expected, list | tuple):
        likely = f"Return {len(expected)} values, separated by commas: `return first, second`."
    return Difference("type", message, describe(yours), describe(expected), likely=likely)


def _arrays(
    yours: Any, expected: Tensor | np.ndarray, rtol: float, atol: float, what: str, loose: bool
) -> Difference | None:
    if type(yours) is nn.Parameter:
        yours = yours.data
    if not isinstance(yours, Tensor if isinstance(expected, Tensor) else np.ndarray):
        return _kinds(yours, expected, what)
    if isinstance(yours, Tensor) and (yours.layout != torch.strided or yours.is_quantized or yours.is_nested):
        message = f"{_start(what)} is a sparse, nested or quantized tensor; expected an ordinary one."
        return Difference("type", message, type(yours).__name__, describe(expected), likely="Call .to_dense().")
    if tuple(yours.shape) != tuple(expected.shape):
        message = f"{_start(what)} has shape {_shape(yours)}; expected {_shape(expected)}."
        return Difference(
            "shape",
            message,
            describe(yours),
            describe(expected),
            likely=symptoms.of_shapes(tuple(yours.shape), tuple(expected.shape)),
        )
    if isinstance(yours, Tensor) and isinstance(expected, Tensor) and yours.device != expected.device:
        message = f"{_start(what)} is on {yours.device}; expected {expected.device}, the input's device."
        return Difference("device", message, describe(yours), describe(expected))
    found = _dtypes(yours, expected, what, loose)
    if found:
        return found
    y, e = _numbers(yours), _numbers(expected)
    if e.size == 0:
        return None
    bad = ~np.isfinite(y) & np.isfinite(e)
    if bad.any():
        kind_of = "NaN (not a number)" if np.isnan(y).any() else "infinite"
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        message = f"{int(bad.sum())} of {y.size} values in {what} are {kind_of}, the first at {list(place)}."
        likely = "Look for a division by zero, the log of zero, or exp of a large number."
        return Difference("nan", message, *_excerpt(y, e, place), likely=likely)
    same = (y == e) | (np.isnan(y) & np.isnan(e))  # also where both are infinite or NaN, as a wrong answer may be
    right = np.where(same, 0, e)
    gap = np.abs(np.where(same, 0, y) - right)
    if (np.isfinite(right) & (gap <= atol + rtol * np.abs(right))).all():
        return None
    worst = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    return _values(
        *_excerpt(y, e, worst),
        float(gap.max()),
        what,
        symptoms.of_values(y, e, rtol, atol),
        worst,
        symptoms.traces(y, e, rtol, atol),
    )


def _dtypes(yours: Tensor | np.ndarray, expected: Tensor | np.ndarray, what: str, loose: bool) -> Difference | None:
    mine, wanted = _family(yours), _family(expected)
    floats = {"float16", "bfloat16", "float32", "float64"}
    if mine == wanted or (loose and {mine, wanted} == {"float32", "float64"}):
        return None
    message = f"{_start(what)} has dtype {yours.dtype}; expected {expected.dtype}."
    likely = ""
    if wanted == "bool":
        likely = "A comparison such as `x >= 0.5` gives booleans; a sum or a product of them does not."
    elif wanted == "int":
        likely = "These are counts or indices: keep them integers (`.long()` converts)."
    elif (mine, wanted) == ("float32", "float64"):
        likely = "You computed in float32, but float64 is required: convert the input first (x.double())."
    elif (mine, wanted) == ("float64", "float32") and isinstance(yours, np.ndarray):
        likely = "You computed in float64, but float32 is required: convert the input first (x.astype(np.float32))."
    elif {mine, wanted} <= floats:
        likely = "Keep the input's dtype: make new tensors like the input (x.new_zeros, torch.zeros_like)."
    elif wanted in floats:
        likely = (
            "You return integers or booleans, but floating-point numbers are required: use `/` rather than `//`, or "
            "convert with .float()."
        )
    return Difference("dtype", message, describe(yours), describe(expected), likely=likely)


def _values(
    yours: str,
    expected: str,
    largest: float | None,
    what: str,
    likely: str,
    place: tuple[int, ...] = (),
    trace: str = "",
) -> Difference:
    at = f"; the largest error is at {list(place)}" if place else ""
    return Difference("value", f"{_start(what)} is not right{at}.", yours, expected, largest, likely, trace)


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
    if isinstance(value, Tensor) and value.is_nested:  # such a tensor has no one shape
        return "(nested)"
    return str(tuple(value.shape))


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _names(value: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, value))


def kind(value: Any) -> str:
    """A type in words: "a tensor", "None", "a list"."""
    if value is None:
        return "None"
    name = {Tensor: "tensor", np.ndarray: "NumPy array", dict: "dictionary", int: "integer"}.get(type(value))
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
