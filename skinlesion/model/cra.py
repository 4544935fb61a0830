"""Cross-region attention on the skips: one gate for each row, one for each column (paper section 3.3, eqs 2-7)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.trace import Trace


def directional_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs 2 and 3: the mean of each row and of each column.

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
    """Coordinate attention: eq. 4 mixes both profiles through a narrow layer, eqs 5-6 make the two gates.

    At initialization both gates are about 1/2, so a fresh CRA passes about a quarter of its input.

    Args:
        dim: channels.
        ratio: channels over squeezed channels; at least 8 channels are left (A13).
    """

    def __init__(self, *, dim: int, ratio: int = 32) -> None:
        super().__init__()
        squeezed = max(8, dim // ratio)
        self.mix = nn.Linear(dim, squeezed)  # F_1 of eq. 4, a 1 x 1 convolution
        self.norm = nn.BatchNorm1d(squeezed)
        self.to_h = nn.Linear(squeezed, dim)  # T_h of eq. 5
        self.to_w = nn.Linear(squeezed, dim)  # T_w of eq. 6

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Eqs 2-6: (B, H, W, C) -> gate_h (B, H, C), gate_w (B, W, C), each in (0, 1)."""
        z_h, z_w = directional_means(x)
        f = self.mix(torch.cat([z_h, z_w], dim=1))  # (B, H + W, C / r)
        f = F.hardswish(self.norm(f.transpose(1, 2)).transpose(1, 2))
        f_h, f_w = f.split([x.shape[1], x.shape[2]], dim=1)
        return torch.sigmoid(self.to_h(f_h)), torch.sigmoid(self.to_w(f_w))

    def forward(self, x: Tensor, trace: Trace | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        gate_h, gate_w = self.gates(x)
        y = apply_gates(x, gate_h, gate_w)
        if trace is not None:
            trace.record(before=x, gate_h=gate_h, gate_w=gate_w, after=y)
        return y
