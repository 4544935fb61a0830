r"""The redundancy of a feature map's channels (the paper's motivation for internal distillation).

Two measures: the mean absolute correlation of two channels, and the effective rank (Roy and Vetterli, EUSIPCO 2007),

.. math:: \exp\Big(-\sum_i p_i \ln p_i\Big), \quad p_i = \lambda_i / \sum_j \lambda_j,

with the eigenvalues :math:`\lambda` of the correlation matrix: the number of channels that are effectively independent.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.explain.layers import feature_maps


@dataclass(frozen=True, eq=False)
class Redundancy:
    """The correlation of the channels of one layer.

    Attributes:
        name: the layer.
        correlation: Pearson's r of each two channels over all positions, (C, C); 0 for a channel that is constant.
        samples: number of positions that it was measured at. For unrelated channels, |r| is about 0.8 / sqrt(samples)
            if positions are independent (neighbors aren't), and the rank cannot exceed samples - 1.
        dead: number of constant channels; neither measure includes them.
    """

    name: str
    correlation: NDArray[np.float32]
    samples: int
    dead: int

    @property
    def channels(self) -> int:
        """C, constant channels included."""
        return len(self.correlation)

    @property
    def mean_absolute(self) -> float:
        """Mean of \\|r\\| over pairs of different non-constant channels, in [0, 1]; 0 without such a pair."""
        living = self.channels - self.dead
        if living < 2:
            return 0.0
        total = float(np.abs(self.correlation).sum(dtype=np.float64)) - living  # the diagonal is 1
        return total / (living * (living - 1))

    @property
    def effective_rank(self) -> float:
        """Between 1 (all identical) and the number of non-constant channels (all unrelated); 0 without any."""
        if self.channels == self.dead:
            return 0.0
        values = np.linalg.eigvalsh(self.correlation.astype(np.float64)).clip(min=0)
        p = values[values > 0] / values.sum()
        return float(np.exp(-(p * np.log(p)).sum()))


def channel_correlation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Pearson's correlation of the channels over all other axes.

    Args:
        features: (.., C), at least two positions.

    Returns:
        r, float32 (C, C) with rows and columns of 0 for constant channels, and which channels vary, bool (C,).
    """
    if features.device.type == "mps":
        features = features.cpu()  # Apple's GPU has no float64
    x = features.flatten(0, -2).double()  # (positions, C)
    largest = x.abs().amax(0)
    x = x - x.mean(0)
    length = x.norm(dim=0)
    # What a constant channel varies by is the rounding of its mean.
    living = length > 1e-6 * largest * len(x) ** 0.5
    x = torch.where(living, x / length.where(living, torch.ones_like(length)), 0.0)
    r = (x.T @ x).clamp(-1, 1)
    r.fill_diagonal_(1.0)
    r = r * living * living[:, None]
    return r.float(), living


def redundancy(name: str, features: Tensor) -> Redundancy:
    """Measure one feature map, (.., C)."""
    r, living = channel_correlation(features)
    return Redundancy(name, r.cpu().numpy(), features[..., 0].numel(), int((~living).sum()))


def redundancy_by_depth(model: nn.Module, images: Tensor) -> dict[str, Redundancy]:
    """Measure every layer that has at least two channels.

    Args:
        model: any model of the kit; it is left as it was.
        images: (B, C, H, W); several images make the deep layers, which have few positions each, more certain.

    Returns:
        By layer, in the order in which they run.
    """
    maps = feature_maps(model, images)
    return {name: redundancy(name, features) for name, features in maps.items() if features.shape[-1] > 1}
