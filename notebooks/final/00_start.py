"""Lesson 0, Start here: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
from torch import Tensor


# start.to_mask
def to_mask(probability: Tensor, threshold: float) -> Tensor:
    """True where the probability is at least the threshold: (H, W) -> bool (H, W)."""
    return probability >= threshold


# start.area_fraction
def area_fraction(mask: Tensor) -> Tensor:
    """The share of each image that is lesion: bool (B, H, W) -> (B,), in [0, 1]."""
    return mask.float().mean(dim=(1, 2))


# start.seen_in_mirror
def seen_in_mirror(network: torch.nn.Module, x: Tensor) -> Tensor:
    """The network's output for the mirrored images, mirrored back: (B, 3, H, W) -> (B, 1, H, W)."""
    return network(x.flip(-1)).flip(-1)


# start.cover
def cover(image: Tensor, mask: Tensor) -> Tensor:
    """The image with the masked pixels painted in the mean color of the others: (H, W, 3), bool (H, W) -> (H, W, 3)."""
    return torch.where(mask[..., None], image[~mask].mean(dim=0), image)
