r"""The whole network: VM-UNet's skeleton with CM-SSM blocks and cross-region attention (paper figure 1; A10, A11, A12).

.. math:: D_i = \mathrm{blocks}\big(\mathrm{expand}(D_{i+1} + \mathrm{CRA}(S_{i+1}))\big)

VM-UNet is Ruan et al., https://arxiv.org/abs/2402.02491. Weights start at random: no pretrained ones exist for the
paper's blocks (A36).
"""

import re
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.model.block import CMSSMBlock
from skinlesion.model.cmn import ChannelMixing
from skinlesion.model.config import ModelConfig
from skinlesion.model.cra import CrossRegionAttention
from skinlesion.model.patches import PatchEmbedding, PatchExpanding, PatchMerging


class Features(NamedTuple):
    """The feature maps that the distillation losses compare (paper eqs. 8 and 9).

    Attributes:
        blocks: the output of every block, (B, H, W, C), by name in the order E1.1, E1.2, .., D1.1.
        expanded: the map before the last 1 x 1 convolution, (B, H, W, C) at the image's size.
    """

    blocks: dict[str, Tensor]
    expanded: Tensor


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides are multiples of `multiple`; (B, C, H, W)."""
    height, width = image.shape[-2:]
    extra = (0, -width % multiple, 0, -height % multiple)
    return F.pad(image, extra, mode="replicate") if any(extra) else image


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _initialize_as_convolutions(network: nn.Module) -> None:
    """Give CMN's and CRA's pointwise layers PyTorch's default for a convolution, which Linear shares (A40)."""
    for module in network.modules():
        if isinstance(module, ChannelMixing | CrossRegionAttention):
            for layer in module.children():
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()


class CMSSMUNet(nn.Module):
    """The paper's network; with `se`, `cmn` and `cra` off it is VM-UNet.

    The encoder halves the grid between stages; the inputs of its stages 2, 3, .. are the skips. The decoder adds a
    skip (through its CRA) and then doubles the grid at the start of each stage but the first.

    Points: those of its parts, by the paper's names: "embedding.output", "E1.1.ss2d.x", "E1.1.se.gate",
    "E1.1.cmn.hidden", "E1.1.output", .., "S2.cra.gate_h", .., "D1.1.output", "expanded.output".

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
        self.head = nn.Conv2d(config.dim // config.patch_size, 1, 1)

    def _stage(self, width: int, depth: int, rates: list[float]) -> nn.ModuleList:
        """`depth` blocks, which take their stochastic-depth rates from the front of `rates`."""
        return nn.ModuleList(CMSSMBlock(dim=width, config=self.config, drop_path=rates.pop(0)) for _ in range(depth))

    def public_name(self, path: str) -> str:
        """The paper's name of a module: "encoder.2.0.ss2d.se" -> "E3.1.se", "skips.0" -> "S2.cra"."""
        stages = len(self.encoder)
        path = path.replace("final_expanding", "expanded").replace("ss2d.se", "se")
        path = re.sub(r"^skips\.(\d+)", lambda m: f"S{int(m[1]) + 2}.cra", path)
        path = re.sub(r"^encoder\.(\d+)\.(\d+)", lambda m: f"E{int(m[1]) + 1}.{int(m[2]) + 1}", path)
        return re.sub(r"^decoder\.(\d+)\.(\d+)", lambda m: f"D{stages - int(m[1])}.{int(m[2]) + 1}", path)

    def forward_features(self, image: Tensor) -> tuple[Tensor, Features]:
        """Segment, and return the feature maps that the distillation losses compare.

        Args:
            image: (B, in_channels, H, W), any H and W; it is padded to whole patches and the result cropped back.

        Returns:
            logits, (B, 1, H, W), and the features.

        Raises:
            SkinlesionError: the image has another shape, no pixels, or an integer dtype.
        """
        self._check(image)
        height, width = image.shape[-2:]
        stages = len(self.encoder)
        blocks: dict[str, Tensor] = {}

        def run(name: str, stage: nn.Module, x: Tensor) -> Tensor:
            assert isinstance(stage, nn.ModuleList)
            for i, block in enumerate(stage, start=1):
                x = blocks[f"{name}.{i}"] = block(x)
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
                x = self.expanding[i - 1](x + self.skips[level](skips.pop()))  # (B, 2 H, 2 W, C / 2)
            x = run(f"D{stages - i}", stage, x)
        expanded = self.final_expanding(x)  # (B, H, W, C / 4)
        logits = self.head(expanded.permute(0, 3, 1, 2))[..., :height, :width]  # (B, 1, H, W)
        return logits, Features(blocks, expanded)

    def _check(self, image: Tensor) -> None:
        channels = self.config.in_channels
        if image.ndim != 4 or image.shape[1] != channels or 0 in image.shape:
            raise SkinlesionError(
                f"The network takes images (B, {channels}, H, W), not {tuple(image.shape)}; "
                "Segmenter.segment takes a file or an array."
            )
        if not image.is_floating_point():
            raise SkinlesionError(f"The network takes floating-point images in [0, 1], not {image.dtype}.")

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        return self.forward_features(image)[0]
