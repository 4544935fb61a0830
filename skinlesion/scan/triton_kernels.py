r"""The fused cross scan for GPUs: two Triton kernels, forward and backward.

VMamba's cross scan (https://arxiv.org/abs/2401.10166) of Mamba's recurrence (https://arxiv.org/abs/2312.00752). Two
stretches of tokens compose to one, which lets a tile be scanned in parallel:

.. math::
    (a_2, b_2) \circ (a_1, b_1) = (a_2 a_1,\; a_2 b_1 + b_2), \qquad a_t = e^{\Delta_t A}, \; b_t = \Delta_t B_t x_t

A program owns one image, one route and a block of channels, and walks the route `TOKENS` tokens at a time. The states
of those tokens are a tile (TOKENS, N, channels) in registers. Its channels lie side by side in a warp and its tokens
in one thread, so the recurrence, a scan over the tile's first axis, costs a multiply-add a state and no exchange.
Only the state before each tile goes to memory, for the backward pass, which recomputes the rest. Routes and channel
blocks write parts of their own that are added afterward in a fixed order: no atomics, so the same bits every time.

Shapes, all with the last axis contiguous: x (B, L, D); dy (B, L, D); delta (B, L, K, D); B, C (B, L, K, N); A2
(K, N, D), which is A times log2(e); skip, bias (K, D); routes (K, L); kept (B, K, chunks, N, D). The arguments x_b,
x_l, ... are strides, in elements, along the axes b (image), l (token) and k (route).
"""

import math

import triton
import triton.language as tl

TOKENS = 16  # in a tile; also the distance between two kept states
SIZES = ("batch", "L")  # compiled once for all values: nothing is gained from knowing that they are multiples of 16
LOG2_E = tl.constexpr(math.log2(math.e))
LN_2 = tl.constexpr(math.log(2.0))


@triton.jit
def _softplus(v):
    """log(1 + e**v) and its slope, the sigmoid, accurate at both ends."""
    u = tl.exp2(-tl.abs(v) * tl.full((), LOG2_E, v.dtype))
    # log(1 + u) = 2 atanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...) with s = u / (2 + u) <= 1/3. A GPU's own logarithm has
    # an absolute error near 1, which would lose small step sizes.
    s = u / (2 + u)
    terms: tl.constexpr = 17 if v.dtype == tl.float64 else 8
    series = tl.zeros_like(s)
    for i in tl.static_range(terms):
        series = series * (s * s) + tl.full((), 1 / (2 * (terms - i) - 1), v.dtype)
    return tl.where(v < 0, 0, v) + 2 * s * series, tl.where(v < 0, u, 1) / (1 + u)


@triton.jit
def _compose(decay, state, next_decay, next_state):
    """Two stretches of the recurrence h <- decay h + state as one."""
    return next_decay * decay, next_decay * state + next_state


@triton.jit
def _compose_forward(decay, state, decayed, next_decay, next_state, next_decayed):
    """As `_compose`; `decayed` is the state just before the last token writes to it."""
    return next_decay * decay, next_decay * state + next_state, next_decay * state + next_decayed


@triton.jit
def _compose_backward(decay, flow, others, grad, next_decay, next_flow, next_others, next_grad):
    """Stretches of flow <- decay (grad + flow), last token first.

    `grad` is what reaches the state of the earliest token, `flow` what goes on from it to the token before, and
    `others` the product of the decays of all tokens but the earliest.
    """
    return (
        next_decay * decay,
        next_decay * flow + next_flow,
        next_others * decay,
        next_others * flow + next_grad,
    )


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    x,
    delta,
    A2,
    B,
    C,
    skip,
    bias,
    routes,
    y,
    kept,
    batch,
    L,
    D,
    N,
    x_b,
    x_l,
    delta_b,
    delta_l,
    delta_k,
    B_b,
    B_l,
    B_k,
    C_b,
    C_l,
    C_k,
    KEEP: tl.constexpr,
    T: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Fill y[k, b, :, block]; if KEEP, also the state before each tile."""
    K = tl.num_programs(1)
    k, image = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)  # offsets may need more than 32 bits
    d = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, BLOCK_N)
    row = tl.arange(0, T)[:, None, None]  # (T, 1, 1)
    d_in, n_in = d < D, n < N
    nd_in = n_in[:, None] & d_in[None, :]
    A2_tile = tl.load(A2 + (k * N + n[:, None]) * D + d[None, :], nd_in, 0)
    skip_tile = tl.load(skip + k * D + d, d_in, 0)
    bias_tile = tl.load(bias + k * D + d, d_in, 0)
    chunks = tl.cdiv(L, T)
    h = tl.zeros((BLOCK_N, BLOCK_D), A2_tile.dtype)
    for chunk in range(chunks):
        if KEEP:
            first = ((image * K + k) * chunks + chunk) * N
            # Three axes where two would do: Triton 3.3 cannot compile the store of h itself.
            kept_at = kept + (first + n[None, :, None]) * D + d[None, None, :]
            tl.store(kept_at, h[None, :, :], nd_in[None, :, :])
        t = chunk * T + tl.arange(0, T)
        t_in = t < L
        token = tl.load(routes + k * L + t, t_in, 0).to(tl.int64)
        td_in = t_in[:, None] & d_in[None, :]
        tn_in = t_in[:, None] & n_in[None, :]
        u = tl.load(x + image * x_b + token[:, None] * x_l + d[None, :], td_in, 0)
        v = tl.load(delta + image * delta_b + token[:, None] * delta_l + k * delta_k + d[None, :], td_in, 0)
        B_tile = tl.load(B + image * B_b + token[:, None] * B_l + k * B_k + n[None, :], tn_in, 0)
        C_tile = tl.load(C + image * C_b + token[:, None] * C_l + k * C_k + n[None, :], tn_in, 0)
        step, _ = _softplus(v + bias_tile[None, :])
        decay = tl.exp2(step[:, None, :] * A2_tile[None, :, :])  # (T, N, D)
        write = (step * u)[:, None, :] * B_tile[:, :, None]  # (T, N, D)
        write += tl.where(row == 0, decay * h[None, :, :], 0)
        _, states = tl.associative_scan((decay, write), 0, _compose)
        out = tl.sum(states * C_tile[:, :, None], 1) + skip_tile[None, :] * u  # (T, D)
        tl.store(y + ((k * batch + image) * L + token[:, None]) * D + d[None, :], out, td_in)
        h = tl.sum(tl.where(row == T - 1, states, 0), 0)


@triton.jit(do_not_specialize=SIZES)
def backward_kernel(
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
    dA,
    dB,
    dC,
    dskip,
    dbias,
    batch,
    L,
    D,
    N,
    x_b,
    x_l,
    delta_b,
    delta_l,
    delta_k,
    B_b,
    B_l,
    B_k,
    C_b,
    C_l,
    C_k,
    T: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Gradients of a program's channels; dx is a part of the sum over routes, dB and dC of that over channels."""
    K = tl.num_programs(1)
    k, image = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)  # offsets may need more than 32 bits
    part = tl.program_id(0).to(tl.int64) * batch + image
    d = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, BLOCK_N)
    row = tl.arange(0, T)[:, None, None]  # (T, 1, 1)
    d_in, n_in = d < D, n < N
    nd_in = n_in[:, None] & d_in[None, :]
    A2_tile = tl.load(A2 + (k * N + n[:, None]) * D + d[None, :], nd_in, 0)
    skip_tile = tl.load(skip + k * D + d, d_in, 0)
    bias_tile = tl.load(bias + k * D + d, d_in, 0)
    chunks = tl.cdiv(L, T)
    flow_in = tl.zeros((BLOCK_N, BLOCK_D), A2_tile.dtype)
    dA_tile = tl.zeros((BLOCK_N, BLOCK_D), A2_tile.dtype)
    dskip_tile = tl.zeros((BLOCK_D,), A2_tile.dtype)
    dbias_tile = tl.zeros((BLOCK_D,), A2_tile.dtype)
    for back in range(chunks):
        chunk = chunks - 1 - back
        t = chunk * T + tl.arange(0, T)
        t_in = t < L
        token = tl.load(routes + k * L + t, t_in, 0).to(tl.int64)
        td_in = t_in[:, None] & d_in[None, :]
        tn_in = t_in[:, None] & n_in[None, :]
        u = tl.load(x + image * x_b + token[:, None] * x_l + d[None, :], td_in, 0)
        v = tl.load(delta + image * delta_b + token[:, None] * delta_l + k * delta_k + d[None, :], td_in, 0)
        B_tile = tl.load(B + image * B_b + token[:, None] * B_l + k * B_k + n[None, :], tn_in, 0)
        C_tile = tl.load(C + image * C_b + token[:, None] * C_l + k * C_k + n[None, :], tn_in, 0)
        out = tl.load(dy + (image * L + token[:, None]) * D + d[None, :], td_in, 0)
        first = ((image * K + k) * chunks + chunk) * N
        h = tl.load(kept + (first + n[:, None]) * D + d[None, :], nd_in, 0)

        step, slope = _softplus(v + bias_tile[None, :])
        decay = tl.exp2(step[:, None, :] * A2_tile[None, :, :])  # (T, N, D)
        write = (step * u)[:, None, :] * B_tile[:, :, None]  # (T, N, D)
        carried = tl.where(row == 0, decay * h[None, :, :], 0)
        _, states, decayed = tl.associative_scan((decay, write + carried, carried), 0, _compose_forward)
        tn_out = ((part * L + token[:, None]) * K + k) * N + n[None, :]
        tl.store(dC + tn_out, tl.sum(states * out[:, None, :], 2), tn_in)

        grad = C_tile[:, :, None] * out[:, None, :] + tl.where(row == T - 1, flow_in[None, :, :], 0)
        one = tl.full((T, BLOCK_N, BLOCK_D), 1, decay.dtype)
        _, flow, _, grad = tl.associative_scan((decay, decay * grad, one, grad), 0, _compose_backward, reverse=True)
        flow_in = tl.sum(tl.where(row == 0, flow, 0), 0)
        tl.store(dB + tn_out, tl.sum(grad * (step * u)[:, None, :], 2), tn_in)

        through_write = tl.sum(grad * B_tile[:, :, None], 1)  # (T, D)
        exponent = grad * decayed  # what the exponent Delta A receives
        dA_tile += tl.sum(exponent * step[:, None, :], 0)
        through_decay = tl.sum(exponent * A2_tile[None, :, :], 1) * tl.full((), LN_2, u.dtype)  # (T, D)
        dv = (through_write * u + through_decay) * slope
        du = through_write * step + skip_tile[None, :] * out
        td_out = ((k * batch + image) * L + token[:, None]) * D + d[None, :]
        tl.store(dx + td_out, du, td_in)
        tl.store(ddelta + td_out, dv, td_in)
        dskip_tile += tl.sum(out * u, 0)
        dbias_tile += tl.sum(dv, 0)
    sums = (image * K + k) * D + d
    tl.store(dA + ((image * K + k) * N + n[:, None]) * D + d[None, :], dA_tile, nd_in)
    tl.store(dskip + sums, dskip_tile, d_in)
    tl.store(dbias + sums, dbias_tile, d_in)


BLOCK_D = 32  # channels of a program: one warp, so that the threads of a recurrence differ in channel only
FORWARD_BYTES, BACKWARD_BYTES = 256, 128  # of the tile, in a thread; with more its registers spill


def blocks(states: int, channels: int) -> dict[str, int]:
    """The kernels' tile: T tokens by BLOCK_N states (padded to a power of two) by BLOCK_D channels."""
    block_d = min(BLOCK_D, triton.next_power_of_2(channels))
    return {"T": TOKENS, "BLOCK_N": triton.next_power_of_2(states), "BLOCK_D": block_d}


def options(tile: dict[str, int], element_size: int, thread_bytes: int) -> dict[str, int | bool]:
    """How to compile a kernel for that tile with so many of its bytes in each thread."""
    threads = tile["T"] * tile["BLOCK_N"] * tile["BLOCK_D"] * element_size // thread_bytes
    return {"num_warps": min(max(threads // 32, 1), 16), "enable_fp_fusion": True}
