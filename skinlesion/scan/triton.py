r"""The GPU engine: the Triton kernels as PyTorch operators, with nothing to build.

The operator is the cross scan of VMamba (https://arxiv.org/abs/2401.10166), whose K routes each run Mamba's selective
scan S6 (https://arxiv.org/abs/2312.00752):

.. math::
    y = \sum_k \mathrm{merge}_k\bigl(\mathrm{S6}_k(\mathrm{expand}_k(x))\bigr)

What has been shown, and what has not: values and gradients equal the reference in Triton's interpreter (with
`TRITON_INTERPRET=1` the engine also takes CPU tensors), and both kernels compile ahead of time for several GPUs
without spilling registers (`benchmarks/triton_aot.py`; Triton 3.1 to 3.9, with a few spills in 3.3). They have not
been run on a GPU by the authors: their speed there is not known, nor is the effect of a GPU's approximate
exponential, which the interpreter does not imitate.
"""

import math

import torch
import triton
from torch import Tensor

from skinlesion.scan import triton_kernels as kernels
from skinlesion.scan.registration import register

INTERPRETED = not isinstance(kernels.forward_kernel, triton.JITFunction)  # TRITON_INTERPRET=1 was set at import
DEVICES = ("cuda", "cpu") if INTERPRETED else ("cuda",)  # PyTorch calls AMD's GPUs "cuda" too


def _strides(x: Tensor, delta: Tensor, B: Tensor, C: Tensor) -> tuple[int, ...]:
    return (*x.stride()[:2], *delta.stride()[:3], *B.stride()[:3], *C.stride()[:3])


def _rates(A: Tensor) -> Tensor:
    return (A * math.log2(math.e)).transpose(1, 2).contiguous()  # (K, N, D)


def _kept_shape(delta: Tensor, states: int, keep: bool) -> tuple[int, ...]:
    batch, length, routes, channels = delta.shape
    return (batch, routes, -(-length // kernels.TOKENS) if keep else 0, states, channels)


@torch.library.custom_op("skinlesion::cross_scan_triton", mutates_args=(), device_types=DEVICES)
def cross_scan(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    routes: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """The four-route scan; shapes as in `reference.cross_selective_scan`, last axes contiguous.

    Returns:
        y (B, L, D), and the states kept for the backward pass (B, K, chunks, N, D), no chunks unless `keep`.
    """
    batch, length, count, channels = delta.shape
    tile = kernels.blocks(A.shape[-1], channels)
    y = x.new_empty(count, batch, length, channels)  # a part for each route
    kept = x.new_empty(_kept_shape(delta, A.shape[-1], keep))
    grid = (triton.cdiv(channels, tile["BLOCK_D"]), count, batch)
    shared = (D.contiguous(), delta_bias.contiguous(), routes.contiguous())
    with torch.cuda.device_of(x):
        kernels.forward_kernel[grid](
            *(x, delta, _rates(A), B, C, *shared, y, kept),
            *(batch, length, channels, A.shape[-1], *_strides(x, delta, B, C)),
            KEEP=keep,
            **tile,
            **kernels.options(tile, x.element_size(), kernels.FORWARD_BYTES),
        )
    return y.sum(0), kept


@cross_scan.register_fake
def _(x, delta, A, B, C, D, delta_bias, routes, keep):
    kept = x.new_empty(_kept_shape(delta, A.shape[-1], keep))
    return torch.empty_like(x, memory_format=torch.contiguous_format), kept


def _empty_gradients(x: Tensor, delta: Tensor, A: Tensor, parts: int) -> tuple[Tensor, ...]:
    batch, length, routes, channels = delta.shape
    states = A.shape[-1]
    return (
        x.new_empty(routes, batch, length, channels),
        x.new_empty(routes, batch, length, channels),
        x.new_empty(batch, routes, states, channels),
        x.new_empty(parts, batch, length, routes, states),
        x.new_empty(parts, batch, length, routes, states),
        x.new_empty(batch, routes, channels),
        x.new_empty(batch, routes, channels),
    )


def _finished(gradients: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    dx, ddelta, dA, dB, dC, dD, dbias = gradients
    # ddelta: (K, B, L, D) -> (B, L, K, D); dA: (B, K, N, D) -> (B, K, D, N)
    return dx.sum(0), ddelta.permute(1, 2, 0, 3), dA.transpose(2, 3), dB.sum(0), dC.sum(0), dD, dbias


@torch.library.custom_op("skinlesion::cross_scan_triton_backward", mutates_args=(), device_types=DEVICES)
def cross_scan_backward(
    dy: Tensor,
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    routes: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `cross_scan` with respect to x, delta, A, B, C, D and delta_bias; A, D and delta_bias per image."""
    batch, length, count, channels = delta.shape
    tile = kernels.blocks(A.shape[-1], channels)
    grid = (triton.cdiv(channels, tile["BLOCK_D"]), count, batch)
    gradients = _empty_gradients(x, delta, A, grid[0])
    shared = (D.contiguous(), delta_bias.contiguous(), routes.contiguous())
    with torch.cuda.device_of(x):
        kernels.backward_kernel[grid](
            *(dy.contiguous(), x, delta, _rates(A), B, C, *shared, kept.contiguous(), *gradients),
            *(batch, length, channels, A.shape[-1], *_strides(x, delta, B, C)),
            **tile,
            **kernels.options(tile, x.element_size(), kernels.BACKWARD_BYTES),
        )
    return _finished(gradients)


@cross_scan_backward.register_fake
def _(dy, x, delta, A, B, C, D, delta_bias, routes, kept):
    return _finished(_empty_gradients(x, delta, A, 1))


scan = register(cross_scan, cross_scan_backward)
