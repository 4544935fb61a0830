"""Lesson 5, SS2D, a scan over an image: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from skinlesion.scan.reference import selective_scan


# ss2d.four_routes
def four_routes(height: int, width: int) -> Tensor:
    """Row-major indices in the order of each route: int (4, height * width)."""
    rows = torch.arange(height * width)  # (L,)
    columns = rows.reshape(height, width).T.reshape(-1)  # (L,)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])  # (4, L)


# ss2d.cross_scan
def cross_scan(x: Tensor, routes: Tensor) -> Tensor:
    """Read a grid (B, H, W, D) along K routes (K, H * W): (B, K, H * W, D)."""
    line = x.flatten(1, 2)  # (B, H, W, D) -> (B, L, D)
    return line[:, routes.long()]  # (B, K, L, D)


# ss2d.cross_merge
def cross_merge(y: Tensor, routes: Tensor, height: int, width: int) -> Tensor:
    """Put the results (B, K, H * W, D) back in place and add them: (B, H, W, D)."""
    merged = torch.zeros_like(y[:, 0])  # (B, L, D)
    for k, route in enumerate(routes.long()):
        merged = merged + y[:, k, torch.argsort(route)]
    return merged.unflatten(1, (height, width))  # (B, H, W, D)


# ss2d.cross_selective_scan
def cross_selective_scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> Tensor:
    """SS2D's scan of x (B, H, W, D) along four routes: (B, H, W, D)."""
    height, width = x.shape[1:3]
    x, delta, B, C = (t.flatten(1, 2) for t in (x, delta, B, C))  # (B, L, ...)
    y = torch.zeros_like(x)
    for k, order in enumerate(four_routes(height, width).long()):
        step = F.softplus(delta[:, order, k] + delta_bias[k])  # (B, L, D)
        along = selective_scan(x[:, order], step, A[k], B[:, order, k], C[:, order, k], D[k])
        y = y + along[:, torch.argsort(order)]
    return y.unflatten(1, (height, width))  # (B, H, W, D)


# ss2d.implicit_attention
def implicit_attention(delta: Tensor, a: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The scan of one channel as a matrix: delta (L,), a (N,), B and C (L, N) -> (L, L), row t reads from s."""
    time = delta.cumsum(0)  # (L,)
    gap = (time[:, None] - time[None, :]).clamp(min=0)  # (L, L): from s to t
    decay = torch.exp(gap[..., None] * a)  # (L, L, N)
    return torch.einsum("tn,tsn,sn->ts", C, decay, delta[:, None] * B).tril()
