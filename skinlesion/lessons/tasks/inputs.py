"""Small random inputs from a seeded generator."""

import torch
from torch import Generator, Tensor, nn


def normal(generator: Generator, *shape: int) -> Tensor:
    """Standard normal values, float32."""
    return torch.randn(shape, generator=generator)


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Values between low and high, float32."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def randomized(generator: Generator, module: nn.Module, scale: float = 0.5) -> nn.Module:
    """The module with every parameter drawn anew, so that no weight or bias is zero or one by convention."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * normal(generator, *parameter.shape))
    return module
