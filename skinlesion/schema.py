"""Reading JSON that somebody else may have written: every field is checked once, when it is read.

Expected types are ordinary type annotations: ``int``, ``float``, ``bool``, ``str``, ``Path``, ``None``,
unions, ``Literal``, ``tuple[str, ...]``, ``list[...]`` and ``dict[str, ...]``. An int counts as a float, but a
bool doesn't count as an int, and infinite numbers and NaN are rejected.
"""

import json
import math
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from skinlesion.errors import SkinlesionError
from skinlesion.text import printable


class Number:
    """An annotation: a number that may be infinite or NaN, such as a loss."""


MAX_BYTES = 50_000_000
MAX_INT = 2**63 - 1  # what torch's random numbers and most files take
_SHOWN = 60  # characters of a wrong value
_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Number: "a number",
    str: "text",
    Path: "a path",
    dict: "an object",
    list: "a list",
    tuple: "a list",
    type(None): "null",
}


def read_json(path: Path, expected: Any) -> Any:
    """Read a JSON file of the expected type.

    Raises:
        SkinlesionError: it cannot be read, is not JSON, or a field has the wrong type; the message names the
            file and the field.
    """
    label = printable(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SkinlesionError(f"{label} is too large ({path.stat().st_size:,} bytes) for a file of this kind.")
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SkinlesionError(f"{label} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, SkinlesionError):
            raise
        raise SkinlesionError(f"{label} is damaged: it is not JSON in UTF-8.") from error
    if wrong := mismatch(value, expected):
        raise SkinlesionError(f"{label} is damaged: {wrong}.")
    return value


def mismatch(value: Any, expected: Any, name: str = "") -> str | None:
    """What is wrong with a value; None if it has the expected type.

    Args:
        value: anything.
        expected: an annotation.
        name: of the field, such as "best.epoch", for the message.
    """
    origin = get_origin(expected)
    if expected is Any:
        return None
    if origin in (Union, types.UnionType):
        fits = any(mismatch(value, each) is None for each in get_args(expected))
        return None if fits else _wrong(value, expected, name)
    if origin is Literal:
        fits = isinstance(value, str | int) and not isinstance(value, bool) and value in get_args(expected)
        return None if fits else _wrong(value, expected, name)
    if expected is None:
        expected = type(None)
    if not _is(value, origin or expected):
        return _wrong(value, expected, name)
    inner = get_args(expected)
    if origin is dict:
        if not all(isinstance(key, inner[0]) for key in value):
            return f"{name or 'its content'} must have strings as keys"
        found = (mismatch(each, inner[1], _inside(name, key)) for key, each in value.items())
    elif origin in (list, tuple):
        found = (mismatch(each, inner[0], f"{name}[{place}]") for place, each in enumerate(value))
    else:
        return None
    return next((text for text in found if text), None)


def fields_mismatch(value: Any, fields: dict[str, Any], name: str = "") -> str | None:
    """What is wrong with an object that must have certain fields; None if it has them all, with the right types.

    Args:
        value: anything.
        fields: name -> annotation, or the fields of a nested object.
        name: as `mismatch`.
    """
    if wrong := mismatch(value, dict[str, Any], name):
        return wrong
    for key, expected in fields.items():
        label = f"{name}.{key}" if name else key
        if key not in value:
            return f"{label} is missing"
        check = fields_mismatch if isinstance(expected, dict) else mismatch
        if wrong := check(value[key], expected, label):
            return wrong
    return None


def describe(expected: Any) -> str:
    """An annotation in words: "a whole number or nothing"."""
    if expected is None:
        return _NAMES[type(None)]
    origin = get_origin(expected)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(each) for each in get_args(expected))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(expected)))}"
    return _NAMES.get(origin or expected, str(expected))


def _inside(name: str, key: object) -> str:
    label = printable(str(key)[:_SHOWN])
    return f"{name}.{label}" if name else label


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    if kind is Number:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INT
    if kind in (list, tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, kind)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def _wrong(value: Any, expected: Any, name: str) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of many thousand digits, a list in a list in a list ...
        text = f"something of type {type(value).__name__}"
    text = printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
    return f"{name or 'its content'} must be {describe(expected)}, not {text}"
