"""The whole network: VM-UNet's skeleton with CM-SSM blocks and cross-region attention (paper figure 1)."""

from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.model.block import CMSSMBlock
from skinlesion.model.cmn import ChannelMixing
from skinlesion.model.config import ModelConfig
from skinlesion.model.cra import CrossRegionAttention
from skinlesion.model.patches import PatchEmbedding, PatchExpanding, PatchMerging
from skinlesion.model.trace import Trace


class Features(NamedTuple):
    """The feature maps that the distillation losses compare (paper eqs 8 and 9).

    Attributes:
        blocks: the output of every block, (B, H, W, C), by name in the order E1.1, E1.2, .., D1.1.
        expanded: the map before the last 1 x 1 convolution, (B, H, W, C) at the image's size.
    """

    blocks: dict[str, Tensor]
    expanded: Tensor


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides divide by `multiple`; (B, C, H, W)."""
    height, width = image.shape[-2:]
    extra = (0, -width % multiple, 0, -height % multiple)
    return F.pad(image, extra, mode="replicate") if any(extra) else image


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _initialize_as_convolutions(network: nn.Module) -> None:
    """Give the pointwise layers of CMN and CRA PyTorch's default for a convolution, which a Linear layer shares (A40)."""
    for module in network.modules():
        if isinstance(module, ChannelMixing | CrossRegionAttention):
            for layer in module.children():
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()


class VisionStateSpaceUNet(nn.Module):
    """The paper's network; with `se`, `cmn` and `cra` off it is VM-UNet.

    The encoder halves the grid between stages; the inputs of its stages 2, 3, .. are the skips. The decoder adds a
    skip (through its CRA) and then doubles the grid at the start of each stage but the first.

    Args:
        config: sizes and switches.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        stages = len(config.depths)
        widths = [config.dim * 2**i for i in range(stages)]
        encoder_rates = np.linspace(0, config.drop_path, sum(config.depths)).tolist()
        decoder_rates = np.linspace(config.drop_path, 0, sum(config.decoder_depths)).tolist()

        self.embedding = PatchEmbedding(in_channels=config.in_channels, dim=config.dim, patch_size=config.patch_size)
        self.encoder = nn.ModuleList(
            self._stage(width, depth, encoder_rates) for width, depth in zip(widths, config.depths, strict=True)
        )
        self.merging = nn.ModuleList(PatchMerging(dim=width) for width in widths[:-1])
        self.skips = nn.ModuleList(
            CrossRegionAttention(dim=width, ratio=config.cra_ratio) if config.cra else nn.Identity()
            for width in widths[1:]
        )
        self.expanding = nn.ModuleList(
            PatchExpanding(dim=width, out_dim=width // 2, factor=2) for width in widths[:0:-1]
        )
        self.decoder = nn.ModuleList(
            self._stage(width, depth, decoder_rates)
            for width, depth in zip(widths[::-1], config.decoder_depths, strict=True)
        )
        self.final_expanding = PatchExpanding(
            dim=config.dim, out_dim=config.dim // config.patch_size, factor=config.patch_size
        )
        self.apply(_initialize)
        if config.conv_init:
            _initialize_as_convolutions(self)
        self.classifier = nn.Conv2d(config.dim // config.patch_size, 1, 1)

    def _stage(self, width: int, depth: int, rates: list[float]) -> nn.ModuleList:
        """`depth` blocks, which take their stochastic-depth rates from the front of `rates`."""
        config = self.config
        return nn.ModuleList(
            CMSSMBlock(
                dim=width,
                d_state=config.d_state,
                expand=config.expand,
                dt_rank=config.dt_rank,
                se=config.se,
                se_ratio=config.se_ratio,
                cmn=config.cmn,
                cmn_ratio=config.cmn_ratio,
                cmn_residual=config.cmn_residual,
                drop_path=rates.pop(0),
            )
            for _ in range(depth)
        )

    def _skip(self, stage: int, skip: Tensor, trace: Trace | None) -> Tensor:
        attention = self.skips[stage]
        if isinstance(attention, CrossRegionAttention):
            return attention(skip, trace and trace.under(f"S{stage + 2}"))
        return attention(skip)

    def forward_features(self, image: Tensor, trace: Trace | None = None) -> tuple[Tensor, Features]:
        """Segment, and give the feature maps too.

        Args:
            image: (B, in_channels, H, W), any H and W; it is padded to whole patches and the result cropped back.
            trace: if given, filled with gates, scan inputs and block outputs.

        Returns:
            logits, (B, 1, H, W), and the features.
        """
        height, width = image.shape[-2:]
        stages = len(self.encoder)
        blocks: dict[str, Tensor] = {}

        def run(name: str, stage: nn.Module, x: Tensor) -> Tensor:
            assert isinstance(stage, nn.ModuleList)
            for i, block in enumerate(stage, start=1):
                x = block(x, trace and trace.under(f"{name}.{i}"))
                blocks[f"{name}.{i}"] = x
                if trace is not None:
                    trace.under(f"{name}.{i}").record(output=x)
            return x

        multiple = self.config.patch_size * 2 ** (stages - 1)
        x = self.embedding(pad_to_multiple(image, multiple))  # (B, H/4, W/4, C)
        skips = []
        for i, stage in enumerate(self.encoder):
            if i > 0:
                x = self.merging[i - 1](x)  # (B, H / 2, W / 2, 2 C)
                skips.append(x)
            x = run(f"E{i + 1}", stage, x)
        for i, stage in enumerate(self.decoder):
            if i > 0:
                level = len(skips) - 1
                x = self.expanding[i - 1](x + self._skip(level, skips.pop(), trace))  # (B, 2 H, 2 W, C / 2)
            x = run(f"D{stages - i}", stage, x)
        expanded = self.final_expanding(x)  # (B, H, W, C / 4)
        logits = self.classifier(expanded.permute(0, 3, 1, 2))[..., :height, :width]  # (B, 1, H, W)
        return logits, Features(blocks, expanded)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        return self.forward_features(image)[0]
