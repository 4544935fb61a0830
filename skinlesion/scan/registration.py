"""What every fused engine tells PyTorch about its two operators: the gradient, and how `vmap` may batch them.

Both operators keep one entry per image in each result, the gradients of A, D and delta_bias included (their sum over
images is left to the autograd formula). A batch of calls is therefore one call on a longer batch of images.
"""

from torch import Tensor
from torch.library import CustomOpDef

from skinlesion.errors import SkinlesionError

_FORWARD = ("x", "delta", "A", "B", "C", "D", "delta_bias", "routes", "keep")
_BACKWARD = ("dy", "x", "delta", "A", "B", "C", "D", "delta_bias", "routes", "kept")
_PER_IMAGE = {"dy", "x", "delta", "B", "C", "kept"}


def register(scan: CustomOpDef, scan_backward: CustomOpDef) -> None:
    """Give a pair of operators their autograd formula and their batching rules.

    Args:
        scan: (x, delta, A, B, C, D, delta_bias, routes, keep) -> (y, kept), as `skinlesion.scan.cpu.cross_scan`.
        scan_backward: (dy, x, delta, A, B, C, D, delta_bias, routes, kept) -> a gradient for each of the first seven
            arguments of `scan`, those of A, D and delta_bias per image.
    """

    def setup_context(ctx, inputs, output):
        *tensors, keep = inputs
        ctx.save_for_backward(*tensors, output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.keep = keep

    def backward(ctx, dy, _):
        if not ctx.keep:
            raise RuntimeError("the scan was called with keep=False, so it has no gradient; call it with keep=True")
        dx, ddelta, dA, dB, dC, dD, dbias = scan_backward(dy.contiguous(), *ctx.saved_tensors)
        return dx, ddelta, dA.sum(0), dB, dC, dD.sum(0), dbias.sum(0), None, None  # routes and keep

    scan.register_autograd(backward, setup_context=setup_context)
    scan.register_vmap(_batched(scan, _FORWARD))
    scan_backward.register_vmap(_batched(scan_backward, _BACKWARD))


def _batched(operator: CustomOpDef, names: tuple[str, ...]):
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
