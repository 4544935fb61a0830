"""Lesson 11, The whole network: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
from torch import Tensor, nn


# network.space_to_depth
def space_to_depth(x: Tensor) -> Tensor:
    """The four tokens of each 2 x 2 cell, concatenated: (B, H, W, C) -> (B, H / 2, W / 2, 4 C)."""
    order = ((0, 0), (1, 0), (0, 1), (1, 1))
    return torch.cat([x[:, row::2, column::2] for row, column in order], dim=-1)


# network.depth_to_space
def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """Each token becomes a cell of tokens, row by row: (B, H, W, factor ** 2 C) -> (B, factor H, factor W, C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, factor, factor, channels // factor**2)  # (B, H, W, row, column, C)
    x = x.permute(0, 1, 3, 2, 4, 5)  # (B, H, row, W, column, C)
    return x.reshape(batch, factor * height, factor * width, channels // factor**2)


# network.run_u
def run_u(x: Tensor, encoder, merging, skips, expanding, decoder) -> Tensor:
    """From the embedded tokens (B, H, W, C) to the output of D1, of the same shape."""
    kept = []
    for i, stage in enumerate(encoder):
        if i > 0:
            x = merging[i - 1](x)  # half the grid, twice the channels
            kept.append(x)
        x = stage(x)
    for i, stage in enumerate(decoder):
        if i > 0:
            skip = skips[3 - i](kept[3 - i])
            x = expanding[i - 1](x + skip)  # twice the grid, half the channels
        x = stage(x)
    return x


# network.at_any_size
def at_any_size(network, image: Tensor, multiple: int) -> Tensor:
    """Logits (B, 1, H, W) of an image (B, 3, H, W), from a network whose input sides must be multiples of a number."""
    height, width = image.shape[-2:]
    padded = nn.functional.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    return network(padded)[..., :height, :width]


# network.skeleton
def skeleton(dim: int) -> int:
    """Number of learned parameters outside the blocks and CRAs."""
    embedding = 4 * 4 * 3 * dim + dim + 2 * dim
    merging = sum(2 * 4 * c + 4 * c * 2 * c for c in (dim, 2 * dim, 4 * dim))
    expanding = sum(c * 2 * c + 2 * (c // 2) for c in (8 * dim, 4 * dim, 2 * dim))
    final = dim * 16 * (dim // 4) + 2 * (dim // 4)
    classifier = dim // 4 + 1
    return embedding + merging + expanding + final + classifier


# network.transplant
def transplant(maps: Tensor) -> Tensor:
    """Maps (B, H, W, C) permuted so that every image gets the map of another image."""
    return maps.roll(1, dims=0)
