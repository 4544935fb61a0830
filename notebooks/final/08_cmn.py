"""Lesson 8, The channel-mixing network: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# cmn.depthwise
def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each channel of x (B, H, W, C) with its own kernel weight (C, 3, 3), plus bias (C,), zero-padded."""
    height, width = x.shape[1:3]
    around = F.pad(x, (0, 0, 1, 1, 1, 1))  # (B, H + 2, W + 2, C)
    y = bias.expand_as(x)
    for p in range(3):
        for q in range(3):
            y = y + weight[:, p, q] * around[:, p : p + height, q : q + width]
    return y


# cmn.channel_mixing
def channel_mixing(x: Tensor, fc1: nn.Linear, dwconv: nn.Conv2d, fc2: nn.Linear) -> Tensor:
    """W_2 GELU(t + DWConv(t)) with t = W_1 x, for x (B, H, W, C)."""
    t = fc1(x)  # (B, H, W, r C)
    local = dwconv(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, r C, H, W) and back
    return fc2(F.gelu(t + local))  # (B, H, W, C)


# cmn.parameters
def parameters(dim: int, ratio: int) -> int:
    """What CMN adds to a block of dim channels: LayerNorm, fc1, 3 x 3 depthwise convolution, fc2."""
    wide = ratio * dim
    norm = 2 * dim
    widen = dim * wide + wide
    convolution = 9 * wide + wide
    narrow = wide * dim + dim
    return norm + widen + convolution + narrow


# cmn.influence
def influence(function, x: Tensor) -> Tensor:
    """(C, C): how strongly output channel c of the center pixel depends on input channel k, summed over pixels.

    function: (1, H, W, C) -> (1, H, W, C). x: (1, H, W, C).
    """
    x = x.detach().requires_grad_()
    middle = function(x)[0, x.shape[1] // 2, x.shape[2] // 2]  # (C,)
    rows = [torch.autograd.grad(output, x, retain_graph=True)[0].abs().sum((0, 1, 2)) for output in middle]
    return torch.stack(rows)  # (C, C)
