"""The CM-SSM block: SS2D (with SE) and the channel-mixing network, each in its own residual (paper figure 2; A6)."""

import torch
from torch import Tensor, nn

from skinlesion.model.cmn import ChannelMixing
from skinlesion.model.ss2d import SS2D
from skinlesion.model.trace import Trace


class DropPath(nn.Module):
    """Stochastic depth: leave a residual branch out for some images of a batch, in training only.

    Args:
        rate: probability of leaving it out, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...); kept branches are scaled so that the expectation stays."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = torch.empty(x.shape[0], *[1] * (x.dim() - 1), device=x.device, dtype=x.dtype).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        """The rate, for print(model)."""
        return f"rate={self.rate:.3f}"


class CMSSMBlock(nn.Module):
    """x + SS2D(LN(x)), then x + CMN(LN(x)); without SE and CMN it is VM-UNet's VSS block.

    Args:
        dim: channels.
        d_state: states of SS2D.
        expand: SS2D's inner width over `dim`.
        dt_rank: rank of SS2D's step-size projection, None for ceil(dim / 16).
        se: squeeze-and-excitation inside SS2D.
        se_ratio: SE's squeeze.
        cmn: the channel-mixing residual.
        cmn_ratio: its extension.
        cmn_residual: t + DWConv(t) inside it.
        drop_path: stochastic-depth rate of both residuals.
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
        cmn: bool = True,
        cmn_ratio: int = 2,
        cmn_residual: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.ss2d = SS2D(dim=dim, d_state=d_state, expand=expand, dt_rank=dt_rank, se=se, se_ratio=se_ratio)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim) if cmn else None
        self.cmn = ChannelMixing(dim=dim, ratio=cmn_ratio, residual=cmn_residual) if cmn else None

    def forward(self, x: Tensor, trace: Trace | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.drop_path(self.ss2d(self.norm1(x), trace and trace.under("ss2d")))
        if self.cmn is not None and self.norm2 is not None:
            x = x + self.drop_path(self.cmn(self.norm2(x)))
        return x
