"""Lesson 3, A U-Net and its weaknesses: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# unet.field
def field(layers: list[tuple[int, int]]) -> int:
    """Side in pixels of the square that one output can depend on; layers: (kernel, stride), first layer first."""
    side, step = 1, 1
    for kernel, stride in layers:
        side += (kernel - 1) * step
        step *= stride
    return side


# unet.forward
def forward(x: Tensor, encoder: nn.ModuleList, up: nn.ModuleList, decoder: nn.ModuleList) -> Tensor:
    """A U-Net between first and last layer: (B, C, H, W) -> (B, C', H, W)."""
    skips = []
    for i, stage in enumerate(encoder):
        x = stage(F.max_pool2d(x, 2) if i else x)
        skips.append(x)
    skips.pop()
    for enlarge, stage in zip(up, decoder, strict=True):
        x = stage(torch.cat([skips.pop(), enlarge(x)], dim=1))
    return x


# unet.side_holding
def side_holding(gradient: Tensor, fraction: float) -> int:
    """Side of the smallest centered square that has this fraction of the absolute gradient (3, H, W)."""
    share = gradient.abs().sum(0)
    share = share / share.sum()  # (H, W)
    rows = (torch.arange(share.shape[0]) - share.shape[0] // 2).abs()
    columns = (torch.arange(share.shape[1]) - share.shape[1] // 2).abs()
    distance = torch.maximum(rows[:, None], columns)  # (H, W)
    radius = 0
    while share[distance <= radius].sum() < fraction - 1e-6:
        radius += 1
    return 2 * radius + 1


# unet.likeness
def likeness(features: Tensor) -> Tensor:
    """Mean absolute correlation of two different channels of (B, H, W, C)."""
    x = features.flatten(0, 2)  # (B H W, C)
    x = x - x.mean(0)
    x = x / x.norm(dim=0)
    r = x.T @ x  # (C, C)
    channels = r.shape[0]
    return (r.abs().sum() - channels) / (channels * (channels - 1))


# unet.hide_far
def hide_far(image: Tensor, at: tuple[int, int], radius: int) -> Tensor:
    """A copy of image (C, H, W) with zeros outside the square of this radius around the position `at`."""
    row, column = at
    rows, columns = slice(max(0, row - radius), row + radius + 1), slice(max(0, column - radius), column + radius + 1)
    kept = torch.zeros_like(image)
    kept[:, rows, columns] = image[:, rows, columns]
    return kept
