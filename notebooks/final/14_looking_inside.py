"""Lesson 14, Looking inside: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import numpy as np
import torch
from scipy import stats
from torch import Tensor


# looking.image_share
def image_share(gates: Tensor) -> Tensor:
    """The share of the gates' variance that is due to the image: (images, C) -> a scalar in [0, 1]."""
    return gates.var(dim=0, correction=0).mean() / gates.var(correction=0)


# looking.region_score
def region_score(logits: Tensor, region: Tensor) -> Tensor:
    """Mean logit over a region: logits (B, 1, H, W), region bool (H, W) -> (B,)."""
    return logits[:, 0, region].mean(dim=1)


# looking.integrated_gradients
def integrated_gradients(score, image: Tensor, base: Tensor, steps: int) -> Tensor:
    """Integrated gradients at midpoints, summed over channels: image and base (1, C, H, W) -> (H, W)."""
    along = (torch.arange(steps) + 0.5) / steps
    way = (base + along.view(-1, 1, 1, 1) * (image - base)).detach().requires_grad_()  # (steps, C, H, W)
    (slope,) = torch.autograd.grad(score(way).sum(), way)
    return ((image - base)[0] * slope.mean(0)).sum(0)


# looking.deletion_curve
def deletion_curve(score, image: Tensor, base: Tensor, importance: Tensor, points: int) -> Tensor:
    """The score while the most important pixels are replaced by the base first: importance (H, W) -> (points,)."""
    place = (-importance.flatten()).argsort().argsort().view(importance.shape)  # 0 for the most important
    gone = (torch.arange(points) * importance.numel() // (points - 1)).view(-1, 1, 1, 1)  # pixels replaced
    with torch.no_grad():
        return score(torch.where(place < gone, base, image))


# looking.rank_similarity
def rank_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of the absolute values of two maps (H, W); equal values share their mean rank."""
    ranks = [stats.rankdata(np.abs(each)) for each in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
