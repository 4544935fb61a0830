"""Lesson 9, The CM-SSM block: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# block.ss2d_branch
def ss2d_branch(
    u: Tensor,
    in_proj: nn.Linear,
    convolution: nn.Conv2d,
    scan,
    norm: nn.LayerNorm,
    se: nn.Module,
    out_proj: nn.Linear,
) -> Tensor:
    """The first branch without its LayerNorm: u (B, H, W, C) -> (B, H, W, C); scan: (B, H, W, D) -> (B, H, W, D)."""
    x, z = in_proj(u).chunk(2, dim=-1)  # (B, H, W, D) each
    x = convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, H, W, D)
    y = se(norm(scan(F.silu(x))))
    return out_proj(y * F.silu(z))  # (B, H, W, C)


# block.cm_ssm_block
def cm_ssm_block(x: Tensor, norm1: nn.LayerNorm, ss2d, norm2: nn.LayerNorm, cmn) -> Tensor:
    """Both branches, each with its norm and its residual: x (B, H, W, C) -> (B, H, W, C)."""
    x = x + ss2d(norm1(x))
    return x + cmn(norm2(x))


# block.drop_path
def drop_path(branch: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Zero the branch (B, H, W, C) of an image with probability rate; scale the others to keep the expected value."""
    kept = torch.rand(len(branch), generator=generator) >= rate  # (B,)
    return branch * kept[:, None, None, None] / (1 - rate)


# block.parameters
def parameters(dim: int, states: int) -> int:
    """Number of learned parameters of the block without SE and CMN, for dim channels and this many states."""
    inner, rank, routes = 2 * dim, math.ceil(dim / 16), 4
    norms = 2 * dim + 2 * inner
    layers = dim * 2 * inner + inner * dim
    convolution = 9 * inner + inner
    projections = routes * (inner * (rank + 2 * states) + rank * inner + inner)
    state_space = routes * (inner * states + inner)
    return norms + layers + convolution + projections + state_space


# block.operations
def operations(height: int, width: int, dim: int, states: int) -> tuple[int, int, int]:
    """Multiply-adds of the layers, multiply-adds of the projections, operations of the scan; one image, no SE, no CMN."""
    tokens, inner, rank, routes = height * width, 2 * dim, math.ceil(dim / 16), 4
    layers = tokens * (dim * 2 * inner + 9 * inner + inner * dim)
    projections = tokens * routes * (inner * (rank + 2 * states) + rank * inner)
    scan = tokens * routes * inner * (9 * states + 1)
    return layers, projections, scan


# block.lonely_scan
def lonely_scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """SS2D's scan of x (B, H, W, D) with each token as a separate sequence: (B, H, W, D)."""
    step = F.softplus(delta + delta_bias)  # (B, H, W, K, D)
    meet = (B * C).sum(-1, keepdim=True)  # (B, H, W, K, 1)
    return x * (step * meet + D).sum(-2)
