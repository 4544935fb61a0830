"""Lesson 16, Reaching in: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
from torch import Tensor, nn

from skinlesion import intervene, observe


# intervention.record
def record(network: nn.Module, images: Tensor, pattern: str) -> dict[str, Tensor]:
    """The activations at all points that match a pattern: point -> tensor, without a graph."""
    with torch.no_grad(), observe(network, pattern) as seen:
        network(images)
    return dict(seen)


# intervention.transfer
def transfer(network: nn.Module, images: Tensor, donors: Tensor, pattern: str) -> Tensor:
    """Logits (B, 1, H, W) of images (B, 3, H, W) with the donors' activations at all points that match."""
    given = record(network, donors, pattern)
    with torch.no_grad(), intervene(network, given):
        return network(images)


# intervention.same_size
def same_size(change: Tensor, generator: torch.Generator) -> Tensor:
    """A random change (B, ...) with, image by image, the norm of a given one."""
    noise = torch.randn(change.shape, generator=generator)
    scale = change.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)  # (B,)
    return noise * scale.view(-1, *[1] * (change.dim() - 1))


# intervention.recovered
def recovered(clean: Tensor, corrupted: Tensor, patched: Tensor) -> Tensor:
    """The share of the difference between clean and corrupted scores that a patch restores, (B,) each."""
    return (patched - corrupted) / (clean - corrupted)


# intervention.dose
def dose(network: nn.Module, images: Tensor, donors: Tensor, point: str, shares: list[float]) -> Tensor:
    """Mean logits (len(shares), B) while one activation moves from the image's own value to the donor's."""
    given = record(network, donors, point)[point]
    means = []
    for share in shares:
        with torch.no_grad(), intervene(network, {point: lambda own, share=share: own + share * (given - own)}):
            means.append(network(images).mean((1, 2, 3)))
    return torch.stack(means)


# intervention.interaction
def interaction(network: nn.Module, images: Tensor, donors: Tensor, first: str, second: str) -> Tensor:
    """How much more two activations change each image's mean logit together than one by one: (B,)."""
    given = record(network, donors, first) | record(network, donors, second)

    def mean_logit(names: list[str]) -> Tensor:
        with torch.no_grad(), intervene(network, {name: given[name] for name in names}):
            return network(images).mean((1, 2, 3))

    return mean_logit([first, second]) - mean_logit([first]) - mean_logit([second]) + mean_logit([])
