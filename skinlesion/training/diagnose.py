"""Where a number stopped being finite."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def first_nonfinite_layer(model: nn.Module, run: Callable[[], object]) -> str | None:
    """Run again under hooks, and name the first layer that gives an infinite or NaN value.

    Args:
        model: the network.
        run: does the forward pass in question, with the same input and random numbers.

    Returns:
        The layer as path and kind, such as "encoder.0.1.ss2d (SS2D)", or a sentence on the weights if those are not
        finite before the pass; None if all layers are finite.
    """
    for name, weight in model.named_parameters():  # not buffers: a broken pass has spoiled batch normalization's
        if not _finite(weight):
            return f"{name}, a weight that is itself not finite"
    found: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, _: Any, output: Any) -> None:
            if not found and not all(_finite(tensor) for tensor in _tensors(output)):
                found.append(f"{name or 'the network'} ({type(module).__name__})")

        return look

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def last_nonfinite_gradient(model: nn.Module) -> str | None:
    """The parameter nearest to the loss whose gradient is not finite, so the first to break in the backward pass."""
    names = [name for name, weight in model.named_parameters() if weight.grad is not None and not _finite(weight.grad)]
    return names[-1] if names else None


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, list | tuple) else []
