r"""TransFuse-S (Zhang et al.): a ResNet-34 and a DeiT-S side by side, fused at three resolutions.

Paper: https://arxiv.org/abs/2102.08005

.. math:: f = \mathrm{Residual}\big[\mathrm{Conv}(W_1 t \odot W_2 g),\ \mathrm{SA}(g),\ \mathrm{SE}(t)\big]

with t of the Transformer and g of the convolutional branch.

- Original: Rayicer/TransFuse, no license. Written here from the paper; the code was read for facts (sizes, wiring),
  but none of it is copied.
- The original starts both branches from ImageNet weights. **This one has no pretrained weights**, which hurts a vision
  Transformer more than any other network of this zoo: expect less than the published accuracy.
- Published size: 26.3 M parameters (paper), 26.16 M in skin-lesion tables; 26,177,681 by our count.
- Deviations: the original supervises three heads, of the Transformer branch, of the coarsest fusion and of the last
  fusion, and predicts with the last; only the last is kept. The original's learned positions are those of ImageNet's
  14 x 14 grid, interpolated to 12 x 16 for its 192 x 256 images; here they are learned for 16 x 16 and interpolated to
  the image's own grid. Biases that batch normalization would cancel are left out.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.config import Config
from skinlesion.model.unet import pad_to_multiple
from skinlesion.zoo.attention_unet import AttentionGate
from skinlesion.zoo.layers import TransformerLayer, channel_gate, channel_statistics, conv_norm, resize_like

PATCH = 16
HEADS = 6
RESNET_DEPTHS = (3, 4, 6)  # ResNet-34 without its last stage


@dataclass(frozen=True, kw_only=True)
class TransFuseConfig(Config):
    """Sizes of TransFuse.

    Attributes:
        dim: channels of the ResNet's first stage; the Transformer has 6 `dim` channels in 6 heads.
        depth: Transformer layers; the paper keeps 8 of DeiT-S's 12.
        grid: side of the grid for which positions are learned, in patches of 16 pixels.
        dropout: rate at which whole channels are dropped between the branches' stages.
        in_channels: channels of the image.
    """

    dim: int = 64
    depth: int = 8
    grid: int = 16
    dropout: float = 0.2
    in_channels: int = 3


class BasicBlock(nn.Module):
    """ResNet's block of two 3 x 3 convolutions.

    Args:
        dim: input channels.
        out_dim: output channels.
        stride: of the first convolution.
    """

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            conv_norm(dim, out_dim, 3, stride=stride), conv_norm(out_dim, out_dim, 3, activation=None)
        )
        same = stride == 1 and dim == out_dim
        self.shortcut = nn.Identity() if same else conv_norm(dim, out_dim, 1, stride=stride, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H / stride, W / stride)."""
        return F.relu(self.convolutions(x) + self.shortcut(x))


def _resnet_stage(dim: int, out_dim: int, depth: int) -> nn.Sequential:
    first = BasicBlock(dim, out_dim, stride=1 if dim == out_dim else 2)
    return nn.Sequential(first, *(BasicBlock(out_dim, out_dim, stride=1) for _ in range(depth - 1)))


class VisionTransformer(nn.Module):
    """DeiT without class token: patches of 16 x 16 pixels, learned positions, pre-norm layers.

    Args:
        dim: channels of a token.
        depth: layers.
        grid: side of the grid of learned positions.
        in_channels: channels of the image.
    """

    def __init__(self, *, dim: int, depth: int, grid: int, in_channels: int) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(in_channels, dim, PATCH, stride=PATCH)
        self.positions = nn.Parameter(torch.empty(1, dim, grid, grid))
        self.layers = nn.Sequential(*(TransformerLayer(dim=dim, heads=HEADS, mlp_ratio=4) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, dim, H / 16, W / 16)."""
        x = self.embedding(image)
        x = x + resize_like(self.positions, x)
        tokens = self.norm(self.layers(x.flatten(2).transpose(1, 2)))  # (B, H W / 256, dim)
        return tokens.transpose(1, 2).unflatten(2, x.shape[-2:])  # (B, dim, H / 16, W / 16)


class DoubleResidual(nn.Module):
    """Two 3 x 3 convolutions beside a 1 x 1 convolution.

    Args:
        dim: input channels.
        out_dim: output channels.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(conv_norm(dim, out_dim, 3), conv_norm(out_dim, out_dim, 3, activation=None))
        self.shortcut = conv_norm(dim, out_dim, 1, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H, W)."""
        return F.relu(self.convolutions(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """Pre-activated 1 x 1, 3 x 3 and 1 x 1 convolutions beside a 1 x 1 convolution.

    Args:
        dim: input channels.
        out_dim: output channels.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        inner = out_dim // 2
        layers: list[nn.Module] = []
        for channels, out, kernel in ((dim, inner, 1), (inner, inner, 3), (inner, out_dim, 1)):
            bias = out == out_dim  # the others are followed by batch normalization
            layers += [
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=bias),
            ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Conv2d(dim, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H, W)."""
        return self.layers(x) + self.shortcut(x)


class BiFusion(nn.Module):
    """Join the two branches: where (a gate for each pixel of the CNN's map), what (a gate for each channel of the
    Transformer's), and their product.

    Args:
        dim: channels of the CNN's map, and of the result.
        transformer_dim: channels of the Transformer's map.
        ratio: squeeze of the channel gate.
        dropout: rate for whole channels of the result.
    """

    def __init__(self, *, dim: int, transformer_dim: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.where = conv_norm(2, 1, 7, activation=nn.Sigmoid)
        self.what = channel_gate(transformer_dim, transformer_dim // ratio)
        self.projection = conv_norm(dim, dim, 1, activation=None)
        self.transformer_projection = conv_norm(transformer_dim, dim, 1, activation=None)
        self.product = conv_norm(dim, dim, 3)
        self.join = Bottleneck(2 * dim + transformer_dim, dim)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """CNN (B, dim, H, W) and Transformer (B, transformer_dim, H, W) -> (B, dim, H, W)."""
        product = self.product(self.projection(x) * self.transformer_projection(t))
        x = x * self.where(channel_statistics(x))
        t = t * self.what(t)
        return self.dropout(self.join(torch.cat([x, t, product], dim=1)))


class TransFuse(nn.Module):
    """Both branches, three fusions, and two attention-gated steps up.

    Args:
        config: sizes.
    """

    def __init__(self, config: TransFuseConfig) -> None:
        super().__init__()
        self.config = config
        dims = [config.dim, 2 * config.dim, 4 * config.dim]  # at 1/4, 1/8 and 1/16 of the image's size
        transformer_dims = [dims[0], dims[1], HEADS * config.dim]
        self.transformer = VisionTransformer(
            dim=transformer_dims[2], depth=config.depth, grid=config.grid, in_channels=config.in_channels
        )
        self.enlarging = nn.ModuleList([DoubleResidual(transformer_dims[2], dims[1]), DoubleResidual(dims[1], dims[0])])
        self.stem = nn.Sequential(conv_norm(config.in_channels, dims[0], 7, stride=2), nn.MaxPool2d(3, 2, padding=1))
        self.resnet = nn.ModuleList(
            _resnet_stage(dim, out, depth)
            for dim, out, depth in zip([dims[0], *dims[:-1]], dims, RESNET_DEPTHS, strict=True)
        )
        self.fusions = nn.ModuleList(
            BiFusion(dim=dim, transformer_dim=transformer_dim, ratio=ratio, dropout=config.dropout / 2)
            for dim, transformer_dim, ratio in zip(dims, transformer_dims, (1, 2, 4), strict=True)
        )
        self.gates = nn.ModuleList(AttentionGate(dim=dim, gate_dim=2 * dim, inner_dim=dim) for dim in dims[1::-1])
        self.decoder = nn.ModuleList(DoubleResidual(3 * dim, dim) for dim in dims[1::-1])
        self.dropout = nn.Dropout2d(config.dropout)
        self.head = nn.Sequential(conv_norm(dims[0], dims[0], 3), nn.Conv2d(dims[0], 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        height, width = image.shape[-2:]
        image = pad_to_multiple(image, PATCH)
        t = self.dropout(self.transformer(image))
        transformer_maps = [t]  # from 1/16 up to 1/4
        for enlarging in self.enlarging:
            t = self.dropout(enlarging(F.interpolate(t, scale_factor=2, mode="bilinear")))
            transformer_maps.append(t)

        x = self.stem(image)
        fused = []  # from 1/4 down to 1/16
        for stage, fusion in zip(self.resnet, self.fusions, strict=True):
            x = self.dropout(stage(x))
            fused.append(fusion(x, transformer_maps.pop()))

        x = fused.pop()
        for gate, stage in zip(self.gates, self.decoder, strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = stage(torch.cat([gate(fused.pop(), x), x], dim=1))
        logits = F.interpolate(self.head(x), scale_factor=4, mode="bilinear")
        return logits[..., :height, :width]
