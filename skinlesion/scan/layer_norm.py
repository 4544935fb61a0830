r"""LayerNorm of narrow rows for training on the CPU: PyTorch's takes as long for 6 channels as for 60.

From Ba, Kiros and Hinton, "Layer Normalization" (https://arxiv.org/abs/1607.06450), with the mean :math:`\mu` and the
variance :math:`\sigma^2` of a row:

.. math::
    y = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}\, w + b
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skinlesion.scan.cpu import PARTS, run
from skinlesion.scan.kernels import compile_kernel


@compile_kernel
def _forward(x, weight, bias, eps, y, mean, rstd, start, stop):
    """Rows `start` to `stop` of y, and their means and reciprocal standard deviations."""
    C = x.shape[1]
    for r in range(start, stop):
        added = np.float32(0)
        for c in range(C):
            added += x[r, c]
        mu = added / np.float32(C)
        added = np.float32(0)
        for c in range(C):
            added += (x[r, c] - mu) * (x[r, c] - mu)
        scale = np.float32(1 / math.sqrt(added / np.float32(C) + eps))
        for c in range(C):
            y[r, c] = (x[r, c] - mu) * scale * weight[c] + bias[c]
        mean[r] = mu
        rstd[r] = scale


@compile_kernel
def _backward(dy, x, weight, mean, rstd, dx, dweight, dbias, start, stop):
    """Rows `start` to `stop` of dx, and what those rows add to dweight and dbias."""
    C = x.shape[1]
    dweight[:] = 0
    dbias[:] = 0
    for r in range(start, stop):
        g_mean, gx_mean = np.float32(0), np.float32(0)
        for c in range(C):
            normal = (x[r, c] - mean[r]) * rstd[r]
            g = dy[r, c] * weight[c]
            g_mean += g
            gx_mean += g * normal
            dweight[c] += dy[r, c] * normal
            dbias[c] += dy[r, c]
        g_mean /= np.float32(C)
        gx_mean /= np.float32(C)
        for c in range(C):
            normal = (x[r, c] - mean[r]) * rstd[r]
            dx[r, c] = (dy[r, c] * weight[c] - g_mean - normal * gx_mean) * rstd[r]


def _edges(rows: int) -> list[int]:
    # The parts do not depend on the number of threads, so neither do the bits of their sum.
    return [rows * part // PARTS for part in range(PARTS + 1)]


class NarrowLayerNorm(torch.autograd.Function):
    """LayerNorm of float32 rows, x (R, C), with weight (C,) and bias (C,); both passes on torch's number of threads."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        """(R, C) -> (R, C)."""
        rows = x.shape[0]
        y, mean, rstd = torch.empty_like(x), x.new_empty(rows), x.new_empty(rows)
        arrays = [t.detach().numpy() for t in (x, weight, bias)]
        results = [t.numpy() for t in (y, mean, rstd)]
        edges = _edges(rows)
        run(lambda part: _forward(*arrays, eps, *results, edges[part], edges[part + 1]), PARTS)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx, dy: Tensor):
        """Gradients of x, weight and bias."""
        x, weight, bias, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative may follow, which PyTorch's own operations have
            y = F.layer_norm(x, x.shape[-1:], weight, bias, ctx.eps)
            return *torch.autograd.grad(y, (x, weight, bias), dy, create_graph=True), None
        dx = torch.empty_like(x)
        dweight, dbias = x.new_empty(2, PARTS, x.shape[1])
        arrays = [t.detach().numpy() for t in (dy.contiguous(), x, weight, mean, rstd, dx)]
        parts = dweight.numpy(), dbias.numpy()
        edges = _edges(x.shape[0])
        run(lambda p: _backward(*arrays, *(part[p] for part in parts), edges[p], edges[p + 1]), PARTS)
        return dx, dweight.sum(0), dbias.sum(0), None
