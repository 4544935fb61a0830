r"""The CM-SSM block: SS2D (with SE) and the channel-mixing network, each in its own residual (paper figure 2; A6).

.. math:: x \leftarrow x + \mathrm{SS2D}(\mathrm{LN}(x)), \qquad x \leftarrow x + \mathrm{CMN}(\mathrm{LN}(x))

Without SE and CMN it is the VSS block of VMamba (https://arxiv.org/abs/2401.10166) and VM-UNet
(https://arxiv.org/abs/2402.02491). The figure's "2D-SSVS" is read as that block with SE (A38).
"""

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.hooks import point
from skinlesion.model.cmn import ChannelMixing
from skinlesion.model.config import ModelConfig
from skinlesion.model.ss2d import SS2D


class DropPath(nn.Module):
    """Stochastic depth (https://arxiv.org/abs/1603.09382): skip a residual branch for some images, in training only.

    Args:
        rate: probability of skipping it, in [0, 1).

    Raises:
        SkinlesionError: the rate is outside [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise SkinlesionError(f"The rate of DropPath must be in [0, 1); got {rate}.")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...); branches that are kept are scaled so that the expectation stays the same."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = torch.empty(x.shape[0], *[1] * (x.dim() - 1), device=x.device, dtype=x.dtype).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        """The rate, for print(model)."""
        return f"rate={self.rate:.3f}"


class CMSSMBlock(nn.Module):
    """x + SS2D(LN(x)), then x + CMN(LN(x)).

    Points: output (B, H, W, C), and those of its parts.

    Args:
        dim: channels.
        config: the network's options; None for the paper's.
        drop_path: stochastic-depth rate of both residuals (A30).
    """

    POINTS = ("output",)

    def __init__(self, *, dim: int, config: ModelConfig | None = None, drop_path: float = 0.0) -> None:
        super().__init__()
        config = config or ModelConfig()
        self.norm1 = nn.LayerNorm(dim)
        self.ss2d = SS2D(dim=dim, config=config)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim) if config.cmn else None
        self.cmn = ChannelMixing(dim=dim, ratio=config.cmn_ratio, residual=config.cmn_residual) if config.cmn else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.drop_path(self.ss2d(self.norm1(x)))
        if self.cmn is not None and self.norm2 is not None:
            x = x + self.drop_path(self.cmn(self.norm2(x)))
        return point(self, "output", x)
