r"""U-Net (Ronneberger et al., https://arxiv.org/abs/1505.04597) with batch normalization and padded convolutions.

.. math:: d_i = \mathrm{conv}\big[e_i,\ \mathrm{up}(d_{i+1})\big]

- Original: published with Caffe code, whose license is not known to us; written here from the paper alone.
- Size: 31,037,633 parameters at width 64, the original's width, where it has 31.0 M. The default is width 32 with
  7,763,041 by our count, the U-Net of 7.77 M that tables of skin-lesion segmentation list (MALUNet's, arXiv
  2211.01784, is one).
- Deviations: padding keeps the size; batch normalization is what every later comparison trains with; three input
  channels where the original has a gray image.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.config import Config
from skinlesion.model.unet import pad_to_multiple


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Config):
    """Sizes of the U-Net.

    Attributes:
        dim: channels of the first stage; each stage doubles them.
        stages: number of resolutions, the bottom one included.
        in_channels: channels of the image.
    """

    dim: int = 32
    stages: int = 5
    in_channels: int = 3


class DoubleConvolution(nn.Sequential):
    """Twice 3 x 3 convolution, batch normalization, ReLU.

    Args:
        dim: input channels.
        out_dim: output channels.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        layers: list[nn.Module] = []
        for channels in (dim, out_dim):
            layers += [
                nn.Conv2d(channels, out_dim, 3, padding=1, bias=False),
                nn.BatchNorm2d(out_dim),
                nn.ReLU(),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """The plain U-Net.

    Args:
        config: sizes.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.dim * 2**i for i in range(config.stages)]
        self.encoder = nn.ModuleList(
            DoubleConvolution(dim, out) for dim, out in zip([config.in_channels, *widths[:-1]], widths, strict=True)
        )
        self.upsampling = nn.ModuleList(nn.ConvTranspose2d(width, width // 2, 2, stride=2) for width in widths[:0:-1])
        self.decoder = nn.ModuleList(DoubleConvolution(width, width // 2) for width in widths[:0:-1])
        self.head = nn.Conv2d(config.dim, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, 2 ** (self.config.stages - 1))
        skips = []
        for i, stage in enumerate(self.encoder):
            x = stage(F.max_pool2d(x, 2) if i > 0 else x)
            skips.append(x)
        skips.pop()
        for upsampling, stage in zip(self.upsampling, self.decoder, strict=True):
            x = stage(torch.cat([skips.pop(), upsampling(x)], dim=1))
        return self.head(x)[..., :height, :width]
