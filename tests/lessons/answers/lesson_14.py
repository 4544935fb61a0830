"""Lesson 14: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import numpy as np
import torch
from scipy import stats

from skinlesion import lessons


def image_takes_gradients(score, image, base, steps):
    image.requires_grad_()
    total = 0
    for k in range(steps):
        point = base + (k + 0.5) / steps * (image - base)
        total = total + torch.autograd.grad(score(point).sum(), point)[0]
    return ((image - base) * total / steps).detach()[0].sum(0)


def curve_with_graph(score, image, base, importance, points):
    place = (-importance.flatten()).argsort().argsort().view(importance.shape)
    gone = (torch.arange(points) * importance.numel() // (points - 1)).view(-1, 1, 1, 1)
    return score(torch.where(place < gone, base, image))


def ranks_from_zero_for_ties(a, b):
    return float(np.corrcoef(*(stats.rankdata(np.abs(x), method="min").ravel() for x in (a, b)))[0, 1])


def region_by_index(logits, region):
    return logits[:, 0].flatten(1)[:, : int(region.sum())].mean(1)


def gradient_of_mean_score(score, image, base, steps):
    along = (torch.arange(steps) + 0.5) / steps
    way = (base + along.view(-1, 1, 1, 1) * (image - base)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(score(way).mean(), way)
    return ((image - base)[0] * slope.mean(0)).sum(0)


def channels_not_added(score, image, base, steps):
    along = (torch.arange(steps) + 0.5) / steps
    way = (base + along.view(-1, 1, 1, 1) * (image - base)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(score(way).sum(), way)
    return ((image - base)[0] * slope.mean(0)).mean(0)


def ranks_of_signed_halves(a, b):
    return float(stats.kendalltau(np.abs(a).ravel(), np.abs(b).ravel()).statistic)


def solution(name):
    return lessons.solution(name).answer


def normalized_to_one(score, image, base, steps):
    a = solution("looking.integrated_gradients")(score, image, base, steps)
    return a / a.abs().max()


def importance_by_row(score, image, base, importance, points):
    rows = importance.mean(1, keepdim=True).expand_as(importance) + 1e-6 * importance
    return solution("looking.deletion_curve")(score, image, base, rows, points)


def one_point_at_a_time(score, image, base, steps):
    total = torch.zeros_like(image)
    for k in range(steps):
        point = torch.lerp(base, image, (k + 0.5) / steps).requires_grad_()
        score(point).backward(torch.ones(1))
        total += point.grad
    return torch.einsum("bchw,bchw->hw", image - base, total) / steps


def curve_by_loop(score, image, base, importance, points):
    order = importance.flatten().sort(descending=True).indices
    curve = []
    for k in range(points):
        now = image.clone().flatten(2)
        chosen = order[: k * len(order) // (points - 1)]
        now[..., chosen] = base.flatten(2)[..., chosen]
        curve.append(score(now.view_as(image)).item())
    return torch.tensor(curve)


def spearman(a, b):
    return stats.spearmanr(np.abs(a).ravel(), np.abs(b).ravel()).statistic


WRONG = [
    ("looking.image_share", lambda g: g.var(0).mean() / g.var(), "correction|n - 1"),
    ("looking.region_score", lambda z, r: (z[:, 0] * r).mean((1, 2)), "whole image|pixels of the region|region"),
    ("looking.integrated_gradients", image_takes_gradients, "requires_grad"),
    ("looking.deletion_curve", curve_with_graph, "graph|no_grad"),
    ("looking.rank_similarity", ranks_from_zero_for_ties, "ties|mean of their ranks|share"),
    ("looking.image_share", lambda g: g.mean(0).var(correction=0) / g.var(correction=0), "rest|channel"),
    ("looking.region_score", region_by_index, ""),
    ("looking.integrated_gradients", gradient_of_mean_score, "mean|times"),
    ("looking.integrated_gradients", channels_not_added, "mean|times"),
    ("looking.rank_similarity", ranks_of_signed_halves, "Kendall|Pearson|ranks"),
    ("looking.image_share", lambda g: solution("looking.image_share")(g.sigmoid()), "sigmoid"),
    ("looking.region_score", lambda z, r: solution("looking.region_score")(-z, r), "sign"),
    ("looking.integrated_gradients", normalized_to_one, "times|scale|norm|largest"),
    ("looking.deletion_curve", importance_by_row, "axis|average|order"),
    ("looking.region_score", lambda z, r: z[:, 0][:, r].amax(1), "amax"),
]
RIGHT = [
    ("looking.region_score", lambda z, r: torch.stack([each[0][r].mean() for each in z])),
    ("looking.image_share", lambda g: np.var(g.numpy(), axis=0).mean() / np.var(g.numpy())),
    ("looking.region_score", lambda z, r: (z.squeeze(1) * r).sum((-1, -2)) / r.sum()),
    ("looking.integrated_gradients", one_point_at_a_time),
    ("looking.deletion_curve", curve_by_loop),
    ("looking.rank_similarity", spearman),
    (
        "looking.image_share",
        lambda gates: (gates - gates.mean(0)).square().mean() / (gates - gates.mean()).square().mean(),
    ),
    ("looking.region_score", lambda logits, region: torch.stack([one[0][region].mean() for one in logits])),
    (
        "looking.rank_similarity",
        lambda a, b: __import__("scipy.stats").stats.spearmanr(np.abs(a), np.abs(b), axis=None).statistic,
    ),
]
