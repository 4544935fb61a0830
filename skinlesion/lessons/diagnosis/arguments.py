"""Mistakes with one argument: not used, used the wrong way around, confused with another one.

Each is tried by giving the *solution* another argument. Where it then returns what the student's function returned,
that is what the student's function does.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Change = Callable[[tuple[Any, ...]], tuple[Any, ...]]


def changes(names: Sequence[str], args: tuple[Any, ...]) -> Iterator[tuple[str, Change]]:
    """What may have been done to the arguments: a description and a function of all arguments.

    Args:
        names: of the arguments.
        args: of one case, to see of what kind each argument is.
    """
    pairs = list(combinations(range(len(args)), 2))
    for i, j in pairs:
        if _alike(args[i], args[j]):
            yield f"`{names[i]}` and `{names[j]}` are swapped", _swapped(i, j)
            yield f"`{names[i]}` is used where `{names[j]}` belongs", _copied(i, j)
            yield f"`{names[j]}` is used where `{names[i]}` belongs", _copied(j, i)
    for i, (name, value) in enumerate(zip(names, args, strict=False)):
        for text, change in _of_one(value):
            yield text.format(f"`{name}`"), _at(i, change)
    for i, j in pairs:
        if _is_float(args[i]) and _is_float(args[j]):
            for text, change in _FLOATS:
                yield text.format(f"each of `{names[i]}` and `{names[j]}`"), _both(i, j, change)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _at(i: int, change: Callable[[Any], Any]) -> Change:
    return lambda args: (*args[:i], change(args[i]), *args[i + 1 :])


def _swapped(i: int, j: int) -> Change:
    def change(args: tuple[Any, ...]) -> tuple[Any, ...]:
        parts = list(args)
        parts[i], parts[j] = parts[j], parts[i]
        return tuple(parts)

    return change


def _both(i: int, j: int, change: Callable[[Any], Any]) -> Change:
    return lambda args: _at(i, change)(_at(j, change)(args))


def _copied(i: int, j: int) -> Change:
    return lambda args: (*args[:j], args[i], *args[j + 1 :])


def _alike(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor | np.ndarray) and isinstance(two, Tensor | np.ndarray):
        return one.shape == two.shape and one.dtype == two.dtype
    if isinstance(one, nn.Module):
        return isinstance(two, nn.Module)
    return isinstance(one, int | float) and isinstance(two, int | float)


def _of_one(value: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield from _of_number(value)
    elif isinstance(value, Tensor):
        yield from _of_tensor(value)
    elif isinstance(value, np.ndarray):
        for text, change in _of_tensor(torch.from_numpy(value.copy())):
            yield text, partial(_on_array, change=change)
    elif isinstance(value, nn.ModuleList | list | tuple) and len(value) > 1:
        yield "{} is read in reverse order", lambda many: type(many)(list(many)[::-1])
        yield "only the first element of {} is used, every time", lambda many: type(many)([many[0]] * len(many))
    elif isinstance(value, nn.Module):
        yield "{} is left out", lambda module: nn.Identity()
        if isinstance(getattr(value, "bias", None), Tensor):
            yield "the bias of {} is left out", _without_bias


def _without_bias(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module)
    nn.init.zeros_(twin.bias)  # type: ignore[arg-type]
    return twin


def _on_array(array: np.ndarray, change: Callable[[Tensor], Tensor]) -> np.ndarray:
    return change(torch.from_numpy(array.copy())).numpy()


def _of_number(value: float) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    yield f"{{}} isn't used: it is always treated as {value}", lambda _: value
    yield from _NUMBERS


def _of_tensor(value: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    last = value.dim() - 1  # counted from the end: cases may differ in their number of axes
    long = [-1 if axis == last else axis for axis in range(value.dim()) if value.shape[axis] > 1]
    for axis in long:
        yield f"{{}} is read backward along axis {axis}", partial(torch.flip, dims=[axis])
        yield f"only the first entry along axis {axis} of {{}} is used for all", partial(_first, axis=axis)
        yield f"{{}} is shifted by one position along axis {axis}", partial(torch.roll, shifts=1, dims=axis)
        yield f"{{}} is shifted back by one position along axis {axis}", partial(torch.roll, shifts=-1, dims=axis)
    if value.dtype == torch.bool:
        yield "{} is inverted", torch.logical_not
        return
    for one, two in combinations(range(value.dim()), 2):
        if value.shape[one] == value.shape[two]:
            yield f"axes {one} and {two} of {{}} are swapped", partial(torch.transpose, dim0=one, dim1=two)
    if value.is_floating_point():
        for axis in long:
            yield f"{{}} is averaged over axis {axis}", partial(_averaged, axes=[axis])
            yield f"the mean of {{}} along axis {axis} is subtracted first", partial(_centered, axes=[axis])
            yield f"{{}} is standardized along axis {axis} first", partial(_standardized, axis=axis)
        yield from _FLOATS


def _first(x: Tensor, axis: int) -> Tensor:
    return x.narrow(axis, 0, 1).expand_as(x)


def _averaged(x: Tensor, axes: list[int]) -> Tensor:
    return x.mean(axes, keepdim=True).expand_as(x)


def _centered(x: Tensor, axes: list[int]) -> Tensor:
    return x - x.mean(axes, keepdim=True)


def _standardized(x: Tensor, axis: int) -> Tensor:
    return _centered(x, [axis]) / (x.std(axis, keepdim=True) + 1e-5)


_NUMBERS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("{} is one too large", lambda x: x + 1),
    ("{} is one too small", lambda x: x - 1),
    ("{} is doubled", lambda x: 2 * x),
    ("{} is halved", lambda x: x // 2 if isinstance(x, int) else x / 2),
    ("{} has the wrong sign", lambda x: -x),
    ("{} is squared", lambda x: x * x),
    ("{} is replaced by one minus itself", lambda x: 1 - x),
    ("{} isn't used: it is treated as 0", lambda x: type(x)(0)),
    ("{} isn't used: it is treated as 1", lambda x: type(x)(1)),
)
_FLOATS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("{} is treated as 0", torch.zeros_like),
    ("{} is treated as 1", torch.ones_like),
    ("{} is replaced by its overall mean", lambda x: x.mean().expand_as(x)),
    ("the overall mean of {} is subtracted first", lambda x: x - x.mean()),
    ("the mean of {} over axes -2 and -1 is subtracted first", partial(_centered, axes=[-1, -2])),
    ("{} is detached", torch.Tensor.detach),
    ("{} has the wrong sign", torch.neg),
    ("the absolute value of {} is taken first", torch.abs),
    ("{} is squared first", torch.square),
    ("a sigmoid is applied to {} first", torch.sigmoid),
    ("a ReLU is applied to {} first", torch.relu),
    ("the softplus of {} is taken first", torch.nn.functional.softplus),
    ("the exponential of {} is taken first", torch.exp),
    ("the logarithm of {} is taken first", torch.log),
    ("{} is replaced by -exp of itself, as if it were a logarithm", lambda x: -torch.exp(x)),
    ("{} is rounded first", torch.round),
    ("1 is added to {}", lambda x: x + 1),
    ("{} is doubled", lambda x: 2 * x),
    ("{} is halved", lambda x: x / 2),
    ("{} is replaced by one minus itself", lambda x: 1 - x),
)
