r"""UTNetV2, published as MedFormer (Gao et al.): attention between a map and a small summary of it.

Paper: https://arxiv.org/abs/2203.00131

.. math:: \mathrm{map} \leftarrow \mathrm{softmax}(Q_m K_s^\top / \sqrt d)\, V_s, \qquad
    \mathrm{summary} \leftarrow \mathrm{softmax}(Q_s K_m^\top / \sqrt d)\, V_m

- Original: yhygao/CBIM-Medical-Image-Segmentation, Apache-2.0. Written here from the paper and the repository's
  configuration for 2D images (width 32, summary of 3 x 3, expansion 2); the code was read for facts, not copied.
- Size at the defaults: 19,147,585 parameters by our count. Skin-lesion tables list 12.80 M for UTNetV2: that is the
  repository's configuration of April 2022, before the network was renamed, with expansion 1, a summary of 2 x 2 that
  is made once and then projected from stage to stage, and one convolutional and one attention block where there are
  now two attention blocks of 128 channels. The layers of that configuration add up to 12,797,697.
- Deviations: no auxiliary head (deep supervision); parts that cannot influence the output are left out, namely the
  summary's path through the two convolutional decoder stages and its update in the last attention block.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from skinlesion.model.config import Config
from skinlesion.model.unet import pad_to_multiple
from skinlesion.zoo.layers import TransformerLayer, channel_gate, resize_like

HEADS = (4, 8, 16)  # at the three coarser resolutions; a head is `dim` wide
FUSION_HEADS = 16
FUSION_DEPTH = 2


@dataclass(frozen=True, kw_only=True)
class UTNetV2Config(Config):
    """Sizes of UTNetV2.

    Attributes:
        dim: channels of the first stage; each stage doubles them. It is also the width of an attention head.
        conv_depth: convolutional blocks in each of the three stages of the finest two resolutions.
        depth: attention blocks in each of the five stages of the coarser three resolutions.
        map_size: side of the summary ("semantic map").
        expansion: hidden width of an attention block's feed-forward part over its width.
        in_channels: channels of the image.
    """

    dim: int = 32
    conv_depth: int = 2
    depth: int = 2
    map_size: int = 3
    expansion: int = 2
    in_channels: int = 3


def _pre_activated(dim: int, out_dim: int, kernel: int, groups: int = 1) -> nn.Sequential:
    """Batch normalization, GELU, convolution."""
    convolution = nn.Conv2d(dim, out_dim, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(nn.BatchNorm2d(dim), nn.GELU(), convolution)


class ConvolutionBlock(nn.Module):
    """A residual block of two pre-activated 3 x 3 convolutions.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(_pre_activated(dim, dim, 3), _pre_activated(dim, dim, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, dim, H, W)."""
        return x + self.convolutions(x)


class FeedForward(nn.Module):
    """MBConv with pre-activation: widen, convolve each channel, gate, narrow; residual.

    Args:
        dim: channels.
        expansion: widened over narrow.
    """

    def __init__(self, dim: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * dim
        self.expand = nn.Sequential(_pre_activated(dim, hidden, 1), _pre_activated(hidden, hidden, 3, groups=hidden))
        self.gate = channel_gate(hidden, max(1, hidden // 4))
        self.narrow = nn.Sequential(nn.BatchNorm2d(hidden), nn.Conv2d(hidden, dim, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, dim, H, W)."""
        y = self.expand(x)
        return x + self.narrow(y * self.gate(y))


def separable(dim: int, out_dim: int) -> nn.Sequential:
    """A 3 x 3 convolution of each channel, then a 1 x 1 convolution."""
    return nn.Sequential(
        nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False), nn.Conv2d(dim, out_dim, 1, bias=False)
    )


def _to_heads(x: Tensor, heads: int) -> Tensor:
    """(B, C, H, W) -> (B, heads, H W, C / heads)."""
    return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)  # (B, heads, C / heads, H W), then transposed


def _from_heads(x: Tensor, like: Tensor) -> Tensor:
    """(B, heads, H W, C / heads) -> (B, C, H, W) of `like`."""
    return x.transpose(2, 3).flatten(1, 2).unflatten(2, like.shape[-2:])  # (B, C, H W), then split


class BidirectionalAttention(nn.Module):
    """B-MHA: pixels and summary tokens attend to each other with one matrix of scores.

    Normalized over tokens, the scores are the pixels' attention to the summary; normalized over pixels, they are the
    tokens' attention to the image. Cost is linear in the number of pixels.

    Args:
        dim: channels of the features and of the summary.
        heads: attention heads.
        expansion: of the feed-forward part.
        update_map: whether to update the summary as well; not needed in the last block.
    """

    def __init__(self, *, dim: int, heads: int, expansion: int, update_map: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.BatchNorm2d(dim)
        self.map_norm = nn.BatchNorm2d(dim)
        self.query_value = separable(dim, 2 * dim if update_map else dim)
        self.map_query_value = nn.Conv2d(dim, 2 * dim, 1, bias=False)
        self.projection = separable(dim, dim)
        self.map_projection = nn.Conv2d(dim, dim, 1, bias=False) if update_map else None
        self.feed_forward = FeedForward(dim, expansion)

    def forward(self, x: Tensor, summary: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, H, W) and summary (B, C, h, w) -> both, updated."""
        query_value = self.query_value(self.norm(x))
        map_query, map_value = self.map_query_value(self.map_norm(summary)).chunk(2, dim=1)  # (B, C, h, w) each
        query = _to_heads(query_value[:, : x.shape[1]], self.heads)  # (B, heads, H W, c)
        key = _to_heads(map_query, self.heads)  # (B, heads, h w, c)
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5  # (B, heads, H W, h w)

        taken = scores.softmax(dim=3) @ _to_heads(map_value, self.heads)  # (B, heads, H W, c)
        renewed = self.feed_forward(x + self.projection(_from_heads(taken, x)))
        if self.map_projection is None:
            return renewed, summary
        value = _to_heads(query_value[:, x.shape[1] :], self.heads)  # (B, heads, H W, c)
        gathered = scores.softmax(dim=2).transpose(2, 3) @ value  # (B, heads, h w, c)
        return renewed, summary + self.map_projection(_from_heads(gathered, summary))


class AttentionStage(nn.Module):
    """Blocks of bidirectional attention at one resolution.

    Args:
        dim: channels.
        heads: attention heads.
        config: number and expansion of the blocks.
        update_map: whether the summary is needed after this stage.
    """

    def __init__(self, *, dim: int, heads: int, config: UTNetV2Config, update_map: bool = True) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            BidirectionalAttention(
                dim=dim, heads=heads, expansion=config.expansion, update_map=update_map or i < config.depth - 1
            )
            for i in range(config.depth)
        )

    def forward(self, x: Tensor, summary: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, H, W) and summary (B, C, h, w) -> both, renewed."""
        for block in self.blocks:
            x, summary = block(x, summary)
        return x, summary


class MapGeneration(nn.Module):
    """Summarize a feature map: each summary token is a weighted mean over all pixels, with weights computed from them.

    Args:
        dim: channels.
        map_size: side of the summary.
    """

    def __init__(self, dim: int, map_size: int) -> None:
        super().__init__()
        self.map_size = map_size
        self.values = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.weights = nn.Conv2d(dim, map_size**2, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, map_size, map_size)."""
        weights = self.weights(x).flatten(2).softmax(dim=2)  # (B, map_size^2, H W)
        summary = self.values(x).flatten(2) @ weights.transpose(1, 2)  # (B, C, map_size^2)
        return summary.unflatten(2, (self.map_size, self.map_size))


class MapFusion(nn.Module):
    """Fuse the summaries of the three coarse encoder stages with one Transformer.

    Args:
        dims: channels of each summary.
        dim: common width.
    """

    POINTS = ()  # a list of summaries is no activation

    def __init__(self, dims: list[int], dim: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(width, dim, 1, bias=False) for width in dims)
        self.layers = nn.Sequential(
            *(TransformerLayer(dim=dim, heads=FUSION_HEADS, mlp_ratio=1) for _ in range(FUSION_DEPTH))
        )
        self.restore = nn.ModuleList(nn.Conv2d(dim, width, 1, bias=False) for width in dims)

    def forward(self, summaries: list[Tensor]) -> list[Tensor]:
        """Each (B, dims[i], h, w) -> the same shapes."""
        projected = [project(x).flatten(2) for project, x in zip(self.project, summaries, strict=True)]
        tokens = self.layers(torch.cat(projected, dim=2).transpose(1, 2))  # (B, 3 h w, dim)
        parts = tokens.transpose(1, 2).chunk(len(summaries), dim=2)  # (B, dim, h w) each
        size = summaries[0].shape[-2:]
        return [restore(part.unflatten(2, size)) for restore, part in zip(self.restore, parts, strict=True)]


class Merging(nn.Module):
    """Halve the size: the four pixels of each cell, normalized, through a separable convolution.

    Args:
        dim: input channels.
        out_dim: output channels.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.PixelUnshuffle(2), nn.BatchNorm2d(4 * dim), separable(4 * dim, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, out_dim, H / 2, W / 2)."""
        return self.layers(x)


class UTNetV2(nn.Module):
    """A convolutional stem, three attention stages down, two up, and a convolutional end.

    Args:
        config: sizes.
    """

    def __init__(self, config: UTNetV2Config) -> None:
        super().__init__()
        self.config = config
        widths = [config.dim * 2**i for i in range(5)]

        def convolutions(width: int) -> nn.Sequential:
            return nn.Sequential(*(ConvolutionBlock(width) for _ in range(config.conv_depth)))

        stem = nn.Conv2d(config.in_channels, config.dim, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, ConvolutionBlock(config.dim))
        self.merging = nn.ModuleList(Merging(dim, out) for dim, out in pairwise(widths))
        self.fine = convolutions(widths[1])
        self.generation = nn.ModuleList(MapGeneration(width, config.map_size) for width in widths[2:])
        self.encoder = nn.ModuleList(
            AttentionStage(dim=width, heads=h, config=config) for width, h in zip(widths[2:], HEADS, strict=True)
        )
        self.fusion = MapFusion(widths[2:], 16 * config.dim)
        self.reduction = nn.ModuleList(self._reduction(3 * width, width) for width in widths[-2::-1])
        self.map_reduction = nn.ModuleList(nn.Conv2d(3 * width, width, 1, bias=False) for width in widths[3:1:-1])
        self.decoder = nn.ModuleList(
            AttentionStage(dim=widths[i + 2], heads=HEADS[i], config=config, update_map=i > 0) for i in (1, 0)
        )
        self.end = nn.ModuleList([convolutions(widths[1]), convolutions(widths[0])])
        self.head = nn.Conv2d(config.dim, 1, 1)

    @staticmethod
    def _reduction(dim: int, out_dim: int) -> nn.Sequential:
        return nn.Sequential(nn.BatchNorm2d(dim), nn.Conv2d(dim, out_dim, 1, bias=False))

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, 1, H, W)."""
        height, width = image.shape[-2:]
        x = self.stem(pad_to_multiple(image, 16))
        skips = [x]
        x = self.fine(self.merging[0](x))
        summaries = []
        for merging, generation, stage in zip(self.merging[1:], self.generation, self.encoder, strict=True):
            skips.append(x)
            x = merging(x)
            x, summary = stage(x, generation(x))
            summaries.append(summary)

        summaries = self.fusion(summaries)
        summary = summaries.pop()
        for reduction, map_reduction, stage in zip(self.reduction[:2], self.map_reduction, self.decoder, strict=True):
            skip = skips.pop()
            x = reduction(torch.cat([resize_like(x, skip), skip], dim=1))
            summary = map_reduction(torch.cat([summary, summaries.pop()], dim=1))
            x, summary = stage(x, summary)
        for reduction, convolutions in zip(self.reduction[2:], self.end, strict=True):
            skip = skips.pop()
            x = convolutions(reduction(torch.cat([resize_like(x, skip), skip], dim=1)))
        return self.head(x)[..., :height, :width]
