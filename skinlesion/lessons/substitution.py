"""Putting a student's function into the network: same weights, another function."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.hooks import Intervened, Replacement, find_point, intervene, points

Function = Callable[..., Any]

# Part -> the points that hold the function's inputs, and the one that takes its result.
_PARTS = {
    "scan": (("x", "delta", "B", "C"), "y"),
    "se": (("input",), "output"),
    "cmn": (("input",), "output"),
    "cra": (("input",), "output"),
}


def _call(part: str, function: Function, module: Any, inputs: dict[str, Tensor]) -> Any:
    """The student's function with the arguments that `plugged` promises."""
    if part == "scan":
        x, delta, B, C = (inputs[name] for name in ("x", "delta", "B", "C"))
        return function(x, delta, -torch.exp(module.A_logs), B, C, module.Ds, module.dt_projs_bias)
    x = inputs["input"]
    if part == "se":
        return function(x, module.fc1.weight, module.fc2.weight)[0]
    if part == "cmn":
        return function(x, module.fc1, module.dwconv, module.fc2)
    return function(x, module.conv1, module.bn1, module.conv_h, module.conv_w)


def _replacements(model: nn.Module, part: str, function: Function) -> dict[str, Replacement]:
    if part not in _PARTS:
        raise SkinlesionError(f"Unknown part {part!r}; choose one of: {', '.join(_PARTS)}.")
    sources, target = _PARTS[part]
    owner = "ss2d" if part == "scan" else part
    wired: dict[str, Replacement] = {}
    for name in points(model):
        prefix, _, local = name.rpartition(".")
        if local != target or not (prefix.split(".")[-1] == owner or _is_bare(model, prefix, owner)):
            continue
        module, inputs = find_point(model, name)[0], dict[str, Tensor]()

        def remember(source: str, inputs: dict[str, Tensor], tensor: Tensor) -> Tensor:
            inputs[source] = tensor
            return tensor

        def compute(module: nn.Module, inputs: dict[str, Tensor], _: Tensor) -> Any:
            return _call(part, function, module, inputs)

        dot = f"{prefix}." if prefix else ""
        wired |= {f"{dot}{source}": partial(remember, source, inputs) for source in sources}
        wired[name] = partial(compute, module, inputs)
    if not wired:
        raise SkinlesionError(f"This model has no {part!r} to replace.")
    return wired


def _is_bare(model: nn.Module, prefix: str, owner: str) -> bool:
    """Whether the model is the part itself, so that its points have no prefix."""
    return not prefix and type(model).__name__ == {"ss2d": "SS2D"}.get(owner)


@contextmanager
def plugged(model: nn.Module, functions: Mapping[str, Function]) -> Iterator[None]:
    """Compute parts of a network with other functions in every forward pass inside a `with` block.

    Args:
        model: the package's network, or any module that holds its parts; it is left as it was.
        functions: part -> function. "scan" is called as `skinlesion.scan.cross_selective_scan` with its first seven
            arguments; "se" as `skinlesion.model.squeeze_excitation`; "cmn" as `skinlesion.model.channel_mixing` with
            its first four; "cra" as function(x, conv1, bn1, conv_h, conv_w) with the layers of
            `skinlesion.model.CrossRegionAttention`.

    Raises:
        SkinlesionError: an unknown part, or the model has no such part; or, in the forward pass, a function returns
            another shape.
    """
    wired: dict[str, Replacement] = {}
    for part, function in functions.items():
        wired |= _replacements(model, part, function)
    with intervene(model, wired):
        yield


def plug(model: nn.Module, part: str, function: Function) -> nn.Module:
    """A copy of a network in which one part is computed by another function.

    Args:
        model: as for `plugged`.
        part: "scan", "se", "cmn" or "cra".
        function: the replacement, see `plugged`.

    Returns:
        The copy, with weights of its own of the same values. It trains as the original does.

    Raises:
        SkinlesionError: as `plugged`.
    """
    _replacements(model, part, function)  # raises now, not in the first forward pass
    return Intervened(copy.deepcopy(model), partial(plugged, functions={part: function}))
