r"""UNet++ (Zhou et al., https://arxiv.org/abs/1807.10165): a U-Net whose skips are themselves small nested decoders.

.. math:: x^{i,j} = \mathrm{conv}\big[x^{i,0}, \dots, x^{i,j-1},\ \mathrm{up}(x^{i+1,j-1})\big]

- Original: MrGiovanni/UNetPlusPlus; its license allows non-commercial use only. Written here from the paper.
- Published size: 9.04 M parameters (paper, transposed convolutions); skin-lesion tables list 9.16 M, which is the
  same network at the same widths, 32 to 512, with bilinear upsampling. This file follows the latter: 9,159,681.
- Deviations: no deep supervision, so the only head is that of the last node (the paper's "L4" without averaging);
  batch normalization, which the paper does not mention.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.config import Config
from skinlesion.model.unet import pad_to_multiple
from skinlesion.zoo.layers import resize_like
from skinlesion.zoo.unet import DoubleConvolution


@dataclass(frozen=True, kw_only=True)
class UNetPlusPlusConfig(Config):
    """Sizes of UNet++.

    Attributes:
        dim: channels of the first stage; each stage doubles them.
        stages: number of resolutions, the bottom one included.
        in_channels: channels of the image.
    """

    dim: int = 32
    stages: int = 5
    in_channels: int = 3


class UNetPlusPlus(nn.Module):
    """Nodes X(i, j) at depth i and column j: its inputs are all nodes to its left at its depth and the one below.

    Args:
        config: sizes.
    """

    def __init__(self, config: UNetPlusPlusConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.dim * 2**i for i in range(config.stages)]
        self.encoder = nn.ModuleList(
            DoubleConvolution(dim, out) for dim, out in zip([config.in_channels, *widths[:-1]], widths, strict=True)
        )
        # columns[j - 1][i] makes X(i, j) from X(i, 0), .., X(i, j - 1) and the enlarged X(i + 1, j - 1)
        self.columns = nn.ModuleList(
            nn.ModuleList(DoubleConvolution(j * widths[i] + widths[i + 1], widths[i]) for i in range(config.stages - j))
            for j in range(1, config.stages)
        )
        self.head = nn.Conv2d(config.dim, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, 2 ** (self.config.stages - 1))
        rows: list[list[Tensor]] = []  # rows[i] = X(i, 0), X(i, 1), ..
        for i, stage in enumerate(self.encoder):
            x = stage(F.max_pool2d(x, 2) if i > 0 else x)
            rows.append([x])
        for column in self.columns:
            assert isinstance(column, nn.ModuleList)
            for i, node in enumerate(column):
                below = resize_like(rows[i + 1][-1], rows[i][0])
                rows[i].append(node(torch.cat([*rows[i], below], dim=1)))
        return self.head(rows[0][-1])[..., :height, :width]
