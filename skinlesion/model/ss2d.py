r"""SS2D: the two-dimensional selective scan with its projections, and SE inside it (paper section 3.2, figure 2).

.. math::
    (x, z) = W_\mathrm{in}\, u, \quad x \leftarrow \mathrm{SiLU}(\mathrm{DWConv}(x)), \quad
    y = \mathrm{SE}(\mathrm{LN}(\mathrm{scan}(x))), \quad W_\mathrm{out}\,(y \cdot \mathrm{SiLU}(z))

Mamba (https://arxiv.org/abs/2312.00752) computes the step size Delta, B and C from the token itself, which makes the
scan selective; VMamba (https://arxiv.org/abs/2401.10166) runs it in four directions. Sizes and initial values: A2, A3.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.hooks import point
from skinlesion.model.config import ModelConfig
from skinlesion.model.convolution import depthwise_conv
from skinlesion.model.se import SqueezeExcitation
from skinlesion.scan import choose_engine, cross_selective_scan

DIRECTIONS = 4


def _dt_bias(directions: int, dim: int, low: float = 1e-3, high: float = 1e-1, floor: float = 1e-4) -> Tensor:
    """Biases whose softplus, the initial step size, is log-uniform between `low` and `high`."""
    step = torch.exp(torch.rand(directions, dim) * math.log(high / low) + math.log(low)).clamp(min=floor)
    return step + torch.log(-torch.expm1(-step))  # the inverse of softplus


class SS2D(nn.Module):
    """The selective scan over an image in four directions, each with its own parameters.

    Points: x (B, H, W, D), the scan's input; z (B, H, W, D), before its SiLU; delta (B, H, W, K, D), before bias and
    softplus; B and C (B, H, W, K, N); y (B, H, W, D), the sum of the four scans; output (B, H, W, C).

    Args:
        dim: channels C.
        config: the network's options, of which `d_state`, `expand`, `dt_rank`, `se` and `se_ratio` matter here; None
            for the paper's.

    Attributes:
        engine: which scan engine to use; see `set_engine`.
    """

    POINTS = ("x", "z", "delta", "B", "C", "y", "output")

    def __init__(self, *, dim: int, config: ModelConfig | None = None) -> None:
        super().__init__()
        config = config or ModelConfig()
        inner, d_state = config.expand * dim, config.d_state
        self.d_state = d_state
        self.dt_rank = config.dt_rank or math.ceil(dim / 16)
        self.engine = "auto"

        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        bound = inner**-0.5
        self.x_proj_weight = nn.Parameter(
            torch.empty(DIRECTIONS, self.dt_rank + 2 * d_state, inner).uniform_(-bound, bound)
        )
        bound = self.dt_rank**-0.5
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, self.dt_rank).uniform_(-bound, bound))
        self.dt_projs_bias = nn.Parameter(_dt_bias(DIRECTIONS, inner))
        self.A_logs = nn.Parameter(torch.log(torch.arange(1.0, d_state + 1)).repeat(DIRECTIONS, inner, 1))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS, inner))
        self.out_norm = nn.LayerNorm(inner)
        self.se = SqueezeExcitation(dim=inner, ratio=config.se_ratio) if config.se else None
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def scan_parameters(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The scan's inputs that depend on the token, for each direction.

        Args:
            x: (B, H, W, D).

        Returns:
            delta before bias and softplus, (B, H, W, K, D); B and C, (B, H, W, K, N).
        """
        batch, height, width, _ = x.shape
        low_and_states = F.linear(x, self.x_proj_weight.flatten(0, 1))  # (B, H, W, K (R + 2 N))
        low_and_states = low_and_states.unflatten(-1, (DIRECTIONS, -1))  # (B, H, W, K, R + 2 N)
        low, B, C = low_and_states.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        by_direction = low.flatten(0, 2).transpose(0, 1)  # (K, B H W, R)
        # Contiguous as (K, R, D), because MKL's backward pass takes half the time then.
        weight = self.dt_projs_weight.transpose(1, 2).contiguous()
        delta = torch.bmm(by_direction, weight)  # (K, B H W, D)
        delta = delta.unflatten(1, (batch, height, width)).permute(1, 2, 3, 0, 4)  # (B, H, W, K, D)
        return delta, B, C

    def forward(self, u: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x, z = self.in_proj(u).chunk(2, dim=-1)  # (B, H, W, D) each
        x = point(self, "x", F.silu(depthwise_conv(x, self.conv2d)))
        z = point(self, "z", z)
        delta, B, C = self.scan_parameters(x)
        delta, B, C = point(self, "delta", delta), point(self, "B", B), point(self, "C", C)
        A = -torch.exp(self.A_logs)
        y = cross_selective_scan(x, delta, A, B, C, self.Ds, self.dt_projs_bias, engine=self.engine)
        y = self.out_norm(point(self, "y", y))
        if self.se is not None:  # before the gate z (A4)
            y = self.se(y)
        return point(self, "output", self.out_proj(y * F.silu(z)))


def has_scan(model: nn.Module) -> bool:
    """Whether a network contains a selective scan."""
    return any(isinstance(module, SS2D) for module in model.modules())


def set_engine(model: nn.Module, engine: str, device: torch.device | str | None = None) -> None:
    """Set the scan engine of every SS2D in a model.

    Args:
        model: any module.
        engine: "auto", a name of `skinlesion.scan.ENGINES`, or a registered engine.
        device: where the model will run; by default where it is.

    Raises:
        SkinlesionError: the engine is unknown, or not available for that device.
    """
    if engine != "auto":
        choose_engine(engine, device if device is not None else next(model.parameters()).device)
    for module in model.modules():
        if isinstance(module, SS2D):
            module.engine = engine
