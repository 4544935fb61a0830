"""Lesson 7, Squeeze-and-excitation: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
from torch import Tensor


# se.squeeze
def squeeze(x: Tensor) -> Tensor:
    """The mean of each channel: (B, H, W, C) -> (B, C)."""
    return x.mean(dim=(1, 2))


# se.gate
def gate(mean: Tensor, fc1: Tensor, fc2: Tensor) -> Tensor:
    """Gates (B, C) in (0, 1) of means (B, C), with fc1 (C / r, C) and fc2 (C, C / r)."""
    hidden = torch.relu(mean @ fc1.T)  # (B, C / r)
    return torch.sigmoid(hidden @ fc2.T)  # (B, C)


# se.forward
def squeeze_excitation(x: Tensor, fc1: Tensor, fc2: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled x (B, H, W, C) and the gate (B, C)."""
    mean = x.mean(dim=(1, 2))  # (B, C)
    s = torch.sigmoid(torch.relu(mean @ fc1.T) @ fc2.T)  # (B, C)
    return x * s[:, None, None, :], s


# se.parameters
def parameters(dim: int, ratio: int) -> int:
    """Number of learned parameters of SE for dim channels and this ratio; no bias."""
    return 2 * dim * max(1, dim // ratio)


# se.shuffle_pixels
def shuffle_pixels(x: Tensor, generator: torch.Generator) -> Tensor:
    """Whole pixels at random positions, the same order for all channels: (B, H, W, C) -> (B, H, W, C)."""
    line = x.flatten(1, 2)  # (B, H W, C)
    order = torch.randperm(line.shape[1], generator=generator)
    return line[:, order].unflatten(1, x.shape[1:3])
