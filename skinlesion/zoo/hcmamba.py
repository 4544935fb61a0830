r"""HC-Mamba (Xu): a VM-UNet whose blocks also convolve, depthwise-separable and dilated.

Paper: https://arxiv.org/abs/2405.05007

.. math:: (x_1, x_2) = \mathrm{split}(x), \qquad
    y = x + \mathrm{shuffle}\big(\mathrm{DWConv}_{1,2,3}(x_1), \mathrm{SS2D}(\mathrm{LN}(x_2))\big)

- Original: no public code was found, so no license; written here from the paper's abstract and a summary of it
  (themoonlight.io, "HC-Mamba"); the paper's own text, figures and table of sizes could not be consulted.
- Size: 12,255,577 parameters at the defaults by our count.
- Described there: U-shaped like VM-UNet; dilated convolutions for a larger receptive field, with rates chosen so that
  no pixel between the taps is skipped; depthwise-separable convolutions for fewer parameters; a block that joins
  these with the 2D selective scan.
- **Guessed**: everything else. Each block splits the channels, scans one half and convolves the other, joins and
  shuffles them, as MedMamba does; the convolving half has three depthwise-separable 3 x 3 layers of dilation 1, 2, 3
  (the shortest row that leaves no gaps), each with batch normalization and ReLU; stages, widths, skips, head, states
  and stochastic depth are VM-UNet's.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, cat, nn

from skinlesion.errors import SkinlesionError
from skinlesion.model.block import DropPath
from skinlesion.model.config import Config, ModelConfig
from skinlesion.model.patches import PatchEmbedding, PatchExpanding, PatchMerging
from skinlesion.model.ss2d import SS2D
from skinlesion.model.unet import pad_to_multiple
from skinlesion.zoo.layers import channel_shuffle, conv_norm, require_multiple

PATCH = 4


@dataclass(frozen=True, kw_only=True)
class HCMambaConfig(Config):
    """Sizes of HC-Mamba.

    Attributes:
        dim: channels after patch embedding, a multiple of 4; each stage doubles them.
        depths: blocks in each encoder stage.
        decoder_depths: blocks in each decoder stage, deepest first.
        dilations: of the convolutions of each block.
        d_state: states of each scanned channel.
        drop_path: largest stochastic-depth rate.
        in_channels: channels of the image.
    """

    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 2, 2)
    decoder_depths: tuple[int, ...] = (2, 2, 2, 1)
    dilations: tuple[int, ...] = (1, 2, 3)
    d_state: int = 16
    drop_path: float = 0.2
    in_channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_multiple("dim", self.dim, PATCH)
        if len(self.depths) != len(self.decoder_depths):
            raise SkinlesionError(
                f"depths {self.depths} and decoder_depths {self.decoder_depths} must have the same number of stages."
            )


class HCSSM(nn.Module):
    """x + shuffle(dilated separable convolutions(first half), SS2D(second half)).

    Args:
        dim: channels, an even number.
        dilations: of the convolutions, in their order.
        d_state: states of the scan.
        drop_path: stochastic-depth rate of the scan.
    """

    def __init__(self, *, dim: int, dilations: tuple[int, ...], d_state: int, drop_path: float) -> None:
        super().__init__()
        half = dim // 2
        layers: list[nn.Module] = []
        for dilation in dilations:
            depthwise = nn.Conv2d(half, half, 3, padding=dilation, dilation=dilation, groups=half, bias=False)
            layers += [depthwise, conv_norm(half, half, 1)]
        self.convolutions = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(half)
        self.ss2d = SS2D(dim=half, config=ModelConfig(d_state=d_state, se=False))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        left, right = x.chunk(2, dim=-1)  # (B, H, W, C / 2) each
        left = self.convolutions(left.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, C / 2, H, W) and back
        right = self.drop_path(self.ss2d(self.norm(right)))
        return x + channel_shuffle(cat([left, right], dim=-1))


class HCMamba(nn.Module):
    """VM-UNet's skeleton (see `skinlesion.model.unet`) with HC-SSM blocks.

    Args:
        config: sizes.
    """

    def __init__(self, config: HCMambaConfig) -> None:
        super().__init__()
        self.config = config
        dims = [config.dim * 2**i for i in range(len(config.depths))]
        self.embedding = PatchEmbedding(in_channels=config.in_channels, dim=config.dim, patch_size=PATCH)
        rates = np.linspace(0, config.drop_path, sum(config.depths)).tolist()
        self.encoder = nn.ModuleList(
            self._stage(dim, depth, rates) for dim, depth in zip(dims, config.depths, strict=True)
        )
        self.merging = nn.ModuleList(PatchMerging(dim=dim) for dim in dims[:-1])
        self.expanding = nn.ModuleList(PatchExpanding(dim=dim, out_dim=dim // 2, factor=2) for dim in dims[:0:-1])
        rates = np.linspace(config.drop_path, 0, sum(config.decoder_depths)).tolist()
        self.decoder = nn.ModuleList(
            self._stage(dim, depth, rates) for dim, depth in zip(dims[::-1], config.decoder_depths, strict=True)
        )
        self.final_expanding = PatchExpanding(dim=config.dim, out_dim=config.dim // PATCH, factor=PATCH)
        self.head = nn.Conv2d(config.dim // PATCH, 1, 1)

    def _stage(self, dim: int, depth: int, rates: list[float]) -> nn.Sequential:
        """`depth` blocks, which take their stochastic-depth rates from the front of `rates`."""
        config = self.config
        return nn.Sequential(
            *(
                HCSSM(dim=dim, dilations=config.dilations, d_state=config.d_state, drop_path=rates.pop(0))
                for _ in range(depth)
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        height, width = image.shape[-2:]
        x = self.embedding(pad_to_multiple(image, PATCH * 2 ** len(self.merging)))  # (B, H / 4, W / 4, C)
        skips = []
        for i, stage in enumerate(self.encoder):
            if i > 0:
                x = self.merging[i - 1](x)  # (B, H / 2, W / 2, 2 C)
                skips.append(x)
            x = stage(x)
        for i, stage in enumerate(self.decoder):
            if i > 0:
                x = self.expanding[i - 1](x + skips.pop())  # (B, 2 H, 2 W, C / 2)
            x = stage(x)
        expanded = self.final_expanding(x)  # (B, H, W, C / 4)
        return self.head(expanded.permute(0, 3, 1, 2))[..., :height, :width]
