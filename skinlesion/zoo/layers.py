"""Small parts that several networks of the zoo share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError


def conv_norm(
    dim: int,
    out_dim: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch normalization, activation; (B, dim, H, W) -> (B, out_dim, H / stride, W / stride).

    The convolution has no bias, since the normalization would cancel it.

    Args:
        dim: input channels.
        out_dim: output channels.
        kernel: odd side of the kernel.
        stride: of the convolution.
        dilation: of the kernel.
        groups: of the channels.
        activation: its class, None for none.
    """
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(dim, out_dim, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(out_dim),
    ]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


def resize_like(x: Tensor, other: Tensor) -> Tensor:
    """Bilinear interpolation of x, (B, C, h, w), to the height and width of `other`, (.., H, W)."""
    return F.interpolate(x, size=other.shape[-2:], mode="bilinear", align_corners=False)


def channel_shuffle(x: Tensor) -> Tensor:
    """Interleave the first and the second half of the channels, so that the next split mixes them.

    Args:
        x: (B, H, W, C), even C.

    Returns:
        (B, H, W, C) with the channels 0, C / 2, 1, C / 2 + 1, ...
    """
    return x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)  # (B, H, W, 2, C/2) -> (B, H, W, C/2, 2) -> C


def require_multiple(name: str, value: int, factor: int) -> None:
    """Refuse an option that does not divide.

    Raises:
        SkinlesionError: `value` is not a multiple of `factor`.
    """
    if value % factor:
        raise SkinlesionError(f"{name} must be a multiple of {factor} for this model; got {value}.")


class TransformerLayer(nn.Module):
    """A pre-norm Transformer layer: self-attention, then an MLP, each in its own residual.

    Args:
        dim: channels of a token.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over `dim`.
    """

    def __init__(self, *, dim: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.projection = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim))

    def attention(self, x: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, C)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, L, 3, heads, C / heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, L, C / heads)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, L, C)
        return self.projection(y)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, C)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def channel_gate(dim: int, squeezed: int, gate: type[nn.Module] = nn.Sigmoid) -> nn.Sequential:
    """Squeeze-and-excitation with biases; (B, dim, H, W) -> its gate (B, dim, 1, 1).

    Args:
        dim: channels.
        squeezed: channels between the two layers.
        gate: activation that makes the gate.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(dim, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, dim, 1), gate()
    )


def channel_statistics(x: Tensor) -> Tensor:
    """Mean and maximum over the channels; (B, C, H, W) -> (B, 2, H, W)."""
    return torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
