"""Lesson 2, Scores and the supervised loss: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


# scores.confusion
def confusion(prediction: Tensor, truth: Tensor) -> Tensor:
    """TP, FP, FN, TN of each image: bool (B, H, W) twice -> int (B, 4)."""
    pairs = (prediction & truth, prediction & ~truth, ~prediction & truth, ~prediction & ~truth)
    return torch.stack([pair.sum((1, 2)) for pair in pairs], dim=1)


# scores.iou
def iou(counts: Tensor) -> Tensor:
    """TP / (TP + FP + FN), and 1 for 0 / 0: (..., 4) -> float64 (...)."""
    tp, fp, fn, _ = counts.double().unbind(-1)
    union = tp + fp + fn
    return torch.where(union > 0, tp / union.clamp(min=1), 1.0)


# scores.dsc_from_iou
def dsc_from_iou(iou: float) -> float:
    """The Dice coefficient that belongs to an IoU of the same counts."""
    return 2 * iou / (1 + iou)


# scores.pooled_and_mean
def pooled_and_mean(counts: Tensor) -> tuple[float, float]:
    """The IoU of all pixels together, and the mean of the images' IoUs: (images, 4) -> two numbers."""
    return float(iou(counts.sum(0))), float(iou(counts).mean())


# loss.bce
def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy from logits, mean over all pixels: (B, 1, H, W) twice -> a scalar."""
    return (target * F.softplus(-logits) + (1 - target) * F.softplus(logits)).mean()


# loss.dice
def dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice of each image, mean over the images: (B, 1, H, W) twice -> a scalar."""
    p, y = logits.sigmoid().flatten(1), target.flatten(1)  # (B, pixels)
    overlap, area = (p * y).sum(1), p.sum(1) + y.sum(1)  # (B,)
    return 1 - ((2 * overlap + 1) / (area + 1)).mean()


# loss.dice_gradient
def dice_gradient(probability: Tensor, truth: Tensor) -> Tensor:
    """d(1 - (2 I + 1) / (S + 1)) / dp_i of one image: (pixels,) twice -> (pixels,)."""
    overlap, area = (probability * truth).sum(), probability.sum() + truth.sum()
    return ((2 * overlap + 1) - 2 * truth * (area + 1)) / (area + 1) ** 2


# scores.boundary_f1
def boundary_f1(prediction: Tensor, truth: Tensor, tolerance: int) -> float:
    """Harmonic mean of the shares of each boundary that are near the other one: bool (H, W) twice -> a number."""
    edges, near = [], []
    for mask in (prediction, truth):
        around = F.pad(mask, (1, 1, 1, 1))  # with False
        inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        edge = mask & ~inside
        edges.append(edge)
        near.append(F.max_pool2d(edge[None, None].float(), 2 * tolerance + 1, stride=1, padding=tolerance)[0, 0] > 0)
    if not edges[0].any() or not edges[1].any():
        return float(edges[0].any() == edges[1].any())
    precision = float((edges[0] & near[1]).sum() / edges[0].sum())
    recall = float((edges[1] & near[0]).sum() / edges[1].sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
