r"""SS2D: the two-dimensional selective scan with its projections, and SE inside it (paper section 3.2, figure 2).

.. math::
    (x, z) = W_\mathrm{in}\, u, \quad x \leftarrow \mathrm{SiLU}(\mathrm{DWConv}(x)), \quad
    y = \mathrm{SE}(\mathrm{LN}(\mathrm{scan}(x))), \quad W_\mathrm{out}\,(y \cdot \mathrm{SiLU}(z))

The step sizes, B and C of every route are computed from the token itself: that is the selectivity of S6.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.convolution import depthwise_conv
from skinlesion.model.se import SqueezeExcitation
from skinlesion.model.trace import Trace
from skinlesion.scan import choose_engine, cross_selective_scan

ROUTES = 4


def _step_bias(routes: int, dim: int, low: float = 1e-3, high: float = 1e-1, floor: float = 1e-4) -> Tensor:
    """Biases whose softplus, the initial step size, is log-uniform between `low` and `high`."""
    step = torch.exp(torch.rand(routes, dim) * math.log(high / low) + math.log(low)).clamp(min=floor)
    return step + torch.log(-torch.expm1(-step))  # the inverse of softplus


class SS2D(nn.Module):
    """The selective scan over an image, along four routes with their own parameters.

    Args:
        dim: channels C that come in and leave.
        d_state: states N.
        expand: inner width over `dim`.
        dt_rank: rank R of the step-size projection; None for ceil(dim / 16).
        se: squeeze-and-excitation after the scan's LayerNorm, before the gate z (A4).
        se_ratio: inner width over squeezed width.

    Attributes:
        scan: the function that scans; a lesson may put another of the same signature here.
        engine: what `scan` is told; see `set_engine`.
    """

    def __init__(
        self,
        *,
        dim: int,
        d_state: int = 16,
        expand: int = 2,
        dt_rank: int | None = None,
        se: bool = True,
        se_ratio: int = 8,
    ) -> None:
        super().__init__()
        inner = expand * dim
        self.d_state = d_state
        self.dt_rank = dt_rank or math.ceil(dim / 16)
        self.scan = cross_selective_scan
        self.engine = "auto"

        self.in_projection = nn.Linear(dim, 2 * inner, bias=False)
        self.convolution = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        bound = inner**-0.5
        self.route_projection = nn.Parameter(
            torch.empty(ROUTES, self.dt_rank + 2 * d_state, inner).uniform_(-bound, bound)
        )
        bound = self.dt_rank**-0.5
        self.step_weight = nn.Parameter(torch.empty(ROUTES, inner, self.dt_rank).uniform_(-bound, bound))
        self.step_bias = nn.Parameter(_step_bias(ROUTES, inner))
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, d_state + 1)).repeat(ROUTES, inner, 1))
        self.D = nn.Parameter(torch.ones(ROUTES, inner))
        self.norm = nn.LayerNorm(inner)
        self.se = SqueezeExcitation(dim=inner, ratio=se_ratio) if se else None
        self.out_projection = nn.Linear(inner, dim, bias=False)

    def selection(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each token asks of each route.

        Args:
            x: (B, H, W, D).

        Returns:
            delta before bias and softplus, (B, H, W, K, D); B and C, (B, H, W, K, N).
        """
        batch, height, width, _ = x.shape
        low_and_states = F.linear(x, self.route_projection.flatten(0, 1))  # (B, H, W, K (R + 2 N))
        low_and_states = low_and_states.unflatten(-1, (ROUTES, -1))  # (B, H, W, K, R + 2 N)
        low, B, C = low_and_states.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        by_route = low.flatten(0, 2).transpose(0, 1)  # (K, B H W, R)
        delta = torch.bmm(by_route, self.step_weight.transpose(1, 2))  # (K, B H W, D)
        delta = delta.unflatten(1, (batch, height, width)).permute(1, 2, 3, 0, 4)  # (B, H, W, K, D)
        return delta, B, C

    def forward(self, u: Tensor, trace: Trace | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x, z = self.in_projection(u).chunk(2, dim=-1)  # (B, H, W, D) each
        x = F.silu(depthwise_conv(x, self.convolution))
        delta, B, C = self.selection(x)
        A = -torch.exp(self.A_log)
        y = self.scan(x, delta, A, B, C, self.D, self.step_bias, engine=self.engine)
        if trace is not None:
            trace.record(x=x, delta=delta, A=A, B=B, C=C, D=self.D, delta_bias=self.step_bias, merged=y)
        y = self.norm(y)
        if self.se is not None:
            before = y
            y, gate = self.se(y)
            if trace is not None:
                trace.under("se").record(before=before, gate=gate, after=y)
        return self.out_projection(y * F.silu(z))


def set_engine(model: nn.Module, engine: str) -> None:
    """Tell every SS2D of a model which scan engine to use.

    Args:
        model: any module.
        engine: "auto" or a name of `skinlesion.scan.ENGINES`.

    Raises:
        SkinlesionError: the engine is unknown, or not available here.
    """
    if engine != "auto":
        choose_engine(engine, next(model.parameters()).device)
    for module in model.modules():
        if isinstance(module, SS2D):
            module.engine = engine
