r"""Adapter to mamba-ssm's CUDA kernel, if it has been built; only this file depends on the kernel's data layout.

The kernel is that of Mamba's authors (https://arxiv.org/abs/2312.00752). It computes, for one sequence,

.. math::
    h_t = e^{\Delta_t A}\, h_{t-1} + \Delta_t B_t\, u_t, \qquad y_t = \langle C_t, h_t\rangle + D\, u_t

mamba-ssm scans sequences whose last axis is time: u and delta (B, D, L), A (D, N), B and C (B, G, N, L) with a group
of channels for each of the G, D and delta_bias (D,). Each route is one group here, so one call scans them all:
D becomes K * D with the route as the slower part. Its gradients of B and C are added up with atomics and may differ in
the last bits from run to run.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skinlesion.errors import SkinlesionError
from skinlesion.scan.registration import refuse_second_derivative

BUILD = "MAMBA_KEEP_CUDA_BUILD=TRUE pip install mamba-ssm --no-build-isolation"


def load_kernel() -> Callable[..., Tensor]:
    """mamba-ssm's `selective_scan_fn`.

    Raises:
        ImportError: mamba-ssm is not installed, or was installed without its CUDA kernel (then its Python part imports
            all the same, and fails when it is called).
    """
    import selective_scan_cuda  # noqa: F401 - the compiled part
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    return selective_scan_fn


class _Reorder(torch.autograd.Function):
    """Tokens in each route's own order; the gradient is put back by a gather, for autograd's own would use atomics."""

    @staticmethod
    def forward(tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        index = order.T[None, :, :, None].expand(tokens.shape)  # (K, L) -> (B, L, K, C)
        return tokens.gather(1, index)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, order, inverse = inputs
        ctx.save_for_backward(order, inverse)

    @staticmethod
    def backward(ctx, gradient):
        order, inverse = ctx.saved_tensors
        return _Reorder.apply(gradient, inverse, order), None, None


class _FirstDerivativeOnly(torch.autograd.Function):
    """The identity, whose gradient cannot be differentiated: the CUDA kernel's own gradient would count as constant."""

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx, gradient):
        return _Constant.apply(gradient, *ctx.saved_tensors)


class _Constant(torch.autograd.Function):
    """A gradient, marked as depending on the tensor that it is the gradient of."""

    @staticmethod
    def forward(gradient: Tensor, tensor: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, _):
        return refuse_second_derivative()


def to_sequences(tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """Per-token values (B, L, K, C) as a sequence for each route, (B, K, C, L), contiguous.

    Args:
        tokens: values of every token for every route, tokens in row-major order.
        order: the token that a route visits at each step, int64 (K, L).
        inverse: the step at which a route visits each token, int64 (K, L).
    """
    return _Reorder.apply(tokens, order, inverse).permute(0, 2, 3, 1).contiguous()


def from_sequences(sequences: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """The inverse of `to_sequences`: (B, K, C, L) -> (B, L, K, C)."""
    return _Reorder.apply(sequences.permute(0, 3, 1, 2), inverse, order)


def cross_selective_scan(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    routes: Tensor,
    *,
    kernel: Callable[..., Tensor],
) -> Tensor:
    """The four-route scan by one call of mamba-ssm; shapes as in `reference.cross_selective_scan`, all float32.

    Args:
        x: (B, L, D).
        delta: (B, L, K, D).
        A: (K, D, N).
        B: (B, L, K, N).
        C: (B, L, K, N).
        D: (K, D).
        delta_bias: (K, D).
        routes: (K, L).
        kernel: what `load_kernel` returns.

    Returns:
        (B, L, D), the sum over the routes.

    Raises:
        SkinlesionError: the tensors are float64, which the kernel does not take.
    """
    if x.dtype != torch.float32:
        raise SkinlesionError(f'The scan engine "mamba" does not take {x.dtype}; use "triton" or "reference".')
    x, delta, A, B, C, D, delta_bias = map(_FirstDerivativeOnly.apply, (x, delta, A, B, C, D, delta_bias))
    order = routes.long()
    inverse = torch.argsort(order, dim=1)
    repeated = x[:, :, None].expand(-1, -1, len(routes), -1)  # (B, L, K, D)
    u, steps, B, C = (to_sequences(t, order, inverse) for t in (repeated, delta, B, C))  # (B, K, ..., L)
    y = kernel(
        u.flatten(1, 2),  # (B, K, D, L) -> (B, K * D, L)
        steps.flatten(1, 2),
        A.flatten(0, 1),  # (K, D, N) -> (K * D, N)
        B,
        C,
        D.flatten(),
        delta_bias=delta_bias.flatten(),
        delta_softplus=True,
    )
    return from_sequences(y.unflatten(1, A.shape[:2]), order, inverse).sum(2)  # (B, L, K, D) -> (B, L, D)
