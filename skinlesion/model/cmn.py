"""The channel-mixing network: two linear layers and a depthwise convolution between them (paper section 3.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.convolution import depthwise_conv


def channel_mixing(
    x: Tensor,
    extend: nn.Linear,
    convolution: nn.Conv2d,
    restore: nn.Linear,
    *,
    residual: bool = True,
) -> Tensor:
    r"""Extend the channels, look at each one's 3 x 3 neighborhood, restore the channels.

    :math:`t = W_1 x`, :math:`y = W_2\,\mathrm{GELU}(t + \mathrm{DWConv}(t))` (A8, A9).

    Args:
        x: (B, H, W, C).
        extend: C -> ratio C.
        convolution: depthwise 3 x 3 on ratio C channels.
        restore: ratio C -> C.
        residual: keep t beside its convolution.

    Returns:
        (B, H, W, C).
    """
    t = extend(x)  # (B, H, W, ratio C)
    local = depthwise_conv(t, convolution)
    return restore(F.gelu(t + local if residual else local))


class ChannelMixing(nn.Module):
    """`channel_mixing` with its weights.

    Args:
        dim: channels.
        ratio: extended width over width.
        residual: keep t beside its convolution.
    """

    def __init__(self, *, dim: int, ratio: int = 2, residual: bool = True) -> None:
        super().__init__()
        self.extend = nn.Linear(dim, ratio * dim)
        self.convolution = nn.Conv2d(ratio * dim, ratio * dim, 3, padding=1, groups=ratio * dim)
        self.restore = nn.Linear(ratio * dim, dim)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        return channel_mixing(x, self.extend, self.convolution, self.restore, residual=self.residual)
