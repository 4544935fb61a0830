"""Mistakes after the right result: something applied to it, added to it, or averaged away."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import permutations
from typing import Any

import torch
from torch import Tensor


def changes(names: Sequence[str], args: tuple[Any, ...], right: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """What may have been done to the result: a description and a function of the result and the arguments.

    Args:
        names: of the arguments.
        args: of one case.
        right: the result of that case; nothing is proposed for what isn't a floating-point tensor.
    """
    if not isinstance(right, Tensor) or not right.is_floating_point():
        return
    for text, change in _ALONE:
        yield text, partial(_alone, change=change)
    for axis in range(right.dim()):
        if right.shape[axis] > 1:
            yield f"the result is averaged over axis {axis}", partial(_alone, change=partial(_averaged, axis=axis))
            yield (
                f"a cumulative sum is taken along axis {axis}",
                partial(_alone, change=partial(torch.cumsum, dim=axis)),
            )
            yield f"a softmax is taken over axis {axis}", partial(_alone, change=partial(torch.softmax, dim=axis))
    yield from _sizes(names, args)
    for i, (name, value) in enumerate(zip(names, args, strict=False)):
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape == right.shape:
            yield f"`{name}` is added to the result", partial(_with, i=i, change=torch.add)
            yield f"the result is multiplied by `{name}`", partial(_with, i=i, change=torch.mul)
            yield f"`{name}` is subtracted from the result", partial(_with, i=i, change=torch.sub)


def _sizes(names: Sequence[str], args: tuple[Any, ...]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """One size of an argument taken for another: right only for square inputs."""
    for i, (name, value) in enumerate(zip(names, args, strict=False)):
        if isinstance(value, Tensor):
            for one, two in permutations(range(value.dim()), 2):
                text = f"a count uses the size of axis {one} of `{name}` where that of axis {two} belongs"
                yield text, partial(_rescaled, i=i, one=one, two=two)


def _rescaled(result: Tensor, *args: Any, i: int, one: int, two: int) -> Tensor:
    return result * args[i].shape[two] / args[i].shape[one]


def _alone(result: Tensor, *args: Any, change: Callable[[Tensor], Tensor]) -> Tensor:
    return change(result)


def _with(result: Tensor, *args: Any, i: int, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return change(result, args[i])


def _averaged(x: Tensor, axis: int) -> Tensor:
    return x.mean(axis, keepdim=True).expand_as(x)


_ALONE: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("a sigmoid is applied to the result", torch.sigmoid),
    ("a ReLU is applied to the result", torch.relu),
    ("tanh is applied to the result", torch.tanh),
    ("the absolute value of the result is taken", torch.abs),
    ("the result is divided by its largest value", lambda x: x / x.amax()),
    ("the result is divided by its largest absolute value", lambda x: x / x.abs().amax()),
    ("the result is divided by its sum", lambda x: x / x.sum()),
    ("the result is divided by its norm", lambda x: x / x.norm()),
    ("the mean of the result is subtracted", lambda x: x - x.mean()),
    ("the result is averaged over all axes", lambda x: x.mean().expand_as(x)),
)
