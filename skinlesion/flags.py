"""How flags are parsed and displayed: an optional `--root PATH`, `--model STR ...` with any number of values.

tyro would show the first as `{None}|PATH (default: None)`, the second as `[STR [STR ...]] (default: )`.
"""

from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

UNSET = "none"
_UNSET_WORDS = ([UNSET], ["None"])  # the second is what tyro calls it

flag_types = ConstructorRegistry()

# For arguments of which there may be several: tyro would call them optional.
Words = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(help_behavior_hint="(required)")]
Paths = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(help_behavior_hint="(required)")]


def _single(annotation: Any, markers: set[Any]) -> PrimitiveConstructorSpec | None:
    """How one word is read as a type; None if tyro needs several words for it, or can't."""
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(annotation, markers))
    return spec if isinstance(spec, PrimitiveConstructorSpec) and spec.nargs == 1 else None


@flag_types.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """X | None: as X, or the word "none", which takes back what a recipe or a settings file gives.

    For a path every word is a name.
    """
    kinds = [each for each in get_args(info.type) if each is not NoneType]
    if get_origin(info.type) not in (Union, UnionType) or len(kinds) != 1:
        return None
    if (inner := _single(kinds[0], info.markers)) is None:
        return None
    unset = () if kinds[0] is Path else _UNSET_WORDS
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=inner.metavar,
        instance_from_str=lambda words: None if words in unset else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: [UNSET] if value is None else inner.str_from_instance(value),
        choices=None if inner.choices is None else (*inner.choices, UNSET),
    )


@flag_types.primitive_rule
def _several(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """tuple[X, ...]: any number of words; "none" alone is an empty tuple, except for paths."""
    kinds = get_args(info.type)
    if get_origin(info.type) is not tuple or kinds[1:] != (Ellipsis,):
        return None
    if (inner := _single(kinds[0], info.markers)) is None:
        return None

    unset = () if kinds[0] is Path else _UNSET_WORDS

    def read(words: list[str]) -> tuple[Any, ...]:
        return () if words in unset else tuple(inner.instance_from_str([word]) for word in words)

    def shown(values: Sequence[Any]) -> list[str]:
        return [word for value in values for word in inner.str_from_instance(value)] or [UNSET]

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{inner.metavar} ...",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, tuple) and all(inner.is_instance(each) for each in value),
        str_from_instance=shown,
        choices=inner.choices,
    )
