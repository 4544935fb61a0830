"""Lesson 12, Feature distillation: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch.nn.functional as F
from torch import Tensor


# distill.redundancy
def redundancy(x: Tensor) -> Tensor:
    """Mean absolute correlation of different channels: (B, H, W, C) -> a scalar."""
    rows = x.flatten(0, 2)  # (B H W, C)
    rows = rows - rows.mean(0)
    rows = rows / rows.norm(dim=0).clamp_min(1e-12)
    r = (rows.T @ rows).abs()  # (C, C)
    return (r.sum() - r.trace()) / (len(r) * (len(r) - 1))


# distill.average_pool
def average_pool(x: Tensor, factor: int) -> Tensor:
    """The mean of each factor x factor cell: (B, H, W, C) -> (B, H / factor, W / factor, C)."""
    b, h, w, c = x.shape
    return x.reshape(b, h // factor, factor, w // factor, factor, c).mean((2, 4))  # (B, H / f, W / f, C)


# distill.cfd
def cfd(student: Tensor, teacher: Tensor, student_channels: Tensor, teacher_channels: Tensor) -> Tensor:
    """Mean squared distance of the chosen channels; the teacher is fixed."""
    return F.mse_loss(student[..., student_channels], teacher.detach()[..., teacher_channels])


# distill.expected_cfd
def expected_cfd(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of CFD over all draws: (B, h, w, Cs), (B, h, w, Ct) -> a scalar."""
    pull = (student - teacher.mean(-1, keepdim=True)).square().mean()
    return pull + teacher.var(-1, correction=0).mean()


# distill.rank_channels
def rank_channels(x: Tensor) -> Tensor:
    """Channel numbers, highest mean of the normalized map first: (B, H, W, C) -> (C,)."""
    norm = x.square().sum((1, 2)).sqrt().clamp_min(1e-12)  # (B, C)
    return (x.sum((1, 2)) / norm).mean(0).argsort(descending=True)


# distill.ifd
def ifd(x: Tensor) -> Tensor:
    """Mean squared distance of the upper and the lower half of the ranked channels: a scalar."""
    order, half = rank_channels(x.detach()), x.shape[-1] // 2
    return F.mse_loss(x[..., order[:half]], x[..., order[half:]])
