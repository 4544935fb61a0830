"""Lesson 6, Making the scan fast: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
from torch import Tensor


# fast_scan.growth
def growth(lengths: Tensor, seconds: Tensor) -> float:
    """The least-squares slope of log(seconds) against log(lengths); both (n,)."""
    x, y = lengths.log(), seconds.log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


# fast_scan.combine
def combine(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The pair (a, b) of both steps composed; a step is the pair (a, b) of h -> a h + b."""
    a1, b1 = first
    a2, b2 = second
    return a1 * a2, a2 * b1 + b2


# fast_scan.prefix
def prefix(combine, a: Tensor, b: Tensor) -> Tensor:
    """All states of a, b (B, L, ...), from h = 0, in about log2(L) rounds."""
    reach = 1
    while reach < a.shape[1]:
        new_a, new_b = combine((a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:]))
        a = torch.cat([a[:, :reach], new_a], dim=1)
        b = torch.cat([b[:, :reach], new_b], dim=1)
        reach *= 2
    return b


# fast_scan.chunked
def chunked(part, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, size: int) -> Tensor:
    """y (B, L, D), chunk by chunk, each recomputed in the backward pass; part(h, u, delta, A, B, C) -> y, h."""
    from torch.utils.checkpoint import checkpoint

    h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])  # (B, D, N)
    outputs = []
    for u_c, delta_c, B_c, C_c in zip(*(t.split(size, dim=1) for t in (u, delta, B, C)), strict=True):
        y, h = checkpoint(part, h, u_c, delta_c, A, B_c, C_c, use_reentrant=False)
        outputs.append(y)
    return torch.cat(outputs, dim=1)
