r"""The fused cross scan for CPUs: Numba kernels that walk the routes in place, forward and backward.

VMamba's cross scan (https://arxiv.org/abs/2401.10166) of Mamba's recurrence (https://arxiv.org/abs/2312.00752), where
route k visits token :math:`r_k(t)` at step t:

.. math::
    h_t = 2^{\Delta_t A_2}\, h_{t-1} + \Delta_t B_t\, x_{r_k(t)}, \qquad
    y_{r_k(t)} \mathrel{+}= \langle C_t, h_t\rangle + D\, x_{r_k(t)}, \qquad A_2 = A \log_2 e

Nothing of size (B, K, L, D, N) is ever stored. A task owns one image and a group of 16-channel blocks and walks
the K routes over it. A route is walked in chunks of `CHUNK` tokens and, within a chunk, block by block: the state
of a block (16 channels x N states, 1 kB) stays in the first-level cache, each cache line of the image is fetched
once a route, and the lines of the next chunk are asked for ahead of time, since a column route jumps a whole
row of the image at every step. The backward pass starts each chunk from the state that the forward pass kept and
recomputes the rest.

Shapes, all with the last axis contiguous: x, y (B, L, D); delta (B, L, K, D); B, C (B, L, K, N); A2 (K, N, D),
which is A times log2(e); skip, bias (K, D); routes (K, L); kept (B, K, chunks, N, D).
"""

import math

import numpy as np
from numba import njit

from skinlesion.scan.simd import (
    absolute,
    exp2,
    exp2_two,
    fma,
    folded_totals,
    load,
    log1p_unit,
    positive_part,
    prefetch,
    scaled,
    splat,
    store,
    store_folded,
    zero,
)


def compile_kernel(function):
    """Compile without the GIL; keep the machine code on disk where some folder for it can be written."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # Numba found no writable folder: compile once a process
        return njit(**options)(function)


CHUNK = 32  # tokens between two kept states
LOG2_E = math.log2(math.e)
LN_2 = math.log(2.0)


@njit(inline="always")
def _scratch(rows, N, slots, lanes, like):
    """(rows, N, slots, lanes) that starts on a cache line: a vector across two lines costs two accesses."""
    size = rows * N * slots * lanes
    raw = np.empty(size + lanes, like.dtype)
    start = (-raw.ctypes.data % (lanes * raw.itemsize)) // raw.itemsize
    return raw[start : start + size].reshape(rows, N, slots, lanes)


@njit(inline="always")
def _softplus(v):
    """log(1 + e**v), accurate at both ends."""
    return positive_part(v) + log1p_unit(exp2(scaled(absolute(v), -LOG2_E)))


@njit(inline="always")
def _prefetch_token(x, delta, B, C, b, token, k, first, blocks, lanes):
    for j in range(blocks):
        prefetch(x, (b, token, first + j * lanes))
        prefetch(delta, (b, token, k, first + j * lanes))
    prefetch(B, (b, token, k, 0))
    prefetch(C, (b, token, k, 0))


@njit(inline="always")
def _find_steps(delta, routes, offset, steps, b, k, start, stop, d):
    """Step sizes of one chunk of one block, ahead of the recurrence: here the tokens do not wait for each other."""
    for t in range(start, stop):
        store(steps, (t - start, 0, 0, 0), _softplus(load(delta, (b, routes[k, t], k, d)) + offset))


@compile_kernel
def forward(x, delta, A2, B, C, skip, bias, routes, y, kept, keep, b, first, blocks, lanes):
    """Fill y[b, :, first : first + blocks * lanes] and, if `keep`, the state before each chunk."""
    K, N, _ = A2.shape
    L = x.shape[1]
    block = _scratch(blocks, N, 2, lanes, x)  # state and rates, side by side
    steps = _scratch(CHUNK, 1, 1, lanes, x)
    for k in range(K):
        for j in range(blocks):
            for n in range(N):
                store(block, (j, n, 0, 0), zero(x))
                store(block, (j, n, 1, 0), load(A2, (k, n, first + j * lanes)))
        for start in range(0, L, CHUNK):
            stop = min(start + CHUNK, L)
            for j in range(blocks):
                d = first + j * lanes
                if keep:
                    for n in range(N):
                        store(kept, (b, k, start // CHUNK, n, d), load(block, (j, n, 0, 0)))
                D, offset = load(skip, (k, d)), load(bias, (k, d))
                _find_steps(delta, routes, offset, steps, b, k, start, stop, d)
                for t in range(start, stop):
                    token = routes[k, t]
                    if j == 0:
                        ahead = routes[k, min(t + CHUNK, L - 1)]
                        _prefetch_token(x, delta, B, C, b, ahead, k, first, blocks, lanes)
                    u = load(x, (b, token, d))
                    step = load(steps, (t - start, 0, 0, 0))
                    write = step * u
                    out = D * u
                    for n in range(0, N // 2 * 2, 2):
                        decay, other = exp2_two(step * load(block, (j, n, 1, 0)), step * load(block, (j, n + 1, 1, 0)))
                        h = fma(decay, load(block, (j, n, 0, 0)), write * splat(B[b, token, k, n]))
                        store(block, (j, n, 0, 0), h)
                        out = fma(splat(C[b, token, k, n]), h, out)
                        h = fma(other, load(block, (j, n + 1, 0, 0)), write * splat(B[b, token, k, n + 1]))
                        store(block, (j, n + 1, 0, 0), h)
                        out = fma(splat(C[b, token, k, n + 1]), h, out)
                    if N % 2 > 0:
                        decay = exp2(step * load(block, (j, N - 1, 1, 0)))
                        h = fma(decay, load(block, (j, N - 1, 0, 0)), write * splat(B[b, token, k, N - 1]))
                        store(block, (j, N - 1, 0, 0), h)
                        out = fma(splat(C[b, token, k, N - 1]), h, out)
                    if k > 0:
                        out = out + load(y, (b, token, d))
                    store(y, (b, token, d), out)


# Rows of a block's scratch for the tokens of one chunk.
STEP, WRITE, OUT, THROUGH_DECAY, THROUGH_WRITE = range(5)


@njit(inline="always")
def _read_tokens(x, dy, delta, routes, offset, tokens, b, k, start, count, d):
    """Step size, what the token writes, and the output's gradient, for the tokens of one chunk of one block."""
    for i in range(count):
        token = routes[k, start + i]
        step = _softplus(load(delta, (b, token, k, d)) + offset)
        store(tokens, (STEP, i, 0, 0), step)
        store(tokens, (WRITE, i, 0, 0), step * load(x, (b, token, d)))
        store(tokens, (OUT, i, 0, 0), load(dy, (b, token, d)))
        store(tokens, (THROUGH_DECAY, i, 0, 0), zero(x))
        store(tokens, (THROUGH_WRITE, i, 0, 0), zero(x))


@njit(inline="always")
def _find_decays(tokens, rate, path, count):
    """Decays of one state at the tokens of a chunk; up to three more are found from what is left in the scratch."""
    for i in range(0, count, 2):
        a, b = exp2_two(
            load(tokens, (STEP, i, 0, 0)) * rate,
            load(tokens, (STEP, i + 1, 0, 0)) * rate,
        )
        store(path, (1, i, 0, 0), a)
        store(path, (1, i + 1, 0, 0), b)


@compile_kernel
def backward(
    dy,
    x,
    delta,
    A2,
    B,
    C,
    skip,
    bias,
    routes,
    kept,
    dx,
    ddelta,
    dA2,
    dB,
    dC,
    dskip,
    dbias,
    b,
    first,
    blocks,
    lanes,
    part,
):
    """Gradients of a task's channels; dB and dC are this task's part of the sum over channels.

    With g the gradient that reaches state h_t, p = g decay_t flows on to h_{t-1} and p h_{t-1} is what the
    exponent Delta A receives. dA2, dskip and dbias are (B, ...): the sum over images is left to the caller.

    Within a chunk of a block the loop over states is outside and the loop over tokens inside: a state's recurrence
    stays in registers, and all scratch (20 kB) in the first-level cache.
    """
    K, N, _ = A2.shape
    L = x.shape[1]
    block = _scratch(blocks, N, 3, lanes, x)  # rates, their gradient, the carried gradient
    sums = np.empty((blocks, 2, lanes), x.dtype)  # dskip and dbias
    tokens = _scratch(5, CHUNK, 1, lanes, x)
    path = _scratch(2, CHUNK, 1, lanes, x)  # one state before each token, and its decay there
    folded = _scratch(2, CHUNK, 1, lanes // 2, x)  # dB and dC of one state, half summed over the block's channels
    shared = np.empty((4, N, CHUNK), x.dtype)  # B, C, dB and dC of the chunk
    folded[:] = 0  # in a last, short chunk some are added up (and thrown away) without having been written
    for k in range(K):
        for j in range(blocks):
            store(sums, (j, 0, 0), zero(x))
            store(sums, (j, 1, 0), zero(x))
            for n in range(N):
                store(block, (j, n, 0, 0), load(A2, (k, n, first + j * lanes)))
                store(block, (j, n, 1, 0), zero(x))
                store(block, (j, n, 2, 0), zero(x))
        for chunk in range((L - 1) // CHUNK, -1, -1):
            start = chunk * CHUNK
            count = min(CHUNK, L - start)
            for t in range(max(start - CHUNK, 0), start):
                _prefetch_token(x, delta, B, C, b, routes[k, t], k, first, blocks, lanes)
                for j in range(blocks):
                    prefetch(dy, (b, routes[k, t], first + j * lanes))
            for i in range(count):
                token = routes[k, start + i]
                for n in range(N):
                    shared[0, n, i] = B[b, token, k, n]
                    shared[1, n, i] = C[b, token, k, n]
            for j in range(blocks):
                d = first + j * lanes
                _read_tokens(x, dy, delta, routes, load(bias, (k, d)), tokens, b, k, start, count, d)
                for n in range(N):
                    rate = load(block, (j, n, 0, 0))
                    h = load(kept, (b, k, chunk, n, d))
                    _find_decays(tokens, rate, path, count)
                    for i in range(count):
                        store(path, (0, i, 0, 0), h)
                        h = fma(load(path, (1, i, 0, 0)), h, load(tokens, (WRITE, i, 0, 0)) * splat(shared[0, n, i]))
                        store_folded(folded, (1, i, 0, 0), load(tokens, (OUT, i, 0, 0)) * h)
                    drate, p = load(block, (j, n, 1, 0)), load(block, (j, n, 2, 0))
                    for i in range(count - 1, -1, -1):
                        g = fma(splat(shared[1, n, i]), load(tokens, (OUT, i, 0, 0)), p)
                        p = g * load(path, (1, i, 0, 0))
                        q = p * load(path, (0, i, 0, 0))
                        drate = fma(q, load(tokens, (STEP, i, 0, 0)), drate)
                        through = fma(q, rate, load(tokens, (THROUGH_DECAY, i, 0, 0)))
                        store(tokens, (THROUGH_DECAY, i, 0, 0), through)
                        through = fma(g, splat(shared[0, n, i]), load(tokens, (THROUGH_WRITE, i, 0, 0)))
                        store(tokens, (THROUGH_WRITE, i, 0, 0), through)
                        store_folded(folded, (0, i, 0, 0), g * load(tokens, (WRITE, i, 0, 0)))
                    store(block, (j, n, 1, 0), drate)
                    store(block, (j, n, 2, 0), p)
                    for i in range(0, count, lanes):
                        for which in range(2):
                            added = folded_totals(folded, (which, i, 0, 0))
                            if j > 0:
                                added = added + load(shared, (2 + which, n, i))
                            store(shared, (2 + which, n, i), added)
                D = load(skip, (k, d))
                offset = load(bias, (k, d))
                dD, doffset = load(sums, (j, 0, 0)), load(sums, (j, 1, 0))
                for i in range(count):
                    token = routes[k, start + i]
                    u, out = load(x, (b, token, d)), load(tokens, (OUT, i, 0, 0))
                    step = load(tokens, (STEP, i, 0, 0))
                    through_write = load(tokens, (THROUGH_WRITE, i, 0, 0))
                    through_decay = scaled(load(tokens, (THROUGH_DECAY, i, 0, 0)), LN_2)
                    v = load(delta, (b, token, k, d)) + offset
                    slope = exp2(scaled(v - step, LOG2_E))  # the sigmoid, since step is softplus(v)
                    dv = fma(through_write, u, through_decay) * slope
                    store(ddelta, (b, token, k, d), dv)
                    du = fma(through_write, step, D * out)
                    if k > 0:
                        du = du + load(dx, (b, token, d))
                    store(dx, (b, token, d), du)
                    dD = fma(out, u, dD)
                    doffset = doffset + dv
                store(sums, (j, 0, 0), dD)
                store(sums, (j, 1, 0), doffset)
            for i in range(count):
                token = routes[k, start + i]
                for n in range(N):
                    dB[part, b, token, k, n] = shared[2, n, i]
                    dC[part, b, token, k, n] = shared[3, n, i]
        for j in range(blocks):
            d = first + j * lanes
            store(dskip, (b, k, d), load(sums, (j, 0, 0)))
            store(dbias, (b, k, d), load(sums, (j, 1, 0)))
            for n in range(N):
                store(dA2, (b, k, n, d), load(block, (j, n, 1, 0)))
