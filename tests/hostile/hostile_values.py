"""A seeded generator of values and files that nobody expects: the same on every machine, hundreds in a second."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCALARS = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**70, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "=1+1", "\x1b[2J", "\udcff", "a" * 10_000, "../..", "nan", "1", [], {}, [[]], [None], {"": {}}),
)


def hostile_value(source: random.Random, depth: int = 0) -> Any:
    """A scalar, or a short list or object of such values."""
    if depth > 3 or source.random() < 0.7:
        return source.choice(SCALARS)
    if source.random() < 0.5:
        return [hostile_value(source, depth + 1) for _ in range(source.randrange(4))]
    return {f"k{i}": hostile_value(source, depth + 1) for i in range(source.randrange(4))}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every part of nested lists and objects, the outermost first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value: Any, source: random.Random) -> Any:
    """A copy in which one part is replaced or removed, or something is added."""
    copy = json.loads(json.dumps(value))
    path = source.choice(list(places(copy)))
    if not path:
        return hostile_value(source)
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    kind = source.random()
    if kind < 0.2 and isinstance(inside, dict):
        del inside[path[-1]]
    elif kind < 0.3 and isinstance(inside, dict):
        inside[source.choice(["", "=x", "\x1b[31m", "z" * 300])] = hostile_value(source)
    else:
        inside[path[-1]] = hostile_value(source)
    return copy


def hostile_json(value: Any, source: random.Random) -> bytes:
    """A JSON file with one part changed, or a file that is none."""
    kind = source.randrange(10)
    whole = json.dumps(value)
    if kind == 0:
        return whole.encode()[: source.randrange(len(whole))]
    if kind == 1:
        return whole.encode("utf-16")
    if kind == 2:
        return source.choice(
            [b"", b"{", b"[]", b"{}", b"null", b"\0" * 100, b"[" * 100_000, b'{"a":' * 100_000, b"1" * 9_000]
        )
    try:
        return json.dumps(changed(value, source)).encode("utf-8", "surrogatepass")
    except ValueError:  # a number too long to be written
        return b'{"epochs": ' + b"9" * 5000 + b"}"


def spoil(path: Path, source: random.Random) -> None:
    """Replace a JSON file by a hostile one."""
    path.write_bytes(hostile_json(json.loads(path.read_text("utf-8")), source))
