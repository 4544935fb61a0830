r"""Attention U-Net (Oktay et al.): a U-Net whose skips pass an additive attention gate.

Paper: https://arxiv.org/abs/1804.03999

.. math:: \alpha = \sigma\big(\psi\,\mathrm{ReLU}(W_x x + W_g g)\big), \qquad \hat x = \alpha \cdot x

- Original: the authors' code, ozan-oktay/Attention-Gated-Networks, MIT, is for volumes. The 2D network that
  skin-lesion tables list, 34.88 M parameters at width 64, is a community reading of it, without a license; this file
  builds that size, written from the paper.
- Size at the defaults: 34,870,761 parameters by our count.
- Deviations: the paper's gating signal is the coarser map itself and its attention map is interpolated up; as in the
  2D reading, the signal here is the coarser map after upsampling, so that gate and skip have the same size. No deep
  supervision. Biases that batch normalization would cancel are left out (7.8 k parameters).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.config import Config
from skinlesion.model.unet import pad_to_multiple
from skinlesion.zoo.layers import conv_norm
from skinlesion.zoo.unet import DoubleConvolution


@dataclass(frozen=True, kw_only=True)
class AttentionUNetConfig(Config):
    """Sizes of the Attention U-Net.

    Attributes:
        dim: channels of the first stage; each stage doubles them.
        stages: number of resolutions, the bottom one included.
        in_channels: channels of the image.
    """

    dim: int = 64
    stages: int = 5
    in_channels: int = 3


class AttentionGate(nn.Module):
    r"""How much of each pixel of a skip to pass: :math:`\alpha = \sigma(\psi(\mathrm{ReLU}(W_x x + W_g g)))`.

    Args:
        dim: channels of the skip x.
        gate_dim: channels of the gating signal g.
        inner_dim: channels in which the two are compared.
    """

    def __init__(self, *, dim: int, gate_dim: int, inner_dim: int) -> None:
        super().__init__()
        self.skip_projection = conv_norm(dim, inner_dim, 1, activation=None)
        self.gate_projection = conv_norm(gate_dim, inner_dim, 1, activation=None)
        self.score = conv_norm(inner_dim, 1, 1, activation=nn.Sigmoid)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Skip (B, dim, H, W) and gate (B, gate_dim, H, W) -> (B, dim, H, W)."""
        return x * self.score(F.relu(self.skip_projection(x) + self.gate_projection(gate)))


class UpConvolution(nn.Sequential):
    """Double the size (nearest neighbor), then a 3 x 3 convolution.

    Args:
        dim: input channels.
        out_dim: output channels.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2), conv_norm(dim, out_dim))


class AttentionUNet(nn.Module):
    """U-Net with attention gates.

    Args:
        config: sizes.
    """

    def __init__(self, config: AttentionUNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.dim * 2**i for i in range(config.stages)]
        self.encoder = nn.ModuleList(
            DoubleConvolution(dim, out) for dim, out in zip([config.in_channels, *widths[:-1]], widths, strict=True)
        )
        self.upsampling = nn.ModuleList(UpConvolution(2 * width, width) for width in widths[-2::-1])
        self.gates = nn.ModuleList(
            AttentionGate(dim=width, gate_dim=width, inner_dim=max(1, width // 2)) for width in widths[-2::-1]
        )
        self.decoder = nn.ModuleList(DoubleConvolution(2 * width, width) for width in widths[-2::-1])
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
        for upsampling, gate, stage in zip(self.upsampling, self.gates, self.decoder, strict=True):
            x = upsampling(x)
            x = stage(torch.cat([gate(skips.pop(), x), x], dim=1))
        return self.head(x)[..., :height, :width]
