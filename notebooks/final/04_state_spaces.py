"""Lesson 4, State spaces and the selective scan: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


# ssm.discretize
def discretize(A: Tensor, B: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """A_bar and B_bar, (N,) each, of A (N,), B (N,) and a scalar step delta."""
    A_bar = torch.exp(delta * A)
    B_bar = (A_bar - 1) / A * B
    return A_bar, B_bar


# ssm.recurrence
def recurrence(a: Tensor, b: Tensor, c: Tensor, u: Tensor) -> Tensor:
    """y (L,) of the input u (L,): h = a h + b u, y = sum of c h. a, b, c: (N,)."""
    h = torch.zeros_like(a)  # (N,)
    y = []
    for u_t in u:
        h = a * h + b * u_t
        y.append((c * h).sum())
    return torch.stack(y)  # (L,)


# ssm.kernel
def kernel(a: Tensor, b: Tensor, c: Tensor, length: int) -> Tensor:
    """The first taps K_j = sum of c a^j b: (length,). a, b, c: (N,)."""
    powers = torch.arange(length)[:, None]  # (L, 1)
    return (c * b * a**powers).sum(-1)  # (L, N) -> (L,)


# ssm.causal_convolution
def causal_convolution(u: Tensor, kernel: Tensor) -> Tensor:
    """y_t = K_0 u_t + K_1 u_(t-1) + .. for u (L,) and kernel (L,)."""
    return torch.stack([(kernel[: t + 1].flip(0) * u[: t + 1]).sum() for t in range(len(u))])


# ssm.selective_scan
def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """S6 of u (B, L, D) with steps delta (B, L, D), rates A (D, N), B and C (B, L, N): (B, L, D)."""
    h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])  # (B, D, N)
    y = []
    for u_t, delta_t, B_t, C_t in zip(u.unbind(1), delta.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        decay = torch.exp(delta_t[..., None] * A)  # (B, D, N)
        h = decay * h + (delta_t * u_t)[..., None] * B_t[:, None, :]  # (B, D, N)
        y.append((h * C_t[:, None, :]).sum(-1))  # (B, D)
    return torch.stack(y, dim=1)  # (B, L, D)


# ssm.project
def project(x: Tensor, x_proj_weight: Tensor, states: int) -> tuple[Tensor, Tensor, Tensor]:
    """The low-rank step (B, L, R), B and C (B, L, N) of tokens x (B, L, D); x_proj_weight: (R + 2 N, D)."""
    made = x @ x_proj_weight.T  # (B, L, R + 2 N)
    low, B, C = made.split([made.shape[-1] - 2 * states, states, states], dim=-1)
    return low, B, C


# ssm.step_size
def step_size(low: Tensor, dt_proj_weight: Tensor, dt_bias: Tensor) -> Tensor:
    """Positive step sizes (B, L, D) from low (B, L, R), dt_proj_weight (D, R) and dt_bias (D,)."""
    return F.softplus(low @ dt_proj_weight.T + dt_bias)


# ssm.inverse_softplus
def inverse_softplus(step: Tensor) -> Tensor:
    """The number whose softplus is a positive step, without overflow and without loss of digits."""
    return step + torch.log(-torch.expm1(-step))


# ssm.initial_steps
def initial_steps(channels: int, smallest: float, largest: float, generator: torch.Generator) -> Tensor:
    """Step sizes (channels,) whose logarithm is uniform between two bounds."""
    low, high = math.log(smallest), math.log(largest)
    return torch.exp(low + (high - low) * torch.rand(channels, generator=generator))


# ssm.remembers
def remembers(steps: Tensor, rate: float, tokens: int) -> Tensor:
    """Share of channels, with steps (D,) and a negative rate, that hold over half of a token `tokens` steps later."""
    return (torch.exp(rate * tokens * steps) > 0.5).double().mean()
