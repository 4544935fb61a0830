r"""MedMamba (Yue and Li): blocks that scan one half of the channels and convolve the other.

Paper: https://arxiv.org/abs/2403.03849

.. math:: (x_1, x_2) = \mathrm{split}(x), \qquad
    y = x + \mathrm{shuffle}\big(\mathrm{Conv}(x_1), \mathrm{SS2D}(\mathrm{LN}(x_2))\big)

- Original: YubiaoYue/MedMamba, no license. Written here from the paper; the code was read for facts (sizes, wiring),
  but none of it is copied. No pretrained weights are used.
- **It is a classifier**, and the tables that list it don't report how it was used for segmentation. Here it has the
  simplest possible decoder: each stage's map goes through a 1 x 1 convolution to `dim` channels, the maps are added
  from the coarsest to the finest (bilinear), and a 1 x 1 convolution computes the logits, upsampled four times.
- Published size of the classifier (MedMamba-T): 14.5 M parameters, or 15.2 M, which is with a head for 1000 classes.
  Our stages count 14,448,960 (15,217,960 with that head), and 14,587,681 with the decoder instead of a head.
- Deviations: biases that batch normalization would cancel are left out.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, cat, nn

from skinlesion.model.block import DropPath
from skinlesion.model.config import Config, ModelConfig
from skinlesion.model.patches import PatchEmbedding, PatchMerging
from skinlesion.model.ss2d import SS2D
from skinlesion.model.unet import pad_to_multiple
from skinlesion.zoo.layers import channel_shuffle, conv_norm, require_multiple, resize_like

PATCH = 4


@dataclass(frozen=True, kw_only=True)
class MedMambaConfig(Config):
    """Sizes of MedMamba and its decoder.

    Attributes:
        dim: channels of the first stage, an even number; each stage doubles them.
        depths: blocks in each stage.
        d_state: states of each scanned channel.
        drop_path: largest stochastic-depth rate.
        in_channels: channels of the image.
    """

    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 4, 2)
    d_state: int = 16
    drop_path: float = 0.1
    in_channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_multiple("dim", self.dim, 2)


class SSConvSSM(nn.Module):
    """x + shuffle(convolutions(first half), SS2D(second half)).

    Args:
        dim: channels, an even number.
        d_state: states of the scan.
        drop_path: stochastic-depth rate of the scan.
    """

    def __init__(self, *, dim: int, d_state: int, drop_path: float) -> None:
        super().__init__()
        half = dim // 2
        self.convolutions = nn.Sequential(
            nn.BatchNorm2d(half),
            conv_norm(half, half, 3),
            conv_norm(half, half, 3),
            nn.Conv2d(half, half, 1),
            nn.ReLU(),
        )
        self.norm = nn.LayerNorm(half)
        self.ss2d = SS2D(dim=half, config=ModelConfig(d_state=d_state, se=False))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        left, right = x.chunk(2, dim=-1)  # (B, H, W, C / 2) each
        left = self.convolutions(left.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, C / 2, H, W) and back
        right = self.drop_path(self.ss2d(self.norm(right)))
        return x + channel_shuffle(cat([left, right], dim=-1))


class MedMamba(nn.Module):
    """The classifier's four stages and a minimal decoder.

    Args:
        config: sizes.
    """

    def __init__(self, config: MedMambaConfig) -> None:
        super().__init__()
        self.config = config
        dims = [config.dim * 2**i for i in range(len(config.depths))]
        rates = np.linspace(0, config.drop_path, sum(config.depths)).tolist()
        self.embedding = PatchEmbedding(in_channels=config.in_channels, dim=config.dim, patch_size=PATCH)
        self.encoder = nn.ModuleList(
            nn.Sequential(*(SSConvSSM(dim=dim, d_state=config.d_state, drop_path=rates.pop(0)) for _ in range(depth)))
            for dim, depth in zip(dims, config.depths, strict=True)
        )
        self.merging = nn.ModuleList(PatchMerging(dim=dim) for dim in dims[:-1])
        self.lateral = nn.ModuleList(nn.Conv2d(dim, config.dim, 1) for dim in dims)
        self.head = nn.Conv2d(config.dim, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        height, width = image.shape[-2:]
        image = pad_to_multiple(image, PATCH * 2 ** len(self.merging))
        x = self.embedding(image)  # (B, H / 4, W / 4, C)
        maps = []
        for i, (stage, lateral) in enumerate(zip(self.encoder, self.lateral, strict=True)):
            x = stage(self.merging[i - 1](x) if i > 0 else x)
            maps.append(lateral(x.permute(0, 3, 1, 2)))  # (B, C, H / 2^(i + 2), W / 2^(i + 2))
        y = maps.pop()
        while maps:
            finer = maps.pop()
            y = finer + resize_like(y, finer)
        return resize_like(self.head(y), image)[..., :height, :width]
