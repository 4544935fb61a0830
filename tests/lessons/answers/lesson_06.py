"""Lesson 6: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import math

import numpy as np
import torch
from scipy import stats
from torch.utils.checkpoint import checkpoint

from skinlesion.lessons.catalog import find


def _ignores_size(part, u, delta, A, B, C, size):
    return find("fast_scan.chunked").solution(part, u, delta, A, B, C, 2)


def combine_in_place(first, second):
    first[1].mul_(second[0]).add_(second[1])
    return first[0] * second[0], first[1]


def prefix_loop(combine, a, b):
    h, out = torch.zeros_like(b[:, 0]), []
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]
        out.append(h)
    return torch.stack(out, dim=1)


def prefix_by_products(combine, a, b):
    total = a.cumprod(1)
    return total * (b / total).cumsum(1)


def so_many_chunks(part, u, delta, A, B, C, size):
    h, out = u.new_zeros(u.shape[0], u.shape[2], A.shape[1]), []
    for u_c, d_c, b_c, c_c in zip(*(t.chunk(size, dim=1) for t in (u, delta, B, C)), strict=True):
        y, h = checkpoint(part, h, u_c, d_c, A, b_c, c_c, use_reentrant=False)
        out.append(y)
    return torch.cat(out, dim=1)


def natural_on_one_side(lengths, seconds):
    x, y = lengths.double().log10(), seconds.double().log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / x.square().sum())


def prefix_in_place(combine, a, b):
    reach = 1
    while reach < a.shape[1]:
        new_a, new_b = combine((a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:]))
        with torch.no_grad():
            a[:, reach:], b[:, reach:] = new_a, new_b
        reach *= 2
    return b


def chunk_state_twice(part, u, delta, A, B, C, size):
    h, out = u.new_zeros(u.shape[0], u.shape[2], A.shape[1]), []
    for t in range(0, u.shape[1], size):
        window = slice(t, min(t + size, u.shape[1] - 1))
        y, h = checkpoint(part, h, u[:, window], delta[:, window], A, B[:, window], C[:, window], use_reentrant=False)
        out.append(y)
    return torch.cat(out, 1)


def weighted_slope(lengths, seconds):
    x, y = lengths.double().log(), seconds.double().log()
    return float((x * y).mean() / x.square().mean())


def prefix_wrong_reach(combine, a, b):
    reach = 1
    while reach < a.shape[1]:
        later = combine((a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:]))
        a, b = (torch.cat([old[:, :reach], new], 1) for old, new in zip((a, b), later, strict=True))
        reach *= 3
    return b


def odd_and_even(combine, a, b):
    """Blelloch's order: pairs first, then the rest."""
    length = a.shape[1]
    if length == 1:
        return b

    def scan(a, b):
        n = a.shape[1]
        if n == 1:
            return a, b
        m = n - n % 2
        pair = combine((a[:, 0:m:2], b[:, 0:m:2]), (a[:, 1:m:2], b[:, 1:m:2]))
        odd = scan(*pair)
        later = combine((odd[0][:, : (n - 1) // 2], odd[1][:, : (n - 1) // 2]), (a[:, 2::2], b[:, 2::2]))
        out = []
        for first, mid, other in ((a, odd[0], later[0]), (b, odd[1], later[1])):
            whole = torch.empty_like(first)
            whole[:, 1::2] = mid
            whole[:, 0::2] = torch.cat([first[:, :1], other], 1)
            out.append(whole)
        return tuple(out)

    return scan(a, b)[1]


def returns_a(combine, a, b):
    reach = 1
    while reach < a.shape[1]:
        na, nb = combine((a[:, :-reach], b[:, :-reach]), (a[:, reach:], b[:, reach:]))
        a, b = torch.cat([a[:, :reach], na], 1), torch.cat([b[:, :reach], nb], 1)
        reach *= 2
    return a


def drops_last_partial_chunk(part, u, d, A, B, C, size):
    h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
    ys = []
    for k in range(u.shape[1] // size):
        s = slice(k * size, (k + 1) * size)
        y, h = checkpoint(part, h, u[:, s], d[:, s], A, B[:, s], C[:, s], use_reentrant=False)
        ys.append(y)
    return torch.cat(ys, 1)


def number_of_chunks_for_size(part, u, d, A, B, C, size):
    math.ceil(u.shape[1] / size)
    h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
    ys = []
    for u1, d1, B1, C1 in zip(u.chunk(size, 1), d.chunk(size, 1), B.chunk(size, 1), C.chunk(size, 1), strict=False):
        y, h = checkpoint(part, h, u1, d1, A, B1, C1, use_reentrant=False)
        ys.append(y)
    return torch.cat(ys, 1)


def prefix_another_way(combine, a, b):
    k = 0
    while (reach := 1 << k) < a.size(1):
        early = (a.narrow(1, 0, a.size(1) - reach), b.narrow(1, 0, a.size(1) - reach))
        later = combine(early, (a[:, reach:], b[:, reach:]))
        a, b = (torch.cat((old[:, :reach], new), 1) for old, new in zip((a, b), later, strict=False))
        k += 1
    return b


WRONG = [
    ("fast_scan.chunked", _ignores_size, ""),
    ("fast_scan.growth", lambda x, y: np.polyfit(x.log().numpy(), y.log().numpy(), 1)[1], "intercept|slope"),
    (
        "fast_scan.growth",
        lambda x, y: float((y[-1] / y[0]).log() / (x[-1] / x[0]).log()),
        "first and last|all points|two",
    ),
    ("fast_scan.combine", combine_in_place, "in place|changes its argument"),
    ("fast_scan.prefix", prefix_loop, "combine"),
    ("fast_scan.prefix", prefix_by_products, "combine"),
    ("fast_scan.chunked", so_many_chunks, "size|chunk"),
    ("fast_scan.growth", natural_on_one_side, "log"),
    ("fast_scan.prefix", prefix_in_place, "in place"),
    ("fast_scan.chunked", chunk_state_twice, "last|token|length|shape"),
    ("fast_scan.growth", weighted_slope, "mean|origin|center"),
    ("fast_scan.prefix", prefix_wrong_reach, "twice|reach|3|round"),
    ("fast_scan.prefix", returns_a, "`a` in place of `b`"),
    ("fast_scan.chunked", drops_last_partial_chunk, "size 6 instead of 7"),
    ("fast_scan.chunked", number_of_chunks_for_size, "more tokens than `size`"),
]
RIGHT = [
    ("fast_scan.growth", lambda x, y: np.polyfit(x.log().numpy(), y.log().numpy(), 1)[0]),
    ("fast_scan.growth", lambda x, y: stats.linregress(x.log10().numpy(), y.log10().numpy()).slope),
    ("fast_scan.combine", lambda one, two: [one[0] * two[0], torch.addcmul(two[1], two[0], one[1])]),
    ("fast_scan.prefix", odd_and_even),
    (
        "fast_scan.growth",
        lambda lengths, seconds: torch.linalg.lstsq(
            torch.stack([lengths.log(), torch.ones_like(lengths)], 1), seconds.log()[:, None]
        ).solution[0, 0],
    ),
    ("fast_scan.combine", lambda first, second: (second[0] * first[0], torch.addcmul(second[1], second[0], first[1]))),
    ("fast_scan.prefix", prefix_another_way),
]
