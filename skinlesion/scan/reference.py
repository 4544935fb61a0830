r"""The selective scan, written to be read: the definition that every engine must match in value and gradient.

For one route, one channel :math:`d` and one state :math:`n` (S6 of Mamba,
https://arxiv.org/abs/2312.00752; paper section 3.2, reference choice A2-A3):

.. math::
    h_t = e^{\Delta_t A}\, h_{t-1} + \Delta_t B_t\, u_t, \qquad h_0 = 0, \qquad y_t = \sum_n C_t\, h_t + D\, u_t

:math:`A` is discretized exactly (zero-order hold), :math:`B` by the Euler rule :math:`\Delta_t B_t`, as Mamba does.
SS2D (VMamba, https://arxiv.org/abs/2401.10166) runs this scan along four routes over the image and adds the results.

====== ======================================================= ==================
symbol meaning                                                 shape
====== ======================================================= ==================
u, x   input                                                   (B, L, D)
delta  step size, positive: how much of token t is written     (B, L, D)
A      decay rates, negative                                   (D, N)
B      how token t writes to each state (shared by channels)   (B, L, N)
C      how token t reads each state (shared by channels)       (B, L, N)
D      direct path from input to output                        (D,)
====== ======================================================= ==================
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None) -> Tensor:
    """One selective scan along a sequence, one token after the other.

    Args:
        u: input, (B, L, D).
        delta: positive step sizes, (B, L, D); softplus has been applied already.
        A: negative decay rates, (D, N).
        B: input weights, (B, L, N).
        C: output weights, (B, L, N).
        D: direct path, (D,), or None for none.

    Returns:
        y, (B, L, D), in any dtype and on any device that the inputs have.
    """
    batch, _, channels = u.shape
    h = u.new_zeros(batch, channels, A.shape[1])
    y = []
    # unbind, not u[:, t]: autograd of slicing writes a whole zero tensor for each step, which is quadratic in L.
    for u_t, delta_t, B_t, C_t in zip(u.unbind(1), delta.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        decay = torch.exp(delta_t[..., None] * A)  # (B, D, N)
        write = (delta_t * u_t)[..., None] * B_t[:, None, :]  # (B, D, N)
        h = decay * h + write
        y.append((h * C_t[:, None, :]).sum(-1))  # (B, D)
    result = torch.stack(y, dim=1)  # (B, L, D)
    return result if D is None else result + D * u


def four_routes(height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """The order in which each of SS2D's four routes visits the tokens of a grid.

    Args:
        height: rows of the grid.
        width: columns of the grid.
        device: where to put the table.

    Returns:
        int32 (4, height * width); entry [k, t] is the row-major index of the token that route k reads at step t.
        Route 0 goes along rows, route 1 down columns, routes 2 and 3 are routes 0 and 1 backward.
    """
    rows = torch.arange(height * width, dtype=torch.int32, device=device)  # (L,)
    columns = rows.reshape(height, width).T.reshape(-1)  # (L,)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])  # (4, L)


def cross_scan(x: Tensor, routes: Tensor) -> Tensor:
    """Scan expansion: read a grid along each route.

    Args:
        x: (B, H, W, D).
        routes: (K, H * W) from `four_routes`.

    Returns:
        K sequences, (B, K, H * W, D).
    """
    return x.flatten(1, 2)[:, routes.long()]  # (B, L, D) -> (B, K, L, D)


def cross_merge(y: Tensor, routes: Tensor, height: int, width: int) -> Tensor:
    """Scan merging: put each route's results back in their place and add them.

    Args:
        y: (B, K, H * W, D).
        routes: (K, H * W), the ones that `cross_scan` used.
        height: rows of the grid.
        width: columns of the grid.

    Returns:
        (B, H, W, D).
    """
    back = torch.argsort(routes.long(), dim=1)  # where in route k each token is read
    merged = torch.stack([y[:, k, back[k]] for k in range(y.shape[1])]).sum(0)  # (B, L, D)
    return merged.unflatten(1, (height, width))  # (B, H, W, D)


def cross_selective_scan(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    routes: Tensor,
) -> Tensor:
    """The scan of SS2D as a loop; arguments as in `skinlesion.scan.cross_selective_scan`, tokens flattened.

    Args:
        x: (B, L, D).
        delta: (B, L, K, D), before bias and softplus.
        A: (K, D, N).
        B: (B, L, K, N).
        C: (B, L, K, N).
        D: (K, D).
        delta_bias: (K, D).
        routes: (K, L).

    Returns:
        (B, L, D), the sum over the routes.
    """
    routes = routes.long()
    y = torch.zeros_like(x)
    for k, order in enumerate(routes):
        step = F.softplus(delta[:, order, k] + delta_bias[k])  # (B, L, D)
        along = selective_scan(x[:, order], step, A[k], B[:, order, k], C[:, order, k], D[k])
        y = y + along[:, torch.argsort(order)]
    return y
