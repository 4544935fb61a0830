"""Squeeze-and-excitation: how much each channel counts (paper section 3.2; A4, A5)."""

import torch
from torch import Tensor, nn


def squeeze_excitation(x: Tensor, squeeze: Tensor, excite: Tensor) -> tuple[Tensor, Tensor]:
    r"""Scale each channel by a gate computed from all channels' means.

    :math:`s = \sigma(W_2\,\mathrm{ReLU}(W_1 \bar x))`, :math:`y = x \cdot s`.

    Args:
        x: (B, H, W, C).
        squeeze: W_1, (C / ratio, C).
        excite: W_2, (C, C / ratio).

    Returns:
        y, (B, H, W, C), and the gate s, (B, C), each in (0, 1).
    """
    mean = x.mean(dim=(1, 2))  # (B, C)
    gate = torch.sigmoid(torch.relu(mean @ squeeze.T) @ excite.T)  # (B, C)
    return x * gate[:, None, None, :], gate


class SqueezeExcitation(nn.Module):
    """`squeeze_excitation` with its weights: two linear layers without bias, as in the block's ancestors.

    Args:
        dim: channels.
        ratio: channels over squeezed channels.
    """

    def __init__(self, *, dim: int, ratio: int = 8) -> None:
        super().__init__()
        squeezed = max(1, dim // ratio)
        self.squeeze = nn.Linear(dim, squeezed, bias=False)
        self.excite = nn.Linear(squeezed, dim, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) -> scaled (B, H, W, C), gate (B, C)."""
        return squeeze_excitation(x, self.squeeze.weight, self.excite.weight)
