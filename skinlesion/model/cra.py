r"""Cross-region attention on the skips: a gate for each row and each column (paper section 3.3, eqs. 2-7).

.. math::
    f = \delta(\mathrm{BN}(F_1[z^h; z^w])), \quad g^h = \sigma(T_h f^h), \quad g^w = \sigma(T_w f^w), \quad
    y(i, j) = x(i, j)\, g^h(i)\, g^w(j)

This is coordinate attention (Hou et al., https://arxiv.org/abs/2103.02907). The paper swaps the symbols of its
nonlinearity and its sigmoid (A14), and its eq. 1, a global pooling, enters none of the equations after it (A15).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.hooks import point


def directional_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs. 2 and 3: the mean of each row and of each column.

    Args:
        x: (B, H, W, C).

    Returns:
        z_h, (B, H, C), and z_w, (B, W, C).
    """
    return x.mean(dim=2), x.mean(dim=1)


def apply_gates(x: Tensor, gate_h: Tensor, gate_w: Tensor) -> Tensor:
    """Eq. 7: y(i, j) = x(i, j) g_h(i) g_w(j).

    Args:
        x: (B, H, W, C).
        gate_h: (B, H, C).
        gate_w: (B, W, C).

    Returns:
        (B, H, W, C).
    """
    return x * gate_h[:, :, None, :] * gate_w[:, None, :, :]


class CrossRegionAttention(nn.Module):
    """Eq. 4 mixes both profiles in a narrow layer; eqs. 5 and 6 make the two gates; eq. 7 applies them.

    At initialization both gates are about 1/2, so an untrained CRA keeps about a quarter of its input (A40).

    Points: input (B, H, W, C), gate_h (B, H, C), gate_w (B, W, C), output (B, H, W, C).

    Args:
        dim: channels.
        ratio: channels over squeezed channels; at least 8 channels are left (A13).
    """

    POINTS = ("input", "gate_h", "gate_w", "output")

    def __init__(self, *, dim: int, ratio: int = 32) -> None:
        super().__init__()
        squeezed = max(8, dim // ratio)
        self.conv1 = nn.Linear(dim, squeezed)  # F_1 of eq. 4, a 1 x 1 convolution
        self.bn1 = nn.BatchNorm1d(squeezed)
        self.conv_h = nn.Linear(squeezed, dim)  # T_h of eq. 5
        self.conv_w = nn.Linear(squeezed, dim)  # T_w of eq. 6

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Eqs. 2-6: (B, H, W, C) -> gate_h (B, H, C), gate_w (B, W, C), in (0, 1)."""
        z_h, z_w = directional_means(x)
        f = self.conv1(torch.cat([z_h, z_w], dim=1))  # (B, H + W, C / r)
        f = F.hardswish(self.bn1(f.transpose(1, 2)).transpose(1, 2))
        f_h, f_w = f.split([x.shape[1], x.shape[2]], dim=1)
        return torch.sigmoid(self.conv_h(f_h)), torch.sigmoid(self.conv_w(f_w))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = point(self, "input", x)
        gate_h, gate_w = self.gates(x)
        return point(self, "output", apply_gates(x, point(self, "gate_h", gate_h), point(self, "gate_w", gate_w)))
