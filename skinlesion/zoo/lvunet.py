r"""LV-UNet (Jiang et al.): the front of MobileNetV3-Large, and plain 1 x 1 stages around the bottom.

Paper: https://arxiv.org/abs/2408.16886

.. math:: y = \mathrm{BN}\big(W_2\,\mathrm{ReLU}(\mathrm{BN}(W_1 x))\big)

- Original: juntaoJianggavin/LV-UNet, no license. Written here from the paper; the code was read for facts (sizes,
  wiring), not copied. Its README of August 2025 says that the first code had many errors; the wiring here is
  that of the corrected one.
- The original starts from ImageNet weights. **This one has no pretrained weights**: it learns from scratch, which
  costs accuracy that cannot be told from the architecture's.
- Size at the defaults: 931,569 parameters, of which 0.51 M would be left after fusing, both by our count. The
  paper's table could not be consulted, so no published figure is compared.
- Deviations: "deep training" (the ReLU between a block's two 1 x 1 convolutions fades to the identity, and the two are
  then fused for deployment) is left out: it belongs to the training recipe and needs a schedule, and the original
  can be trained without it too. Biases that batch normalization would cancel are left out.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from skinlesion.model.config import Config
from skinlesion.model.unet import pad_to_multiple
from skinlesion.zoo.layers import channel_gate, conv_norm, require_multiple

# MobileNetV3-Large (Howard et al., https://arxiv.org/abs/1905.02244, table 1), the first nine bottlenecks, grouped
# as LV-UNet does:
# kernel, expanded width, width, squeeze-and-excitation, hard swish (else ReLU), stride. Widths are for dim = 16.
ENCODER = (
    ((3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2)),
    ((3, 72, 24, False, False, 1), (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1)),
    (
        (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
    ),
)
BOTTOM = (80, 160, 240, 480)  # widths of the plain stages, each at half the size of the one before


@dataclass(frozen=True, kw_only=True)
class LVUNetConfig(Config):
    """Sizes of LV-UNet.

    Attributes:
        dim: channels of the first convolution, a multiple of 2; all widths are in proportion.
        in_channels: channels of the image.
    """

    dim: int = 16
    in_channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_multiple("dim", self.dim, 2)


class InvertedResidual(nn.Module):
    """MobileNetV3's bottleneck: widen, convolve each channel, gate, narrow; residual where sizes allow.

    Args:
        dim: input channels.
        hidden_dim: channels in between.
        out_dim: output channels.
        kernel: side of the depthwise kernel.
        stride: of the depthwise convolution.
        gated: with squeeze-and-excitation.
        activation: ReLU or hard swish.
    """

    def __init__(
        self,
        *,
        dim: int,
        hidden_dim: int,
        out_dim: int,
        kernel: int,
        stride: int,
        gated: bool,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        self.expand = conv_norm(dim, hidden_dim, 1, activation=activation) if hidden_dim != dim else nn.Identity()
        self.depthwise = conv_norm(
            hidden_dim, hidden_dim, kernel, stride=stride, groups=hidden_dim, activation=activation
        )
        self.gate = channel_gate(hidden_dim, -(-hidden_dim // 32) * 8, nn.Hardsigmoid) if gated else None
        self.narrow = conv_norm(hidden_dim, out_dim, 1, activation=None)
        self.residual = stride == 1 and dim == out_dim

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H / stride, W / stride)."""
        y = self.depthwise(self.expand(x))
        if self.gate is not None:
            y = y * self.gate(y)
        y = self.narrow(y)
        return x + y if self.residual else y


class SeriesActivation(nn.Sequential):
    """VanillaNet's activation: ReLU, then a 3 x 3 depthwise convolution.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(nn.ReLU(), conv_norm(dim, dim, 3, groups=dim, activation=None))


class PlainStage(nn.Module):
    """Two 1 x 1 convolutions, a change of size, and the series activation.

    Args:
        dim: input channels.
        out_dim: output channels.
        size: module that halves or doubles height and width.
    """

    def __init__(self, dim: int, out_dim: int, size: nn.Module) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(conv_norm(dim, dim, 1), conv_norm(dim, out_dim, 1, activation=None))
        self.size = size
        self.activation = SeriesActivation(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H', W')."""
        return self.activation(self.size(self.convolutions(x)))


def _down(dim: int, out_dim: int) -> PlainStage:
    return PlainStage(dim, out_dim, nn.MaxPool2d(2))


def _up(dim: int, out_dim: int) -> PlainStage:
    return PlainStage(dim, out_dim, nn.Upsample(scale_factor=2, mode="bilinear"))


class LVUNet(nn.Module):
    """LV-UNet; the input is halved seven times, and six skips are added back.

    Args:
        config: sizes.
    """

    def __init__(self, config: LVUNetConfig) -> None:
        super().__init__()
        self.config = config

        def scaled(width: int) -> int:
            return width * config.dim // 16

        self.stem = conv_norm(config.in_channels, config.dim, 3, stride=2, activation=nn.Hardswish)
        stages: list[nn.Module] = []
        dim = config.dim
        for rows in ENCODER:
            blocks = []
            for kernel, hidden_dim, out_dim, gated, hard_swish, stride in rows:
                blocks.append(
                    InvertedResidual(
                        dim=dim,
                        hidden_dim=scaled(hidden_dim),
                        out_dim=scaled(out_dim),
                        kernel=kernel,
                        stride=stride,
                        gated=gated,
                        activation=nn.Hardswish if hard_swish else nn.ReLU,
                    )
                )
                dim = scaled(out_dim)
            stages.append(nn.Sequential(*blocks))
        bottom = [scaled(width) for width in BOTTOM]
        stages += [_down(dim, out) for dim, out in pairwise(bottom)]
        self.encoder = nn.ModuleList(stages)
        widths = [scaled(width) for width in (480, 240, 160, 80, 40, 24, 16, 16)]
        self.decoder = nn.ModuleList(_up(dim, out) for dim, out in pairwise(widths))
        self.head = nn.Conv2d(config.dim, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        height, width = image.shape[-2:]
        x = self.stem(pad_to_multiple(image, 2 ** (1 + len(self.encoder))))
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for stage in self.decoder:
            x = stage(x)
            if skips:
                x = x + skips.pop()
        return self.head(x)[..., :height, :width]
