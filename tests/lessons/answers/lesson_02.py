"""Lesson 2: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from skinlesion import lessons


def solution(name):
    return lessons.solution(name).answer


def log_with_epsilon(logits, target):
    p = logits.sigmoid()
    return -(target * (p + 1e-8).log() + (1 - target) * (1 - p + 1e-8).log()).mean()


def dice_with_small_constant(logits, target):
    p, y = logits.sigmoid().flatten(1), target.flatten(1)
    return 1 - ((2 * (p * y).sum(1) + 1e-5) / (p.sum(1) + y.sum(1) + 1e-5)).mean()


def by_autograd(probability, truth):
    p = probability.clone().requires_grad_()
    loss = 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    loss.backward()
    return p.grad


def iou_of_the_mean(counts):
    total = counts.double().mean(0)
    return float(total[0] / total[:3].sum()), float((counts[:, 0] / counts[:, :3].sum(1).clamp(min=1)).mean())


def bce_per_image(logits, target):
    each = target * F.softplus(-logits) + (1 - target) * F.softplus(logits)
    return each.sum((1, 2, 3)).mean()


def bce_by_library(logits, target):
    return F.binary_cross_entropy_with_logits(logits, target)


def dice_channels_apart(logits, target):
    p = logits.sigmoid()
    overlap, area = (p * target).sum((1, 3)), (p + target).sum((1, 3))
    return 1 - ((2 * overlap + 1) / (area + 1)).mean()


def bce_weighted(logits, target):
    each = target * F.softplus(-logits) + (1 - target) * F.softplus(logits)
    return (each * (1 + target)).mean()


def dice_times_two(logits, target):
    p, y = logits.sigmoid().flatten(1), target.flatten(1)
    return 1 - ((2 * (p * y).sum(1) + 2) / (p.sum(1) + y.sum(1) + 2)).mean()


def confusion_lists(prediction, truth):
    rows = []
    for p, t in zip(prediction.tolist(), truth.tolist(), strict=True):
        pairs = [(a, b) for x, y in zip(p, t, strict=True) for a, b in zip(x, y, strict=True)]
        rows.append([pairs.count(k) for k in ((True, True), (True, False), (False, True), (False, False))])
    return torch.tensor(rows)


def gradient_by_formula(p, y):
    f, g = 2 * (p @ y) + 1, p.sum() + y.sum() + 1
    return -(2 * y * g - f) / g**2


def confusion_by_codes(prediction, truth):
    codes = 3 - (prediction.int() + 2 * truth.int())  # TP 0, FN 1, FP 2, TN 3
    counted = torch.stack([torch.bincount(each.flatten(), minlength=4) for each in codes])
    return counted[:, [0, 2, 1, 3]]


def stable_by_maximum(logits, target):
    return (logits.clamp(min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))).mean()


def dice_of_exponentials(logits, target):
    p = 1 / (1 + torch.exp(-logits))
    each = [1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) for a, b in zip(p, target, strict=True)]
    return sum(each) / len(each)


def _outline_score(neighbors=1, metric="chessboard", outer=False):
    shape = ndimage.generate_binary_structure(2, neighbors)

    def score(prediction, truth, tolerance):
        masks = [np.pad(mask.numpy(), 4) for mask in (prediction, truth)]
        if outer:
            edges = [ndimage.binary_dilation(mask, shape) & ~mask for mask in masks]
        else:
            edges = [mask & ~ndimage.binary_erosion(mask, shape) for mask in masks]
        if not all(edge.any() for edge in edges):
            return float(edges[0].any() == edges[1].any())
        if metric == "chessboard":
            far = [ndimage.distance_transform_cdt(~edge, metric) for edge in edges]
        else:
            far = [ndimage.distance_transform_edt(~edge) for edge in edges]
        shares = [(far[1][edges[0]] <= tolerance).mean(), (far[0][edges[1]] <= tolerance).mean()]
        return np.float64(0 if sum(shares) == 0 else 2 * shares[0] * shares[1] / sum(shares))

    return score


def dice_another_way(logits, target):
    total = 0
    for z, y in zip(logits, target, strict=False):
        p = 1 / (1 + torch.exp(-z))
        total = total + 1 - (2 * torch.vdot(p.flatten(), y.flatten()) + 1) / (p.sum() + y.sum() + 1)
    return total / len(logits)


WRONG = [
    ("scores.confusion", lambda p, t: torch.stack([p & t, p & ~t, ~p & t, ~p & ~t]).sum((2, 3)), "axes"),
    ("scores.confusion", lambda p, t: solution("scores.confusion")(p, t).float(), "int"),
    ("scores.iou", lambda c: solution("scores.iou")(c).float(), "float32"),
    ("scores.iou", lambda c: c[..., 0].double() / (c[..., :3].sum(-1) + 1e-8), "0/0|0 / 0|no lesion|empty"),
    ("scores.pooled_and_mean", lambda c: (c[:, 0].sum() / c[:, :3].sum(), (c[:, 0] / c[:, :3].sum(1)).mean()), "NaN"),
    ("loss.bce", log_with_epsilon, "epsilon|clamp|small constant"),
    ("loss.dice", dice_with_small_constant, "constant"),
    ("loss.dice_gradient", by_autograd, "autograd"),
    (
        "scores.confusion",
        lambda p, t: torch.tensor([(p & t).sum(), (p & ~t).sum(), (~p & t).sum(), (~p & ~t).sum()]),
        "over all images together",
    ),
    ("scores.pooled_and_mean", iou_of_the_mean, "0/0|without a lesion|empty|no lesion"),
    ("loss.bce", bce_per_image, "sum"),
    ("loss.bce", bce_by_library, "write it"),
    ("loss.dice", dice_channels_apart, "row|column|axes|pixels|image"),
    ("loss.dice_gradient", lambda p, y: solution("loss.dice_gradient")(p, y).mean(), "shape|one number"),
    ("scores.confusion", lambda p, t: solution("scores.confusion")(t, p), "swapped"),
    ("scores.iou", lambda c: solution("scores.iou")(c.flip(-1)), "backward|order"),
    ("scores.dsc_from_iou", lambda v: 2 * v / (1 + 2 * v), "in place of|close|1"),
    ("loss.bce", bce_weighted, "in place of|target|weigh|close"),
    ("loss.dice", dice_times_two, "close|constant|in place of"),
    ("scores.boundary_f1", _outline_score(neighbors=2), r"^(?!.*Error)"),
    ("scores.boundary_f1", _outline_score(metric="euclidean"), r"^(?!.*Error)"),
    ("scores.boundary_f1", _outline_score(outer=True), r"^(?!.*Error)"),
    (
        "scores.pooled_and_mean",
        lambda c: (float(solution("scores.iou")(c.sum(0))), float(solution("scores.iou")(c).median())),
        "median",
    ),
    (
        "loss.bce",
        lambda z, y: (y * F.softplus(-z) + (1 - y) * F.softplus(z)).flatten(1).sum(1).mean(),
        "sum instead of a mean",
    ),
    ("loss.bce", lambda z, y: (y * F.softplus(-z) + (1 - y) * F.softplus(z)).mean() / math.log(2), "ln 2"),
    ("loss.bce", lambda z, y: (2 * y * F.softplus(-z) + (1 - y) * F.softplus(z)).mean(), "in place|target"),
]
RIGHT = [
    ("scores.confusion", confusion_lists),
    (
        "scores.pooled_and_mean",
        lambda c: torch.stack([solution("scores.iou")(c.sum(0)), solution("scores.iou")(c).mean()]).tolist(),
    ),
    ("loss.bce", lambda z, y: -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z)).mean()),
    ("loss.dice_gradient", gradient_by_formula),
    ("scores.confusion", confusion_by_codes),
    ("scores.iou", lambda c: torch.nan_to_num(c[..., 0].double() / c[..., :3].double().sum(-1), nan=1.0)),
    ("scores.dsc_from_iou", lambda iou: 1 - (1 - iou) / (1 + iou)),
    ("scores.pooled_and_mean", lambda c: [*map(float, lessons.solution("scores.pooled_and_mean")(c))]),
    ("loss.bce", stable_by_maximum),
    ("loss.dice", dice_of_exponentials),
    ("scores.boundary_f1", _outline_score()),
    (
        "scores.confusion",
        lambda p, t: torch.stack(
            [
                torch.bincount((2 * ~a + (a ^ b) * 1).flatten().long(), minlength=4)[torch.tensor([0, 1, 3, 2])]
                for a, b in zip(p, t, strict=False)
            ]
        ),
    ),
    (
        "scores.iou",
        lambda counts: torch.where(
            counts[..., :3].sum(-1) == 0, 1.0, counts[..., 0].double() / counts[..., :3].sum(-1)
        ).double(),
    ),
    ("scores.dsc_from_iou", lambda iou: 2 - 2 / (1 + iou)),
    (
        "scores.pooled_and_mean",
        lambda counts: [
            v.item()
            for v in (lambda f: (f(counts.sum(0, keepdim=True))[0], f(counts).mean()))(
                lambda c: torch.nan_to_num(c[:, 0].double() / c[:, :3].sum(1), nan=1.0)
            )
        ],
    ),
    ("loss.bce", lambda z, y: (torch.logaddexp(z, torch.zeros_like(z)) - z * y).sum() / z.numel()),
    ("loss.bce", lambda z, y: -torch.cat([F.logsigmoid(z)[y == 1], F.logsigmoid(-z)[y == 0]]).mean()),
    ("loss.dice", dice_another_way),
    (
        "loss.dice_gradient",
        lambda p, y: torch.tensor(
            [
                (2 * float(p @ y) + 1 - 2 * v * (float(p.sum() + y.sum()) + 1)) / (float(p.sum() + y.sum()) + 1) ** 2
                for v in y.tolist()
            ]
        ),
    ),
]
