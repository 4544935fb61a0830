r"""What every fused engine registers with PyTorch for its two operators: the gradient and the `vmap` rules.

Both operators keep one entry per image in each result, the gradients of A, D and delta_bias included (their sum over
images is left to the autograd formula). A batch of calls is therefore one call on a longer batch of images.

`torch.func` cannot see through an operator's registered gradient, so under its transforms the same formulas are used
as a pair of `torch.autograd.Function`s instead.

The recurrence is S6 of Mamba (https://arxiv.org/abs/2312.00752). With :math:`g_t` the gradient that reaches the state
:math:`h_t`, its backward pass is a scan from the last token to the first:

.. math::
    g_t = C_t\, dy_t + e^{\Delta_{t+1} A}\, g_{t+1}
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.library import CustomOpDef

from skinlesion.errors import SkinlesionError

_FORWARD = ("x", "delta", "A", "B", "C", "D", "delta_bias", "routes", "keep")
_BACKWARD = ("dy", "x", "delta", "A", "B", "C", "D", "delta_bias", "routes", "kept")
_PER_IMAGE = {"dy", "x", "delta", "B", "C", "kept"}
_REFUSED = 'The fused scan engines have no {}; use engine="reference", which PyTorch differentiates in every way.'


def refuse_forward_mode(*_) -> Any:
    """Raise: forward-mode differentiation would give zeros."""
    raise SkinlesionError(_REFUSED.format("forward-mode derivative (torch.func.jvp, jacfwd, hessian, make_dual)"))


def refuse_second_derivative(*_) -> Any:
    """Raise: a gradient of the gradient would give zeros."""
    raise SkinlesionError(_REFUSED.format("second derivative (the gradient of a gradient)"))


def under_transform() -> bool:
    """Whether a transform of `torch.func` (grad, vjp, jacrev, vmap, ..) is running."""
    return torch._C._are_functorch_transforms_active()


def check_tangents(arguments: Iterable) -> None:
    """Refuse forward-mode differentiation, which an operator without a rule for it ignores."""
    if forward_ad._current_level >= 0:
        for argument in arguments:
            if isinstance(argument, Tensor) and forward_ad.unpack_dual(argument).tangent is not None:
                refuse_forward_mode()


def register(scan: CustomOpDef, scan_backward: CustomOpDef) -> Callable[..., tuple[Tensor, Tensor]]:
    """Give a pair of operators their autograd formula and their batching rules.

    Args:
        scan: (x, delta, A, B, C, D, delta_bias, routes, keep) -> (y, kept), as `skinlesion.scan.cpu.cross_scan`.
        scan_backward: (dy, x, delta, A, B, C, D, delta_bias, routes, kept) -> a gradient for each of the first seven
            arguments of `scan`, those of A, D and delta_bias per image.

    Returns:
        The function to call in place of `scan`: the same, and under `torch.func`'s transforms too.
    """

    def save_forward(ctx, inputs, output):
        *tensors, keep = inputs
        ctx.save_for_backward(*tensors, output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # no zeros for the gradient that `kept` never has
        ctx.keep = keep

    def differentiate(ctx, dy, _):
        if not ctx.keep:
            raise RuntimeError("the scan was called with keep=False, so it has no gradient; call it with keep=True")
        if dy is None:  # what used y had no gradient to pass on
            return (None,) * 9
        gradient = BackwardFunction.apply if under_transform() else scan_backward
        dx, ddelta, dA, dB, dC, dD, dbias = gradient(dy.contiguous(), *ctx.saved_tensors)
        return dx, ddelta, dA.sum(0), dB, dC, dD.sum(0), dbias.sum(0), None, None  # routes and keep

    def save_nothing(ctx, inputs, output):
        pass

    batch_forward = _batched(lambda *arguments: call(*arguments), _FORWARD)
    batch_backward = _batched(
        lambda *arguments: (BackwardFunction.apply if under_transform() else scan_backward)(*arguments), _BACKWARD
    )
    scan.register_autograd(differentiate, setup_context=save_forward)
    scan_backward.register_autograd(refuse_second_derivative, setup_context=save_nothing)
    scan.register_vmap(batch_forward)
    scan_backward.register_vmap(batch_backward)

    class ForwardFunction(torch.autograd.Function):
        forward = staticmethod(lambda *arguments: scan(*arguments))
        setup_context = staticmethod(save_forward)
        backward = staticmethod(differentiate)
        jvp = staticmethod(refuse_forward_mode)  # type: ignore[assignment]
        vmap = staticmethod(batch_forward)

    class BackwardFunction(torch.autograd.Function):
        forward = staticmethod(lambda *arguments: scan_backward(*arguments))
        setup_context = staticmethod(save_nothing)
        backward = staticmethod(refuse_second_derivative)  # type: ignore[assignment]
        jvp = staticmethod(refuse_forward_mode)  # type: ignore[assignment]
        vmap = staticmethod(batch_backward)

    def call(*arguments) -> tuple[Tensor, Tensor]:
        if under_transform() and not torch.compiler.is_compiling():
            return ForwardFunction.apply(*arguments)
        check_tangents(arguments)
        return scan(*arguments)

    return call


def _batched(operator: Callable, names: tuple[str, ...]):
    """The rule that runs a `vmap` over `operator` as one call, the mapped axis joined to the batch of images."""

    def rule(info, dims, *arguments):
        size = info.batch_size
        merged = []
        for name, argument, dim in zip(names, arguments, dims, strict=True):
            if name in _PER_IMAGE:
                merged.append(_join(argument, dim, size))
            elif dim is None:
                merged.append(argument)
            else:
                raise SkinlesionError(
                    f"torch.func.vmap over the scan can map x, delta, B and C, but not {name}, which all images "
                    f"share; call the scan once for each {name} instead."
                )
        results = operator(*merged)
        # (V * B, ...) -> (V, B, ...)
        return tuple(r.unflatten(0, (size, r.shape[0] // size)) for r in results), (0,) * len(results)

    return rule


def _join(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Join the mapped axis (or a repetition, where the tensor is not mapped) to the batch of images."""
    mapped = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)  # (V, B, ...)
    return mapped.flatten(0, 1)  # (V * B, ...)
