r"""Squeeze-and-excitation: a gate for each channel (Hu et al., https://arxiv.org/abs/1709.01507; paper section 3.2).

.. math:: s = \sigma(W_2\,\mathrm{ReLU}(W_1 \bar x)), \qquad y = x \cdot s

The choices that the paper leaves open are A4 (where) and A5 (ratio, activations, no bias).
"""

import torch
from torch import Tensor, nn

from skinlesion.hooks import point


def squeeze_excitation(x: Tensor, fc1: Tensor, fc2: Tensor) -> tuple[Tensor, Tensor]:
    """Scale each channel by a gate that is computed from the means of all channels.

    Args:
        x: (B, H, W, C).
        fc1: W_1, (C / ratio, C).
        fc2: W_2, (C, C / ratio).

    Returns:
        y, (B, H, W, C), and the gate s, (B, C), in (0, 1).
    """
    gate = _gate(x, fc1, fc2)
    return x * gate[:, None, None, :], gate


def _gate(x: Tensor, fc1: Tensor, fc2: Tensor) -> Tensor:
    mean = x.mean(dim=(1, 2))  # (B, C)
    return torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T)  # (B, C)


class SqueezeExcitation(nn.Module):
    """`squeeze_excitation` with its weights: two linear layers without bias (A5).

    Points: input (B, H, W, C), gate (B, C), output (B, H, W, C).

    Args:
        dim: channels.
        ratio: channels over squeezed channels.
    """

    POINTS = ("input", "gate", "output")

    def __init__(self, *, dim: int, ratio: int = 8) -> None:
        super().__init__()
        squeezed = max(1, dim // ratio)
        self.fc1 = nn.Linear(dim, squeezed, bias=False)
        self.fc2 = nn.Linear(squeezed, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = point(self, "input", x)
        gate = point(self, "gate", _gate(x, self.fc1.weight, self.fc2.weight))
        return point(self, "output", x * gate[:, None, None, :])
