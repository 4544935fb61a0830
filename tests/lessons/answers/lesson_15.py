"""Lesson 15: wrong answers with what the message must say, and unusual right ones, none of them in the bank."""

import math

import numpy as np
import torch
from scipy import stats

from skinlesion import lessons
from skinlesion.reproduce.claims import holm


def bootstrap_of_sums(counts, draws):
    total = counts[draws].sum(1)
    return (2 * total[:, 0] / (2 * total[:, 0] + total[:, 1] + total[:, 2])) / 2


def solution(name):
    return lessons.solution(name).answer


def first_resample_only(counts, draws):
    return solution("critique.bootstrap_pooled")(counts, np.repeat(draws[:1], len(draws), 0))


def t_test(a, b, signs):
    return float(stats.ttest_rel(a, b).pvalue)


def permutation_by_matrix(a, b, signs):
    d = a - b
    far = np.abs(signs @ d) >= np.abs(d.sum())
    return (np.count_nonzero(far) + 1) / (signs.shape[0] + 1)


def bootstrap_by_loop(counts, draws):
    scores = []
    for draw in draws:
        tp, fp, fn, _ = sum(counts[i] for i in draw)
        scores.append(tp / (tp + fp + fn))
    return np.array(scores)


def _hochberg(p):
    order = np.argsort(p)
    scaled = (len(p) - np.arange(len(p))) * p[order]
    out = np.empty_like(scaled)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return out


def _sidak(p):
    order = np.argsort(p)
    out = np.empty_like(p)
    out[order] = np.maximum.accumulate(1 - (1 - p[order]) ** (len(p) - np.arange(len(p))))
    return out


WRONG = [
    (
        "critique.dsc_range",
        lambda v: (round(200 * v / (100 + v), 2) - 0.005, round(200 * v / (100 + v), 2) + 0.005),
        "IoU",
    ),
    ("critique.bootstrap_pooled", lambda c, d: c[d].sum(1)[:, 0] / c[d].sum(1).sum(1), "TN"),
    (
        "critique.permutation_p",
        lambda a, b, s: float((abs((s * (a - b)).mean(1)) > abs((a - b).mean())).mean()),
        "observed",
    ),
    ("critique.runs_needed", lambda d, s: round(2 * (2.8 * s / d) ** 2), "[Rr]ound up"),
    ("critique.runs_needed", lambda d, s: 2 * (2.8 * s / d) ** 2, "[Rr]ound"),
    ("critique.dsc_range", lambda v: (200 * v / (100 + v) - 0.01, 200 * v / (100 + v) + 0.01), "IoU|rounded"),
    ("critique.bootstrap_pooled", bootstrap_of_sums, "numerator once too often"),
    ("critique.permutation_p", lambda a, b, s: float(((s * (a - b)).mean(1) >= abs((a - b).mean())).mean()), ""),
    ("critique.runs_needed", lambda d, s: math.ceil((1.96 + 0.84) ** 2 * 2 * s / d), "squared"),
    ("critique.bootstrap_pooled", first_resample_only, "first entry along axis 0 of `draws`"),
    ("critique.permutation_p", t_test, "permutation|sign|t test|arrange"),
    ("critique.holm", _hochberg, r"^(?!.*Error)"),
    ("critique.holm", _sidak, r"^(?!.*Error)"),
    (
        "critique.bootstrap_pooled",
        lambda c, d: np.array(
            [(lambda s: s[0] / s[:3].sum())(c[torch.randint(len(c), (len(c),)).numpy()].sum(0)) for r in d]
        ),
        "second call",
    ),
]
RIGHT = [
    ("critique.permutation_p", permutation_by_matrix),
    (
        "critique.dsc_range",
        lambda v: np.array(
            [200 * (v - 0.005) / (99.995 + v) - 0.005, 200 * (v + 0.005) / (100.005 + v) + 0.005]
        ).tolist(),
    ),
    ("critique.dsc_range", lambda iou: [200 * (iou + s) / (100 + iou + s) + s for s in (-0.005, 0.005)]),
    ("critique.bootstrap_pooled", bootstrap_by_loop),
    ("critique.runs_needed", lambda d, s: -int(-2 * ((1.96 + 0.84) * s / d) ** 2 // 1)),
    ("critique.holm", lambda p: np.array(holm(p.tolist()))),
    (
        "critique.bootstrap_pooled",
        lambda counts, draws: (
            np.einsum("ric->rc", counts[draws])[:, 0] / np.einsum("ric->rc", counts[draws])[:, :3].sum(1)
        ),
    ),
    (
        "critique.permutation_p",
        lambda a, b, signs: (
            (1 + sum(abs(float(s @ (a - b))) >= abs(float((a - b).sum())) - 1e-12 for s in signs)) / (len(signs) + 1)
        ),
    ),
    ("critique.runs_needed", lambda difference, deviation: math.ceil(2 * (2.8 * deviation / difference) ** 2)),
    (
        "critique.holm",
        lambda p: np.array([min(1.0, max((len(p) - sorted(p).index(q)) * q for q in p if q <= x)) for x in p]),
    ),
]
