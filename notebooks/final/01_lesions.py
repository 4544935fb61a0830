"""Lesson 1, Seeing lesions: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import numpy as np
import torch
from torch import Tensor


# lesions.normalize
def normalize(image: np.ndarray) -> np.ndarray:
    """Darkest value to 0, brightest to 1, all colors together: uint8 (H, W, 3) -> float32 (H, W, 3)."""
    x = image.astype(np.float32)
    low, high = x.min(), x.max()
    return (x - low) / (high - low) if high > low else np.zeros_like(x)


# lesions.agreement
def agreement(first: Tensor, second: Tensor) -> Tensor:
    """IoU of two annotations of each image, 1 where both are empty: bool (B, H, W) twice -> (B,)."""
    both, either = (first & second).sum((1, 2)), (first | second).sum((1, 2))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


# lesions.turn
def turn(image: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn an image (3, H, W) and its mask (H, W) together by 0 to 3 quarter turns."""
    quarters = int(torch.randint(4, (), generator=generator))
    return torch.rot90(image, quarters, (1, 2)), torch.rot90(mask, quarters, (0, 1))


# lesions.remember
def remember(image: Tensor, images: Tensor, masks: Tensor) -> Tensor:
    """The mask (H, W) of the training image that is closest to image (3, H, W), out of images (n, 3, H, W)."""
    return masks[(images - image).square().sum((1, 2, 3)).argmin()]


# lesions.whole_lesions
def whole_lesions(lesion: list[int], fraction: float, generator: torch.Generator) -> tuple[list[int], list[int]]:
    """Indices of the training and of the test images, with all images of a lesion on one side."""
    names = sorted(set(lesion))
    order = torch.randperm(len(names), generator=generator).tolist()
    chosen = {names[i] for i in order[: round(fraction * len(names))]}
    train = [i for i, name in enumerate(lesion) if name not in chosen]
    return train, [i for i, name in enumerate(lesion) if name in chosen]


# lesions.groups
def groups(pairs: list[tuple[int, int]], count: int) -> list[int]:
    """The group of each of `count` images, 0, 1, 2, ..: connected images share one; pairs: indices of two images."""
    group = list(range(count))
    for a, b in pairs:
        old, new = group[b], group[a]
        group = [new if each == old else each for each in group]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(group))}
    return [numbers[each] for each in group]
