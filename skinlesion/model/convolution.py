"""Depthwise convolution of channels-last tensors."""

from torch import Tensor, nn


def depthwise_conv(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Convolve each channel with its own 3 x 3 kernel.

    Args:
        x: (B, H, W, C).
        convolution: its weights, (C, 1, 3, 3), and bias, (C,).

    Returns:
        (B, H, W, C).
    """
    return convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, C, H, W) and back
