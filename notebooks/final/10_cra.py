"""Lesson 10, Cross-region attention: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# cra.directional_means
def directional_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """z_h (B, H, C), the mean of each row, and z_w (B, W, C), the mean of each column, of x (B, H, W, C)."""
    return x.mean(dim=2), x.mean(dim=1)


# cra.gates
def gates(
    x: Tensor, conv1: nn.Linear, bn1: nn.BatchNorm1d, conv_h: nn.Linear, conv_w: nn.Linear
) -> tuple[Tensor, Tensor]:
    """Gates g_h (B, H, C) and g_w (B, W, C) in (0, 1) of x (B, H, W, C); conv1: C -> C / r, conv_h and conv_w back."""
    z_h, z_w = x.mean(dim=2), x.mean(dim=1)  # (B, H, C), (B, W, C)
    f = conv1(torch.cat([z_h, z_w], dim=1))  # (B, H + W, C / r)
    f = F.hardswish(bn1(f.transpose(1, 2)).transpose(1, 2))
    f_h, f_w = f.split([x.shape[1], x.shape[2]], dim=1)  # (B, H, C / r), (B, W, C / r)
    return torch.sigmoid(conv_h(f_h)), torch.sigmoid(conv_w(f_w))


# cra.apply_gates
def apply_gates(x: Tensor, gate_h: Tensor, gate_w: Tensor) -> Tensor:
    """x (B, H, W, C) times gate_h (B, H, C) of its row and gate_w (B, W, C) of its column."""
    return x * gate_h[:, :, None, :] * gate_w[:, None, :, :]


# cra.rank_one_share
def rank_one_share(map_: Tensor) -> Tensor:
    """The share of the squared values of map_ (H, W) that the best product of two profiles captures."""
    power = torch.linalg.svdvals(map_).square()
    return power[0] / power.sum()
