r"""Changing the grid: patch embedding, merging and expanding (paper section 3.1; A1).

.. math:: (H, W, C) \xrightarrow{\text{merge}} (H/2, W/2, 2C), \qquad
    (H, W, C) \xrightarrow{\text{expand}} (2H, 2W, C/2)

Merging is Swin Transformer's (https://arxiv.org/abs/2103.14030), expanding Swin-Unet's
(https://arxiv.org/abs/2105.05537); the sizes are VM-UNet's. Inside the network tensors are channels last, (B, H, W, C).
"""

from torch import Tensor, nn

from skinlesion.hooks import point
from skinlesion.model.norm import LayerNorm


def space_to_depth(x: Tensor) -> Tensor:
    """Concatenate the four tokens of each 2 x 2 cell, in the order (0,0), (1,0), (0,1), (1,1) of (row, column).

    Args:
        x: (B, H, W, C) with even H and W.

    Returns:
        (B, H / 2, W / 2, 4 C).
    """
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)  # (B, H/2, row, W/2, column, C)
    return x.permute(0, 1, 3, 4, 2, 5).reshape(batch, height // 2, width // 2, 4 * channels)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """Turn each token's channels into a factor x factor cell of tokens, row by row.

    Args:
        x: (B, H, W, factor * factor * C).
        factor: side of the cell.

    Returns:
        (B, factor * H, factor * W, C).
    """
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, factor, factor, channels // factor**2)  # (B, H, W, row, column, C)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, factor * height, factor * width, channels // factor**2)


class PatchEmbedding(nn.Module):
    """Image to tokens: a convolution whose stride is its kernel size, then LayerNorm.

    Args:
        in_channels: channels of the image.
        dim: channels of a token.
        patch_size: side of a patch in pixels.
    """

    POINTS = ("output",)

    def __init__(self, *, in_channels: int, dim: int, patch_size: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, H / patch_size, W / patch_size, dim)."""
        return point(self, "output", self.norm(self.projection(image).permute(0, 2, 3, 1).contiguous()))


class PatchMerging(nn.Module):
    """Halve the grid and double the channels.

    Args:
        dim: input channels.
    """

    POINTS = ("output",)

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, dim) -> (B, H / 2, W / 2, 2 dim), even H and W."""
        return point(self, "output", self.reduction(self.norm(space_to_depth(x))))


class PatchExpanding(nn.Module):
    """Enlarge the grid `factor` times and divide the channels.

    Args:
        dim: input channels.
        out_dim: output channels.
        factor: 2 between decoder stages, `patch_size` before the head.
    """

    POINTS = ("output",)

    def __init__(self, *, dim: int, out_dim: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.expansion = nn.Linear(dim, factor**2 * out_dim, bias=False)
        self.norm = LayerNorm(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, dim) -> (B, factor H, factor W, out_dim)."""
        return point(self, "output", self.norm(depth_to_space(self.expansion(x), self.factor)))
