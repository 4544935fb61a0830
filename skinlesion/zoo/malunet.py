r"""MALUNet (Ruan et al.): a six-stage U-Net of 0.18 M parameters with four small attention modules.

Paper: arxiv.org/abs/2211.01784

.. math::
    y = \mathrm{IEA}\big(\mathrm{DGA}(x)\big), \qquad
    \mathrm{skip} = \mathrm{CAB}\big(\mathrm{SAB}(x) \cdot x + x\big)

- Original: JCruan519/MALUNet, no license. Written here from the paper; the code was read for facts (sizes, wiring),
  but none of it is copied.
- Published size: 0.175 M parameters; 177,735 at the defaults by our count. The difference is the 2,912 parameters of
  group normalization, which some counters skip: 174,823 without them.
- Deviations: the first layer of the external attention has no bias, since the softmax over pixels would cancel it;
  the original ties that module's two memories on a CPU (they share their storage) but not on a GPU: here they are
  two weights. PyTorch's initialization. Interpolation does not align corners.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.config import Config
from skinlesion.model.unet import pad_to_multiple
from skinlesion.zoo.layers import channel_statistics, require_multiple

GROUPS = 4  # of every group normalization, and of the dilated branches
DILATIONS = (7, 5, 2, 1)
MEMORY = 4  # memory slots of the external attention over channels


@dataclass(frozen=True, kw_only=True)
class MALUNetConfig(Config):
    """Sizes of MALUNet.

    Attributes:
        dim: channels of the first stage, a multiple of 4; the six stages have 1, 2, 3, 4, 6 and 8 times as many.
        in_channels: channels of the image.
    """

    dim: int = 8
    in_channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_multiple("dim", self.dim, GROUPS)


def separable(dim: int, out_dim: int, kernel: int) -> nn.Sequential:
    """Depthwise convolution, group normalization, 1 x 1 convolution; keeps the size."""
    return nn.Sequential(
        nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim),
        nn.GroupNorm(GROUPS, dim),
        nn.Conv2d(dim, out_dim, 1),
    )


class DilatedGatedAttention(nn.Module):
    """DGA: four dilations of a depthwise convolution, one for each quarter of the channels; then a gated unit.

    Args:
        dim: input channels.
        out_dim: output channels.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        quarter = dim // GROUPS
        self.dilated = nn.ModuleList(
            nn.Conv2d(quarter, quarter, 3, padding=d, dilation=d, groups=quarter) for d in DILATIONS
        )
        self.mix = nn.Sequential(nn.GroupNorm(GROUPS, dim), nn.Conv2d(dim, dim, 1), nn.GELU())
        self.gate = nn.Sequential(separable(dim, dim, 3), nn.Sigmoid())
        self.value = nn.Sequential(separable(dim, dim, 5), nn.GELU())
        self.out = nn.Sequential(separable(dim, out_dim, 3), nn.GELU())
        self.shortcut = nn.Conv2d(dim, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H, W)."""
        quarters = x.chunk(GROUPS, dim=1)  # (B, dim / 4, H, W) each
        x = self.mix(torch.cat([conv(part) for conv, part in zip(self.dilated, quarters, strict=True)], dim=1))
        return self.out(self.gate(x) * self.value(x)) + self.shortcut(x)


class InvertedExternalAttention(nn.Module):
    """IEA: pixels attend to learned memory slots rather than to each other, so the cost is linear.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(dim, dim, 1, bias=False)
        self.keys = nn.Conv1d(dim, MEMORY * dim, 1, bias=False)
        self.values = nn.Conv1d(MEMORY * dim, dim, 1, bias=False)
        self.out = nn.Sequential(nn.Conv2d(dim, dim, 1, bias=False), nn.GroupNorm(GROUPS, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, dim, H, W)."""
        scores = self.keys(self.query(x).flatten(2)).softmax(dim=2)  # (B, 4 dim, H W), over pixels
        scores = scores / (1e-9 + scores.sum(dim=1, keepdim=True))  # and over slots
        y = self.values(scores).unflatten(2, x.shape[-2:])  # (B, dim, H, W)
        return F.gelu(x + self.out(y))


class SpatialBridge(nn.Module):
    """SAB: a spatial gate computed by one dilated 7 x 7 convolution that all skips share."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 7, padding=9, dilation=3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> its gate (B, 1, H, W)."""
        return torch.sigmoid(self.convolution(channel_statistics(x)))


class ChannelBridge(nn.Module):
    """CAB: the channel means of all skips together gate the channels of each.

    Args:
        dims: channels of the skips.
    """

    POINTS = ()  # a list of gates is no activation

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.neighbors = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.gates = nn.ModuleList(nn.Linear(sum(dims), dim) for dim in dims)

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        """Each (B, C_i, H_i, W_i) -> its gate (B, C_i, 1, 1)."""
        means = torch.cat([x.mean(dim=(2, 3)) for x in skips], dim=1)  # (B, sum of C_i)
        means = self.neighbors(means[:, None])[:, 0]
        return [torch.sigmoid(gate(means))[..., None, None] for gate in self.gates]


class MALUNet(nn.Module):
    """MALUNet: three convolutions and three attention stages down, the same back up, skips through both bridges.

    Args:
        config: sizes.
    """

    def __init__(self, config: MALUNetConfig) -> None:
        super().__init__()
        self.config = config
        dims = [config.dim * i for i in (1, 2, 3, 4, 6, 8)]
        encoder: list[nn.Module] = [
            nn.Conv2d(dim, out, 3, padding=1)
            for dim, out in zip([config.in_channels, *dims[:2]], dims[:3], strict=True)
        ]
        encoder += [
            nn.Sequential(InvertedExternalAttention(dim), DilatedGatedAttention(dim, out))
            for dim, out in pairwise(dims[2:])
        ]
        decoder: list[nn.Module] = [
            nn.Sequential(DilatedGatedAttention(dim, out), InvertedExternalAttention(out))
            for dim, out in zip(dims[:2:-1], dims[4:1:-1], strict=True)
        ]
        decoder += [nn.Conv2d(dims[2], dims[1], 3, padding=1), nn.Conv2d(dims[1], dims[0], 3, padding=1)]
        self.encoder = nn.ModuleList(encoder)
        self.encoder_norms = nn.ModuleList(nn.GroupNorm(GROUPS, dim) for dim in dims[:5])
        self.spatial_bridge = SpatialBridge()
        self.channel_bridge = ChannelBridge(dims[:5])
        self.decoder = nn.ModuleList(decoder)
        self.decoder_norms = nn.ModuleList(nn.GroupNorm(GROUPS, dim) for dim in dims[4::-1])
        self.head = nn.Conv2d(dims[0], 1, 1)

    def bridge(self, skips: list[Tensor]) -> list[Tensor]:
        """Each skip x, with spatial gate s and channel gate c, becomes s x + c (s x + x); shapes stay."""
        gated = [self.spatial_bridge(x) * x for x in skips]
        sums = [x + y for x, y in zip(skips, gated, strict=True)]
        gates = self.channel_bridge(sums)
        return [y + gate * x for y, gate, x in zip(gated, gates, sums, strict=True)]

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, 2**5)
        skips = []
        for stage, norm in zip(self.encoder[:-1], self.encoder_norms, strict=True):
            x = F.gelu(F.max_pool2d(norm(stage(x)), 2))  # (B, C_i, H / 2^i, W / 2^i)
            skips.append(x)
        skips = self.bridge(skips)
        x = F.gelu(self.encoder[-1](x))  # the sixth stage keeps the fifth's size
        for i, (stage, norm) in enumerate(zip(self.decoder, self.decoder_norms, strict=True)):
            x = norm(stage(x))
            if i > 0:
                x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = F.gelu(x) + skips.pop()
        logits = F.interpolate(self.head(x), scale_factor=2, mode="bilinear")
        return logits[..., :height, :width]
