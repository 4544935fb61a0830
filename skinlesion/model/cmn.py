r"""The channel-mixing network: a depthwise convolution between two linear layers (paper section 3.2).

.. math:: t = W_1 x, \qquad y = W_2\,\mathrm{GELU}(t + \mathrm{DWConv}(t))

Its ancestor is MSVMamba's feed-forward network (Shi et al., https://arxiv.org/abs/2405.14174). The choices that the
paper leaves open are A6 to A9.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.hooks import point
from skinlesion.model.convolution import depthwise_conv


def channel_mixing(x: Tensor, fc1: nn.Linear, dwconv: nn.Conv2d, fc2: nn.Linear, *, residual: bool = True) -> Tensor:
    """Widen the channels, convolve each one, and narrow them again.

    Args:
        x: (B, H, W, C).
        fc1: C -> ratio C.
        dwconv: depthwise 3 x 3 on ratio C channels.
        fc2: ratio C -> C.
        residual: t + DWConv(t) rather than DWConv(t) (A8).

    Returns:
        (B, H, W, C).
    """
    return fc2(_hidden(x, fc1, dwconv, residual))


def _hidden(x: Tensor, fc1: nn.Linear, dwconv: nn.Conv2d, residual: bool) -> Tensor:
    t = fc1(x)  # (B, H, W, ratio C)
    local = depthwise_conv(t, dwconv)
    return F.gelu(t + local if residual else local)


class ChannelMixing(nn.Module):
    """`channel_mixing` with its weights.

    Points: input (B, H, W, C), hidden (B, H, W, ratio C), output (B, H, W, C).

    Args:
        dim: channels.
        ratio: hidden width over width (A7).
        residual: t + DWConv(t) rather than DWConv(t) (A8).
    """

    POINTS = ("input", "hidden", "output")

    def __init__(self, *, dim: int, ratio: int = 2, residual: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.dwconv = nn.Conv2d(ratio * dim, ratio * dim, 3, padding=1, groups=ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        hidden = _hidden(point(self, "input", x), self.fc1, self.dwconv, self.residual)
        return point(self, "output", self.fc2(point(self, "hidden", hidden)))
