r"""The implicit attention of the scan: which tokens a token depends on, and which ones it influences.

Unrolled, the recurrence of one route is a sum over the tokens s before t (Ali, Zimerman and Wolf, https://arxiv.org/abs/2403.01590,
call it hidden attention; VMamba draws it for SS2D). For channel d:

.. math::
    y_t = D x_t + \sum_{s \le t} W_{ts}\, x_s, \qquad
    W_{ts} = \sum_n C_{t,n}\, \exp\Big(A_{d,n} \sum_{r=s+1}^{t} \Delta_{r,d}\Big)\, \Delta_{s,d}\, B_{s,n}

Unlike softmax's weights these have a sign, differ from channel to channel, and do not add up to 1. The results of the
four routes are added, and so are their weights. Only the scan is included: not the convolution before it, nor the
normalization and the gates after it.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skinlesion.errors import SkinlesionError
from skinlesion.explain.scan import ScanInputs
from skinlesion.scan.reference import four_routes

Direction = Literal["reads", "writes"]
Reduction = Literal["norm", "sum", "contribution"]


@dataclass(frozen=True, eq=False)
class ImplicitAttention:
    """One row or column of the implicit attention matrix, with the channels reduced to one number.

    Attributes:
        token: (row, column) of the token in question.
        direction: "reads": the weight of each token in this one; "writes": the weight of this one in each.
        reduction: how the channels were reduced.
        routes: (K, H, W).
        merged: (H, W), of the routes' summed weights.
    """

    token: tuple[int, int]
    direction: Direction
    reduction: Reduction
    routes: NDArray[np.float32]
    merged: NDArray[np.float32]


def attention_weights(inputs: ScanInputs, token: tuple[int, int], direction: Direction = "reads") -> Tensor:
    """The exact weights W of one token along each route; the direct path D is not among them.

    Args:
        inputs: of one block's scan.
        token: (row, column) in its grid.
        direction: "reads" for the row W[token, :], "writes" for the column W[:, token].

    Returns:
        (K, H, W, D); 0 for tokens that a route visits later (reads) or earlier (writes).

    Raises:
        SkinlesionError: the token is outside the grid, or the direction unknown.
    """
    inputs.check(token)
    if direction not in get_args(Direction):
        raise SkinlesionError(f"Unknown direction {direction!r}; choose 'reads' or 'writes'.")
    height, width = inputs.grid
    query = token[0] * width + token[1]
    routes = four_routes(height, width, inputs.x.device).long()
    step, B, C = (tensor.flatten(0, 1) for tensor in (inputs.step, inputs.B, inputs.C))  # (L, K, ..)
    weights = inputs.x.new_zeros(len(routes), height * width, inputs.x.shape[-1])  # (K, L, D)
    for k, order in enumerate(routes):
        at = int((order == query).nonzero())
        seen = order[: at + 1] if direction == "reads" else order[at:]
        along = _read if direction == "reads" else _write
        weights[k, seen] = along(step[seen, k], B[seen, k], C[seen, k], inputs.A[k])  # (T, D)
    return weights.unflatten(1, (height, width))  # (K, H, W, D)


def _read(step: Tensor, B: Tensor, C: Tensor, A: Tensor) -> Tensor:
    """What the last of T tokens takes from each; step (T, D), B and C (T, N), A (D, N) -> (T, D)."""
    after = step.flip(0).cumsum(0).flip(0) - step  # the steps taken after token s, up to the last
    weights = torch.zeros_like(step)
    for n in range(A.shape[1]):  # a state at a time: all together would take N times the memory
        weights += torch.exp(A[:, n] * after) * (C[-1, n] * B[:, n])[:, None]
    return weights * step


def _write(step: Tensor, B: Tensor, C: Tensor, A: Tensor) -> Tensor:
    """What the first of T tokens gives to each; shapes as in `_read`."""
    since = step.cumsum(0) - step[0]  # the steps taken after the first token, up to token t
    weights = torch.zeros_like(step)
    for n in range(A.shape[1]):
        weights += torch.exp(A[:, n] * since) * (C[:, n] * B[0, n])[:, None]
    return weights * step[0]


def implicit_attention(
    inputs: ScanInputs,
    token: tuple[int, int],
    *,
    direction: Direction = "reads",
    reduction: Reduction = "norm",
) -> ImplicitAttention:
    """The tokens that one token depends on, or influences, as maps.

    Args:
        inputs: from `scan_inputs`.
        token: (row, column); `ScanInputs.token_at` finds that of a pixel.
        direction: "reads" or "writes".
        reduction: over the channels: "norm", the length of W, never negative; "sum", which shows signs; or
            "contribution", the length of W x, what is really passed on.

    Raises:
        SkinlesionError: the token is outside the grid, or an option unknown.
    """
    if reduction not in get_args(Reduction):
        raise SkinlesionError(f"Unknown reduction {reduction!r}; choose one of {', '.join(get_args(Reduction))}.")
    weights = attention_weights(inputs, token, direction)  # (K, H, W, D)
    if reduction == "contribution":
        weights = weights * (inputs.x if direction == "reads" else inputs.x[token])
    each = torch.cat([weights, weights.sum(0, keepdim=True)])  # (K + 1, H, W, D)
    maps = (each.sum(-1) if reduction == "sum" else each.norm(dim=-1)).float().cpu().numpy()
    return ImplicitAttention(token, direction, reduction, maps[:-1], maps[-1])
